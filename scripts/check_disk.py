"""Compute what a download takes on the disk; stop a run that can't fit before its first byte.

Reads
    shards           CSV, schema shard_plan: series, nodules and bytes of each shard.

Writes
    out-disk         CSV, schema disk_plan: one row with the expected peak.

Method
    Peak = the largest sum of DICOM bytes over `concurrent-shards` shards (all shards when the
    DICOM is kept), plus the cubes of all shards. It must fit the budget and the free space.
"""

import shutil
from pathlib import Path

import pandas as pd

from quorum.command import LOG, make_parser, provenance, run_command
from quorum.errors import InputError
from quorum.tables import read_table, write_table

# One nodule in a shard of cubes, compressed: measured 0.3 to 0.6 MB, with a margin [MB].
CUBE_MB = 1.0


def disk_plan(shards: pd.DataFrame, *, concurrent: int, keep: bool, budget_gb: float | None):
    """Return the one row of table `disk_plan`; no shards give zeros."""
    sizes_gb = shards["num_bytes"].astype(float).sort_values(ascending=False) / 1e9
    at_once = len(sizes_gb) if keep else concurrent
    cubes_gb = float(shards["num_nodules"].sum()) * CUBE_MB / 1e3
    return {
        "num_series": int(shards["num_series"].sum()),
        "fetched_gb": float(sizes_gb.sum()),
        "largest_shard_gb": float(sizes_gb.max()) if len(sizes_gb) else 0.0,
        "concurrent_shards": at_once,
        "cubes_gb": cubes_gb,
        "peak_gb": float(sizes_gb.head(at_once).sum()) + cubes_gb,
        "budget_gb": budget_gb,
    }


def refuse_overflow(plan: dict, free_gb: float):
    """Raise an InputError when the expected peak is over the budget or the free space."""
    bounds = [("disk_budget_gb of the config", plan["budget_gb"]), ("the free space", free_gb)]
    for name, bound_gb in bounds:
        if bound_gb is not None and plan["peak_gb"] > bound_gb:
            raise InputError(
                f"this run needs {plan['peak_gb']:.1f} GB at its peak "
                f"({plan['concurrent_shards']} shards at once, the largest of "
                f"{plan['largest_shard_gb']:.1f} GB) and {name} is {bound_gb:.1f} GB",
                "a peak that fits",
                "raise plan_shards.num_shards, lower source.concurrent_shards, or free some space",
            )


def main(argv=None):
    """Compute, show, check."""
    parser = make_parser(__doc__)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--concurrent-shards", type=int, required=True)
    parser.add_argument("--budget-gb", type=float, default=None)
    parser.add_argument("--keep-dicom", action="store_true")
    parser.add_argument("--out-disk", type=Path, required=True)
    args = parser.parse_args(argv)
    plan = disk_plan(
        read_table(args.shards, "shard_plan"),
        concurrent=args.concurrent_shards,
        keep=args.keep_dicom,
        budget_gb=args.budget_gb,
    )
    args.out_disk.parent.mkdir(parents=True, exist_ok=True)
    free_gb = shutil.disk_usage(args.out_disk.parent).free / 1e9
    LOG.info(
        "%d series, %.1f GB to fetch, peak %.1f GB on the disk, %.1f GB free",
        plan["num_series"],
        plan["fetched_gb"],
        plan["peak_gb"],
        free_gb,
    )
    refuse_overflow(plan, free_gb)
    write_table(pd.DataFrame([plan]), args.out_disk, "disk_plan", provenance(__file__, args))


if __name__ == "__main__":
    run_command(main)
