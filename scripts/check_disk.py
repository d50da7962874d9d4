"""Compute what a download takes on the disk; stop a run that can't fit before its first byte.

Reads
    --shards         CSV, schema shard_plan: series, nodules and bytes of each shard.

Writes
    --out-disk       CSV, schema disk_plan: one row with the expected peak.

Method
    Peak = the largest sum of images over `concurrent-shards` shards (all shards when they are
    kept), plus the cubes of all shards. It must fit the budget and, before the first byte, the
    free space; a later shard must fit what is free then.
"""

import shutil
from pathlib import Path

import pandas as pd

from quorum.command import LOG, make_parser, provenance, run_command
from quorum.errors import InputError
from quorum.tables import read_table, write_table

# One nodule in a shard of cubes, compressed: measured 0.3 to 0.6 MB, with a margin [MB].
CUBE_MB = 1.0
MEND = "raise plan_shards.num_shards, lower source.concurrent_shards, or free some space"


def disk_plan(shards: pd.DataFrame, *, shard: str, concurrent: int, keep: bool, budget_gb):
    """Return the one row of table `disk_plan` for a shard.

    Parameters
    ----------
    shards : DataFrame
        The table `shard_plan`.
    shard : str
        The shard that is to be fetched.
    concurrent : int
        Shards whose images are on the disk at the same time.
    keep : bool
        Whether all images stay.
    budget_gb : float or None

    Raises
    ------
    InputError
        When the plan has no such shard.
    """
    sizes_gb = shards.set_index("shard")["num_bytes"].astype(float) / 1e9
    cubes_gb = shards.set_index("shard")["num_nodules"].astype(float) * CUBE_MB / 1e3
    if shard not in sizes_gb.index:
        raise InputError(
            f"the plan has no shard {shard!r}",
            f"one of its {len(shards)} shards",
            "make plan_shards/shards.csv again",
        )
    at_once = len(sizes_gb) if keep else min(concurrent, len(sizes_gb))
    peak_gb = float(sizes_gb.nlargest(at_once).sum() + cubes_gb.sum())
    is_first = list(sizes_gb.index).index(shard) < concurrent
    return {
        "shard": shard,
        "num_series": int(shards["num_series"].sum()),
        "fetched_gb": float(sizes_gb.sum()),
        "largest_shard_gb": float(sizes_gb.max()),
        "concurrent_shards": at_once,
        "cubes_gb": float(cubes_gb.sum()),
        "peak_gb": peak_gb,
        "budget_gb": budget_gb,
        "needed_gb": peak_gb if is_first else float(sizes_gb[shard] + cubes_gb[shard]),
    }


def refuse_overflow(plan: dict, free_gb: float):
    """Raise an InputError when the peak is over the budget, or the need over the free space."""
    needs = (
        f"{plan['num_series']} series of {plan['fetched_gb']:.1f} GB need {plan['peak_gb']:.1f} GB "
        f"at their peak ({plan['concurrent_shards']} shards at once, the largest of "
        f"{plan['largest_shard_gb']:.1f} GB, and {plan['cubes_gb']:.1f} GB of cubes)"
    )
    if plan["budget_gb"] is not None and plan["peak_gb"] > plan["budget_gb"]:
        raise InputError(
            f"{needs} and source.disk_budget_gb is {plan['budget_gb']:.1f} GB",
            "a peak within the budget",
            MEND.replace("free some space", "raise source.disk_budget_gb"),
        )
    if plan["needed_gb"] > free_gb:
        raise InputError(
            f"{needs}, {plan['needed_gb']:.1f} GB of it from here on; {free_gb:.1f} GB are free",
            "a peak within the free space",
            MEND,
        )


def main(argv=None):
    """Compute, show, check."""
    parser = make_parser(__doc__)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--shard", required=True, help="the shard that is to be fetched")
    parser.add_argument("--concurrent-shards", type=int, required=True)
    parser.add_argument("--budget-gb", nargs="?", default="", const="", help="empty: all free")
    parser.add_argument("--keep-dicom", choices=["True", "False"], default="False")
    parser.add_argument("--out-disk", type=Path, required=True)
    args = parser.parse_args(argv)
    plan = disk_plan(
        read_table(args.shards, "shard_plan"),
        shard=args.shard,
        concurrent=args.concurrent_shards,
        keep=args.keep_dicom == "True",
        budget_gb=float(args.budget_gb) if args.budget_gb else None,
    )
    args.out_disk.parent.mkdir(parents=True, exist_ok=True)
    free_gb = shutil.disk_usage(args.out_disk.parent).free / 1e9
    LOG.info(
        "%d series, %.1f GB to fetch; peak on the disk %.1f GB (%d shards at once), %.1f GB free",
        plan["num_series"],
        plan["fetched_gb"],
        plan["peak_gb"],
        plan["concurrent_shards"],
        free_gb,
    )
    refuse_overflow(plan, free_gb)
    write_table(pd.DataFrame([plan]), args.out_disk, "disk_plan", provenance(__file__, args))


if __name__ == "__main__":
    run_command(main)
