"""Table 1: who and what is in each part of the split, and the model's Dice by each of it.

Reads
    --nodules   select_nodules/nodules.csv
    --splits    splits.csv
    --findings  check_series/<shard>.csv of every shard
    --headers   check_series/<shard>.headers.parquet of every shard; of each series one header
    --scores    score_predictions of every run
Writes
    --out-table1       one row a part, characteristic and level (or numbers of it)
    --out-performance  one row an experiment, characteristic and level: mean Dice with interval
Method
    Numbers are given as median with quartiles and range; sex and age count patients, scanner and
    spacing series, the rest nodules. What the headers lack is a level of its own, `not known`.
    Dice is the model's against the consensus at the smallest click offset, averaged over seeds,
    then nodules; 95 % intervals by bootstrap over whole patients. No level is tested against
    another: it is a description.
Source
    Table 1 as CLAIM 2024 (10.1148/ryai.240300) and TRIPOD+AI (10.1136/bmj-2023-078378) ask for it
"""

import pandas as pd

from quorum.command import LOG, make_parser, provenance, run_command
from quorum.patient_facts import read_facts
from quorum.table_one import (
    describe_part,
    join_facts,
    model_dice,
    one_kind,
    parts_of,
    performance_rows,
)
from quorum.tables import column_names, read_table, write_table


def join_tables(paths, table: str) -> pd.DataFrame:
    """Return several tables of one schema as one."""
    parts = [read_table(path, table) for path in paths]
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def parse_args(argv):
    """Return the parsed flags."""
    parser = make_parser(__doc__)
    parser.add_argument("--nodules", required=True, help="nodules.csv")
    parser.add_argument("--splits", required=True, help="splits.csv")
    parser.add_argument("--findings", required=True, nargs="+", help="findings of every shard")
    parser.add_argument("--headers", required=True, nargs="+", help="headers of every shard")
    parser.add_argument("--scores", required=True, nargs="+", help="scores of every run")
    parser.add_argument("--resamples", type=int, default=2000, help="of whole patients")
    parser.add_argument("--seed", type=int, default=0, help="seed of the resamples")
    parser.add_argument("--out-table1", required=True, help="CSV to write")
    parser.add_argument("--out-performance", required=True, help="CSV to write")
    return parser.parse_args(argv)


def main(argv=None):
    """Parse, read, describe, write."""
    args = parse_args(argv)
    nodules, splits = read_table(args.nodules, "nodules"), read_table(args.splits, "splits")
    findings, scores = join_tables(args.findings, "findings"), join_tables(args.scores, "scores")
    data_kind, facts = one_kind(findings, scores), read_facts(args.headers)
    LOG.info("headers of %d of %d series", len(facts), findings["source_series_uid"].nunique())
    frame, made_by = join_facts(nodules, splits, findings, facts), provenance(__file__, args)
    rows = [
        row for part, own in parts_of(frame).items() for row in describe_part(part, own, data_kind)
    ]
    table = pd.DataFrame(rows).reindex(columns=column_names("table_one"))
    write_table(table, args.out_table1, "table_one", made_by)
    bootstrap = {"resamples": args.resamples, "seed": args.seed}
    rows = performance_rows(model_dice(scores), frame, data_kind, **bootstrap)
    performance = pd.DataFrame(rows, columns=column_names("performance"))
    write_table(performance, args.out_performance, "performance", made_by)


if __name__ == "__main__":
    run_command(main)
