"""Store the analysis plan and its digest before the test part is predicted.

Reads
    --plan   config/analysis_plan.yaml
    --looks  folder of the looks at the test part, if there were any
Writes
    --out-plan  plan.json: plan, plan_sha256, frozen_utc, made_by
Method
    The digest is of the plan's content, so that an edited comment is the same plan. Once somebody
    has looked at the test part, only the plan of those looks is stored again.
Source
    Non-inferiority with a margin fixed beforehand: CONSORT extension, Piaggio 2012,
    10.1001/jama.2012.87802.
"""

import datetime
import json

from quorum.command import LOG, make_parser, provenance, run_command
from quorum.errors import InputError
from quorum.files import write_whole
from quorum.frozen_plan import plan_digest, read_looks, read_plan


def refuse_other_looks(looks, digest: str):
    """Raise an InputError when the test part was looked at under another plan."""
    others = looks[looks["plan_sha256"] != digest]
    if len(others):
        raise InputError(
            f"the test part was looked at {len(others)} times under another analysis plan "
            f"(first {others['time_utc'].iloc[0]}, {others['plan_sha256'].iloc[0][:12]})",
            "the plan that was stored before the first look",
            "restore config/analysis_plan.yaml, or begin a new results folder and say so",
        )


def main(argv=None):
    """Parse, read, check, write."""
    parser = make_parser(__doc__)
    parser.add_argument("--plan", required=True, help="config/analysis_plan.yaml")
    parser.add_argument("--looks", required=True, help="folder of the looks at the test part")
    parser.add_argument("--out-plan", required=True, help="plan.json to write")
    args = parser.parse_args(argv)
    plan = read_plan(args.plan)
    digest = plan_digest(plan)
    refuse_other_looks(read_looks(args.looks), digest)
    now = datetime.datetime.now(datetime.UTC)
    frozen = {
        "plan": plan,
        "plan_sha256": digest,
        "frozen_utc": now.isoformat(timespec="seconds"),
        "made_by": provenance(__file__, args),
    }
    with write_whole(args.out_plan) as temporary:
        temporary.write_text(json.dumps(frozen, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    LOG.info("the plan %s is frozen", digest[:12])


if __name__ == "__main__":
    run_command(main)
