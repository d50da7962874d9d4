"""Write one experiment's plan, whole and checked, before anything is trained.

Reads
    nothing but its flags: the experiment's settings as JSON
Writes
    --out-plan  YAML: name, consensus, settings (the block train_model with the experiment's diff
                and every default), diff (the experiment's own keys, for the record)
Method
    Unknown keys and names end here with the nearest valid one, as do crops that the network
    can't halve, so that nothing is read or trained for a plan that can't work.
Source
    Plans written as data before training: Isensee 2021, 10.1038/s41592-020-01008-z (nnU-Net).
"""

import json

import yaml

from quorum.command import make_parser, run_command
from quorum.errors import InputError
from quorum.files import write_whole
from quorum.plans import make_plan


def parse_settings(text: str, flag: str = "--settings") -> dict:
    """Return settings from their JSON.

    Raises
    ------
    InputError
        When the text is no JSON object.
    """
    try:
        settings = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{flag} is no JSON ({error})", "a JSON object", "quote it for the shell"
        ) from error
    if not isinstance(settings, dict):
        raise InputError(f"{flag} is no JSON object", "keys and values", "correct it")
    return settings


def parse_consensus(text: str):
    """Return the consensus as a name, or as a number where it is a level."""
    try:
        return float(text)
    except ValueError:
        return text


def main(argv=None):
    """Parse, check, write."""
    parser = make_parser(__doc__)
    parser.add_argument("--experiment", required=True, help="the experiment's name")
    parser.add_argument("--settings", required=True, help="its settings, a JSON object")
    parser.add_argument("--diff", default="{}", help="its diff to the base, a JSON object")
    parser.add_argument("--consensus", required=True, help="the reference that it is scored on")
    parser.add_argument("--out-plan", required=True, help="YAML to write")
    args = parser.parse_args(argv)
    consensus = parse_consensus(args.consensus)
    plan = make_plan(args.experiment, parse_settings(args.settings), consensus)
    plan["diff"] = parse_settings(args.diff, "--diff")
    with write_whole(args.out_plan) as temporary:
        temporary.write_text(yaml.safe_dump(plan, sort_keys=True), encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
