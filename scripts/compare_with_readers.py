"""The fifth reader test: model and readers against the same others, by a plan that was frozen.

Reads
    --scores       scores.csv of every run, --test-scores  of every ensemble on the test part
    --nodules      nodules.csv of select_nodules, --series  series.csv: what groups go by
    --frozen-plan  plan.json of freeze_plan, --looks  folder of the looks at the test part
Writes
    --out-fifth-reader  one row an experiment, part and endpoint: interval, margin, verdict
    --out-by-group      the same comparison by kind of nodule, explorative
    --out-nodules       every nodule, failures and disagreements first
    --out-looks         every look at the test part
Method
    For each nodule and reader left out, model and reader against the majority of the other three;
    co-primary: Dice of model and single readers less Dice of the readers' pairs. Mean over
    readers, seeds, then nodules; 95 % interval over resamples of whole patients. Not inferior
    where the lower end of both is above minus the margin. Truncated nodules are left out. No
    verdict on phantoms, cut-out volumes, cross-validation, too few seeds or patients.
Source
    config/analysis_plan.yaml; Piaggio 2012, 10.1001/jama.2012.87802 (non-inferiority).
"""

import pandas as pd

from quorum.command import LOG, make_parser, provenance, run_command
from quorum.comparison import read_runs, refuse_other_cohort
from quorum.errors import InputError
from quorum.fifth_reader import endpoint_rows, group_rows, judge, nodule_groups, nodule_rows
from quorum.frozen_plan import TEST, read_frozen_plan, read_looks
from quorum.tables import column_names, read_table, write_table

PARTS = ("cross_validation", TEST)


def read_parts(args, known: set) -> dict:
    """Return the scores of cross-validation, and those of the test part where there are any.

    Raises
    ------
    InputError
        When a table is of the wrong part, or names a nodule that the cohort lacks.
    """
    parts = {PARTS[0]: read_runs(args.scores, "scores")}
    if args.test_scores:
        parts[TEST] = read_runs(args.test_scores, "scores")
    for part, scores in parts.items():
        is_test = scores["part"] == TEST
        if is_test.any() != (part == TEST) or is_test.nunique() > 1:
            raise InputError(
                f"scores of the parts {', '.join(scores['part'].unique())} were given for {part}",
                "folds in --scores, the test part in --test-scores",
                "correct the two flags",
            )
        strangers = sorted(set(scores["nodule_id"]) - known)
        if strangers:
            raise InputError(
                f"the scores hold {len(strangers)} nodules that the cohort lacks, such as "
                f"{strangers[0]}",
                "scores of this cohort",
                "run score_predictions again",
            )
        refuse_other_cohort(scores)
    lacking = set(parts.get(TEST, parts[PARTS[0]])["experiment"]) - set(
        parts[PARTS[0]]["experiment"]
    )
    if lacking:
        raise InputError(
            f"the experiment {sorted(lacking)[0]} has scores of the test part and none of folds",
            "the runs of every ensemble, which say how many seeds it has",
            "add its runs to --scores",
        )
    return parts


def parse_args(argv):
    """Return the parsed flags."""
    parser = make_parser(__doc__)
    parser.add_argument("--scores", required=True, nargs="+", help="scores.csv of every run")
    parser.add_argument("--test-scores", nargs="*", default=[], help="ensemble.csv, if any")
    parser.add_argument("--nodules", required=True, help="nodules.csv of select_nodules")
    parser.add_argument("--series", required=True, help="series.csv of list_series")
    parser.add_argument("--frozen-plan", required=True, help="plan.json of freeze_plan")
    parser.add_argument("--looks", required=True, help="folder of the looks at the test part")
    for name in ("fifth-reader", "by-group", "nodules", "looks"):
        parser.add_argument(f"--out-{name}", required=True, help="CSV to write")
    return parser.parse_args(argv)


def compare(parts: dict, groups, *, frozen: dict, looks) -> tuple:
    """Return the rows of fifth_reader and by_group, and the tables of nodules."""
    plan, tests, by_group, nodules = frozen["plan"], [], [], []
    runs = parts[PARTS[0]][["experiment", "fold", "seed"]].drop_duplicates()
    for part, scores in parts.items():
        for experiment, own in scores.groupby("experiment", sort=False):
            members = runs[runs["experiment"] == experiment]
            counts = {"num_runs": len(members), "num_seeds": members["seed"].nunique()}
            rows = [{**row, **counts} for row in endpoint_rows(own, part=part, plan=plan)]
            tests += judge(rows, plan, looks[looks["experiment"] == experiment], frozen)
            by_group += group_rows(own, groups, part=part, plan=plan)
            nodules.append(nodule_rows(own, part=part, plan=plan))
    return tests, by_group, nodules


def main(argv=None):
    """Parse, read, compare, write."""
    args = parse_args(argv)
    frozen, looks = read_frozen_plan(args.frozen_plan), read_looks(args.looks)
    cohort, series = read_table(args.nodules, "nodules"), read_table(args.series, "series")
    parts = read_parts(args, set(cohort["nodule_id"]))
    thickness = dict(zip(series["series_uid"], series["slice_thickness_mm"], strict=True))
    groups = nodule_groups(cohort, thickness, frozen["plan"])
    tests, by_group, nodules = compare(parts, groups, frozen=frozen, looks=looks)
    made_by = provenance(__file__, args)
    tables = {
        "fifth_reader": pd.DataFrame(tests, columns=column_names("fifth_reader")),
        "by_group": pd.DataFrame(by_group, columns=column_names("by_group")),
        "reader_nodules": pd.concat(nodules),
        "looks": looks,
    }
    for name, table in tables.items():
        path = args.out_nodules if name == "reader_nodules" else getattr(args, f"out_{name}")
        write_table(table, path, name, made_by)
    for row in tests:
        LOG.info(
            "%s, %s, %s: difference %.3f (%.3f to %.3f): %s",
            *(row[name] for name in ("experiment", "part", "endpoint", "difference")),
            *(row["low"], row["high"], row["no_verdict_reason"] or row["verdict"]),
        )


if __name__ == "__main__":
    run_command(main)
