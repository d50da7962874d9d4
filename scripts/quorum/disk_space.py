"""What a download takes on the disk: its peak, held against the budget and the free space.

Peak = the largest sum of images over as many shards as are on the disk at once (all shards when
they are kept), plus the cubes of all shards.
"""

import shutil
from pathlib import Path

import pandas as pd

from quorum.command import LOG
from quorum.errors import InputError
from quorum.tables import read_table

# ASSUME: one nodule takes 1 MB in a shard of cubes, compressed (measured: 0.3 to 0.6 MB, 0.34 MB of
# a whole real series, LIDC-IDRI-0001; noise compresses worst, so with a margin) [MB]
CUBE_MB = 1.0
MEND = "raise plan_shards.num_shards, lower source.concurrent_shards, or free some space"


def disk_plan(shards: pd.DataFrame, *, concurrent: int, done=(), there_gb: float = 0.0) -> dict:
    """Return what all shards take on the disk, and what of it is still to come.

    Parameters
    ----------
    shards : DataFrame
        The table `shard_plan`.
    concurrent : int
        Shards whose images are on the disk at the same time.
    done : collection of str
        Shards that have come already: their cubes are on the disk, or will be in a moment.
    there_gb : float
        Images that are on the disk now.

    Returns
    -------
    dict
        num_series, fetched_gb, largest_shard_gb, concurrent_shards, cubes_gb, peak_gb and
        needed_gb: what has to be free now, so that the rest of the run fits.
    """
    sizes_gb = shards["num_bytes"].astype(float) / 1e9
    cubes_gb = shards["num_nodules"].astype(float) * CUBE_MB / 1e3
    at_once = min(concurrent, len(sizes_gb))
    images_gb = float(sizes_gb.nlargest(at_once).sum())
    left_gb = float(cubes_gb[~shards["shard"].isin(list(done))].sum())
    return {
        "num_series": int(shards["num_series"].sum()),
        "fetched_gb": float(sizes_gb.sum()),
        "largest_shard_gb": float(sizes_gb.max()),
        "concurrent_shards": at_once,
        "cubes_gb": float(cubes_gb.sum()),
        "peak_gb": images_gb + float(cubes_gb.sum()),
        "needed_gb": max(0.0, images_gb + left_gb - there_gb),
    }


def refuse_overflow(plan: dict, *, budget_gb: float | None, free_gb: float):
    """Raise an InputError when the peak is over the budget, or the need over the free space."""
    needs = (
        f"{plan['num_series']} series of {plan['fetched_gb']:.1f} GB need {plan['peak_gb']:.1f} GB "
        f"at their peak ({plan['concurrent_shards']} shards at once, the largest of "
        f"{plan['largest_shard_gb']:.1f} GB, and {plan['cubes_gb']:.1f} GB of cubes)"
    )
    if budget_gb is not None and plan["peak_gb"] > budget_gb:
        raise InputError(
            f"{needs} and source.disk_budget_gb is {budget_gb:.1f} GB",
            "a peak within the budget",
            MEND.replace("free some space", "raise source.disk_budget_gb"),
        )
    if plan["needed_gb"] > free_gb:
        raise InputError(
            f"{needs}, {plan['needed_gb']:.1f} GB of it from here on; {free_gb:.1f} GB are free",
            "a peak within the free space",
            MEND,
        )


def check_disk(args) -> float:
    """Compute, show and check a run's peak; return the bytes of all its shards.

    Parameters
    ----------
    args : argparse.Namespace
        shards, concurrent_shards, disk_budget_gb, partial, out_folder, out_files.

    Raises
    ------
    InputError
        When the run can't fit: before the first byte of a shard.
    """
    shards, tables = read_table(args.shards, "shard_plan"), args.out_files.parent
    there = (args.partial, *(tables / shard for shard in shards["shard"]))
    plan = disk_plan(
        shards,
        concurrent=args.concurrent_shards,
        done=[shard for shard in shards["shard"] if (tables / f"{shard}.csv").is_file()],
        there_gb=sum(folder_size(folder) for folder in there) / 1e9,
    )
    free_gb = shutil.disk_usage(args.partial).free / 1e9
    LOG.info(
        "%d series, %.1f GB to fetch; peak on the disk %.1f GB (%d shards at once), %.1f GB free",
        plan["num_series"],
        plan["fetched_gb"],
        plan["peak_gb"],
        plan["concurrent_shards"],
        free_gb,
    )
    refuse_overflow(plan, budget_gb=args.disk_budget_gb, free_gb=free_gb)
    return plan["fetched_gb"] * 1e9


def folder_size(folder: Path) -> int:
    """Return the bytes of the images below a folder; files that go meanwhile count nothing."""
    total = 0
    for path in folder.rglob("*.dcm"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total
