"""Put what was found in every shard's series into one table.

Reads
    --findings     check_series/<shard>.csv of every shard (schema: findings).
Writes
    --out-series   series.csv, one row a series of the cohort (schema: findings).
Method
    Rows are taken as they are, sorted by patient and series; a series in two shards is refused.
"""

from collections import Counter

import pandas as pd

from quorum.command import LOG, log_counts, make_parser, provenance, run_command
from quorum.errors import InputError
from quorum.tables import read_table, write_table


def join_findings(parts: list) -> pd.DataFrame:
    """Return all shards' findings as one table, sorted by patient and series.

    Raises
    ------
    InputError
        When one series stands in two of them.
    """
    filled = [part for part in parts if len(part)] or parts[:1]
    series = pd.concat(filled, ignore_index=True)
    doubled = series.loc[series["source_series_uid"].duplicated(), "source_series_uid"]
    if len(doubled):
        raise InputError(
            f"the series {doubled.iloc[0]} stands in two shards",
            "each series in one shard",
            "make the shards again: remove plan_shards and check_series from the results",
        )
    return series.sort_values(["patient_id", "source_series_uid"], ignore_index=True)


def main(argv=None):
    """Read all findings, write one table."""
    parser = make_parser(__doc__)
    parser.add_argument("--findings", nargs="+", required=True)
    parser.add_argument("--out-series", required=True)
    args = parser.parse_args(argv)
    parts = [read_table(path, "findings") for path in args.findings]
    series = join_findings(parts)
    for decision, count in sorted(Counter(series["decision"]).items()):
        LOG.info("%s: %d series", decision, count)
    came_in = sum(len(part) for part in parts)
    log_counts("series", came_in=came_in, dropped={}, went_out=len(series))
    write_table(series, args.out_series, "findings", provenance(__file__, args))


if __name__ == "__main__":
    run_command(main)
