"""List all runs side by side, and the mean and spread of each experiment's runs.

Reads
    --records  record.json of every run
Writes
    --out-runs    runs.csv, one row a run: what it was, what it ran on, how it ended
    --out-spread  spread.csv, one row an experiment: mean and standard deviation over its runs
Method
    Gains of flips and post-processing are differences of Dice on the validation fold, which also
    chose them: they are optimistic. The spread is over folds and seeds together; with one run it
    is empty.
"""

import json
from pathlib import Path

import pandas as pd

from quorum.command import log_counts, make_parser, provenance, run_command
from quorum.errors import InputError
from quorum.tables import column_names, write_table

NAMES = ("experiment", "fold", "seed", "data_kind")
MEASURED = ("num_parameters", "num_steps", "best_step", "training_s", "duration_s", "energy_j")
MEASURED += ("total_duration_s", "num_gpus")
HARDWARE = ("processor", "gpu", "peak_memory_mb", "peak_memory_children_mb", "gpu_peak_memory_mb")
ANSWER = ("validation_dice", "threshold", "postprocess", "temperature", "is_flipped")


def read_record(path) -> dict:
    """Return one run's record.

    Raises
    ------
    InputError
        When it is missing or no record.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        return {**record, "settings": record["plan"]["settings"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"the record {path} can't be read ({type(error).__name__}: {error})",
            "a record.json of train_model",
            "train that run again",
        ) from error


def run_row(record: dict) -> dict:
    """Return one run's row of the table runs."""
    settings, answer = record["settings"], record.get("answer", {})
    row = {name: record.get(name) for name in (*NAMES, *MEASURED)}
    row |= {name: answer.get(name) for name in ANSWER}
    answers = answer.get("answers", {})
    if "flips" in answers:
        both = (answers[name]["validation_dice"] for name in ("flips", "plain"))
        row["gain_flips"] = next(both) - next(both)
    if "dice_by_postprocess" in answer:
        row["gain_postprocess"] = answer["validation_dice"] - answer["dice_by_postprocess"]["none"]
    is_network = settings["method"] == "network"
    losses = (f"{name}:{weight:g}" for name, weight in settings["losses"].items() if weight)
    hardware, git, made_by = record["hardware"], record.get("git") or {}, record["made_by"]
    return row | {
        "method": settings["method"],
        "network": settings["network"]["name"] if is_network else None,
        "target": settings["target"] if is_network else None,
        "losses": " ".join(losses) if is_network else None,
        "precision": record.get("speed", {}).get("precision"),
        **{name: hardware.get(name) for name in HARDWARE},
        "commit": git.get("commit"),
        "is_changed": git.get("is_changed"),
        "code_digest": made_by["code_digest"],
        "data_sha256": record.get("data_sha256"),
        "diff": json.dumps(record["plan"].get("diff", {}), sort_keys=True),
    }


def spread_rows(runs: pd.DataFrame) -> pd.DataFrame:
    """Return each experiment's number of runs, and mean and standard deviation over them."""
    rows = []
    for (experiment, kind), part in runs.groupby(["experiment", "data_kind"], sort=False):
        dice = part["validation_dice"].astype(float)
        rows.append(
            {
                "experiment": experiment,
                "num_runs": len(part),
                "num_folds": part["fold"].nunique(),
                "num_seeds": part["seed"].nunique(),
                "validation_dice_mean": dice.mean(),
                "validation_dice_sd": dice.std(ddof=1),
                "training_s_mean": part["training_s"].astype(float).mean(),
                "diff": part["diff"].iloc[0],
                "data_kind": kind,
            }
        )
    return pd.DataFrame(rows, columns=column_names("run_spread"))


def main(argv=None):
    """Parse, read, list, write."""
    parser = make_parser(__doc__)
    parser.add_argument("--records", required=True, nargs="+", help="record.json of every run")
    parser.add_argument("--out-runs", required=True, help="runs.csv to write")
    parser.add_argument("--out-spread", required=True, help="spread.csv to write")
    args = parser.parse_args(argv)
    rows = [run_row(read_record(path)) for path in args.records]
    runs = pd.DataFrame(rows, columns=column_names("runs"))
    made_by = provenance(__file__, args)
    write_table(runs, args.out_runs, "runs", made_by)
    write_table(spread_rows(runs), args.out_spread, "run_spread", made_by)
    log_counts("runs", came_in=len(args.records), dropped={}, went_out=len(runs))


if __name__ == "__main__":
    run_command(main)
