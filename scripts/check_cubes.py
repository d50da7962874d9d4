"""Checks the shards' data: counts, split, grid, masks, volumes, alignment; findings stay.

Reads
    --nodules    select_nodules/nodules.csv: the cohort
    --attrition  select_nodules/attrition.csv: which criteria dropped how many
    --splits     split_patients/splits.csv
    --findings   check_series/<shard>.csv of every shard
    --shards     extract_cubes/<shard>.h5 of every shard
    --dropped    extract_cubes/<shard>.dropped.csv of every shard
Writes
    --out-checks   table checks: one row a check and scope, passed or not, value and limit
    --out-volumes  table volumes: each reader's and the consensus' volume, native and on the grid
Method
    It never stops the run: the rule accept_cubes does, so that the findings are there to be read.
    Bounds on volume: signed bias at most 1 %, mean absolute difference at most 3 % over 8 mm,
    signed bias at most 2 % up to 8 mm (means over fewer than 100 nodules: wider, see the limit).
"""

from pathlib import Path

import numpy as np
import pandas as pd

from quorum.alignment import judge_alignment
from quorum.command import LOG, make_parser, progress, provenance, run_command
from quorum.consensus import MAJORITY_LEVEL, level_mask
from quorum.cube_checks import (
    Check,
    check_content,
    check_counts,
    check_grid,
    check_kinds,
    check_patients,
    check_published,
    check_staple,
    check_volumes,
    measure_cube,
)
from quorum.shards import open_shards
from quorum.tables import read_table, write_table

MAX_ALIGNED = 256
VOLUMES = (
    "nodule_id",
    "subject",
    "volume_native_mm3",
    "volume_grid_mm3",
    "diameter_mm",
    "is_truncated",
    "data_kind",
)


def parse_args(argv=None):
    """Return the parsed flags."""
    parser = make_parser(__doc__)
    for name in ("nodules", "attrition", "splits"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("findings", "shards", "dropped"):
        parser.add_argument(f"--{name}", required=True, nargs="+")
    parser.add_argument("--spacing-mm", type=float, default=1.0)
    parser.add_argument("--shape-vox", type=int, nargs=3, default=[40, 80, 80])
    parser.add_argument("--out-checks", required=True)
    parser.add_argument("--out-volumes", required=True)
    return parser.parse_args(argv)


def volume_rows(cubes, measures: list) -> list:
    """Return the rows of the table volumes for a set of cubes."""
    voxel_mm3 = cubes.spacing_mm**3
    rows = []
    for index, found in enumerate(measures):
        natives = cubes.volume_native_mm3[index]
        pairs = [(f"reader{k + 1}", natives[k], count) for k, count in enumerate(found["voxels"])]
        pairs.append(("consensus", cubes.consensus_native_mm3[index], found["consensus"]))
        common = {
            "nodule_id": cubes.nodule_id[index],
            "diameter_mm": cubes.diameter_mm[index],
            "is_truncated": bool(cubes.is_truncated[index]),
            "data_kind": cubes.columns["data_kind"][index],
        }
        for subject, native, count in pairs:
            volumes = {"volume_native_mm3": native, "volume_grid_mm3": count * voxel_mm3}
            rows.append({**common, "subject": subject, **volumes})
    return rows


def alignment_checks(cubes) -> list:
    """Return whether masks lie on the images' edges; a set too small to tell passes.

    Of many nodules, MAX_ALIGNED spread evenly are looked at: they tell as much, in less memory.
    """
    chosen = np.unique(np.linspace(0, len(cubes) - 1, MAX_ALIGNED).astype(int))
    if not len(cubes):
        return []
    findings = judge_alignment(
        [cubes.image(index) for index in chosen],
        [
            level_mask(cubes.readers(index), int(cubes.num_readers[index]), MAJORITY_LEVEL)
            for index in chosen
        ],
        [cubes.coverage(index) for index in chosen],
    )
    return [
        Check(
            f"alignment, {found.check}",
            "all",
            found.is_passed is not False,
            found.value,
            found.limit,
            found.detail,
        )
        for found in findings
    ]


def read_tables(paths, table: str) -> pd.DataFrame:
    """Return several tables of one schema as one."""
    return pd.concat([read_table(path, table) for path in paths], ignore_index=True)


def main(argv=None):
    """Check every shard by itself, then all of them together; write what was found."""
    args = parse_args(argv)
    nodules = read_table(args.nodules, "nodules")
    findings, dropped = (
        read_tables(args.findings, "findings"),
        read_tables(args.dropped, "dropped_nodules"),
    )
    checks, rows, every, ids, kinds = [], [], [], [], []
    for path in progress(args.shards, "shards"):
        cubes = open_shards(path)
        measures = [measure_cube(cubes, index) for index in range(len(cubes))]
        scope = Path(path).stem
        checks += check_grid(cubes, scope, args.spacing_mm, args.shape_vox)
        checks += check_content(cubes, scope, measures)
        rows += volume_rows(cubes, measures)
        every += measures
        ids += list(cubes.nodule_id)
        kinds += list(cubes.columns["data_kind"])
        cubes.close()
    volumes = pd.DataFrame(rows, columns=list(VOLUMES))
    checks += check_counts(nodules, ids, dropped)
    checks += check_published(nodules, read_table(args.attrition, "attrition"))
    checks += check_patients(read_table(args.splits, "splits"), nodules)
    checks += check_kinds(kinds, findings["data_kind"].dropna())
    checks += check_volumes(volumes) + check_staple(every)
    if "phantom" not in kinds or set(kinds) == {"phantom"}:
        checks += alignment_checks(open_shards(args.shards))
    made_by = provenance(__file__, args)
    write_table(pd.DataFrame(checks, columns=Check._fields), args.out_checks, "checks", made_by)
    write_table(volumes, args.out_volumes, "volumes", made_by)
    failed = [check for check in checks if not check.is_passed]
    for check in failed:
        LOG.info("failed: %s (%s): %s, limit %s; %s", *check[:2], *check[3:])
    LOG.info("checks: %d made, %d failed, of %d cubes", len(checks), len(failed), len(ids))


if __name__ == "__main__":
    run_command(main)
