"""Divide the cohort's series among shards, with what each shard takes on disk.

Reads
    --nodules     nodules.csv of select_nodules (schema: nodules).
    --series      series.csv (schema: series).
Writes
    --out-shards   one <shard>.csv a shard, its nodules; may be empty (schema: nodules).
    --out-summary  shards.csv, one row a shard; bytes and MB (schema: shard_plan).
Method
    A series' shard is the SHA-256 of its UID modulo the number of shards, so that a changed
    cohort changes only the shards whose nodules changed. The log tells how much a public source
    would send.
"""

import math
from pathlib import Path

import pandas as pd

from quorum.command import LOG, log_counts, make_parser, provenance, run_command
from quorum.disk_space import CUBE_MB
from quorum.errors import InputError
from quorum.sharding import shard_name, shard_of
from quorum.tables import read_table, write_table

BYTES_PER_MB = 1_000_000


def plan_disk(shards: dict, series: pd.DataFrame) -> pd.DataFrame:
    """Return the shard_plan table.

    Parameters
    ----------
    shards : dict of str to DataFrame
        Each shard's nodules.
    series : DataFrame
        The series table.
    """
    num_bytes = dict(zip(series["series_uid"], series["num_bytes"], strict=True))
    rows = []
    for name, nodules in shards.items():
        uids = sorted(set(nodules["series_uid"]))
        dicom = sum(int(num_bytes[uid]) for uid in uids)
        rows.append(
            {
                "shard": name,
                "num_series": len(uids),
                "num_nodules": len(nodules),
                "num_bytes": dicom,
                "disk_mb": -(-dicom // BYTES_PER_MB) + math.ceil(len(nodules) * CUBE_MB),
            }
        )
    return pd.DataFrame(rows)


def fetch_line(plan: pd.DataFrame, *, num_series: int) -> str:
    """Return how much of a collection of `num_series` series the plan's shards need."""
    wanted, gigabytes = plan["num_series"].sum(), plan["num_bytes"].sum() / 1e9
    return f"to fetch from a public source: {wanted} of {num_series} series, {gigabytes:.1f} GB"


def divide(nodules: pd.DataFrame, num_shards: int) -> dict:
    """Return each shard's nodules by the shard's name, empty ones too."""
    number = nodules["series_uid"].map(lambda uid: shard_of(uid, num_shards))
    return {shard_name(k): nodules[number == k] for k in range(num_shards)}


def require_shard_files(paths: list, num_shards: int):
    """Raise an InputError unless the paths are one file for each shard, by its name."""
    expected = [shard_name(number) for number in range(num_shards)]
    if [Path(path).stem for path in paths] != expected:
        raise InputError(
            f"--out-shards names {' '.join(Path(path).name for path in paths)}",
            f"{num_shards} files named {expected[0]}.csv to {expected[-1]}.csv, in that order",
            "correct --out-shards or --num-shards",
        )


def main(argv=None):
    """Read the cohort, divide it, write every shard's table and the summary."""
    parser = make_parser(__doc__)
    parser.add_argument("--nodules", required=True)
    parser.add_argument("--series", required=True)
    parser.add_argument("--num-shards", type=int, required=True)
    parser.add_argument("--out-shards", nargs="+", required=True)
    parser.add_argument("--out-summary", required=True)
    args = parser.parse_args(argv)

    require_shard_files(args.out_shards, args.num_shards)
    nodules, series = read_table(args.nodules, "nodules"), read_table(args.series, "series")
    shards = divide(nodules, args.num_shards)
    planned = sum(len(part) for part in shards.values())
    log_counts("nodules", came_in=len(nodules), dropped={}, went_out=planned)
    made_by = provenance(__file__, args)
    for path, part in zip(args.out_shards, shards.values(), strict=True):
        write_table(part, path, "nodules", made_by)
    plan = plan_disk(shards, series)
    LOG.info("%s", fetch_line(plan, num_series=len(series)))
    write_table(plan, args.out_summary, "shard_plan", made_by)


if __name__ == "__main__":
    run_command(main)
