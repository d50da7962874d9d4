"""Cuts each nodule of a shard out of its series: image, readers' masks, STAPLE and coverage.

Reads
    --plan         plan_shards/<shard>.csv (table nodules): the shard's nodules
    --findings     check_series/<shard>.csv (table findings): series accepted, repaired, excluded
    --slices       check_series/<shard>.parquet (table series_slices): where each slice lies
    --contours     read_annotations/contours.parquet (table contours)
    --root         folder that the slices' paths are relative to; empty for the working folder
Writes
    --out-shard    HDF5, schema quorum-shard version 1 (workflow/schemas/shard.md): image int16
                   (n, z, y, x) [HU], readers uint8 (bit k: reader k + 1), coverage uint8, staple
                   float16, a phantom's latent uint8, geometry in LPS mm, ids and ratings
    --out-dropped  table dropped_nodules: nodules that became no cube, and why
Method
    The grid is parallel to the series, its axes towards +z, +y, +x, and centred on the nodule.
    Only slices, rows and columns in reach of the cube are read. Image: separable triangle weights
    as wide as the coarser grid, over voxels that hold data alone. Masks: drawn on the series'
    raster, interpolated likewise, cut at the value that keeps the volume.
Source
    pylidc's `boolean_mask` for the outlines; Warfield et al. 2004 for STAPLE (SimpleITK).
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pandas as pd

from quorum.command import log_counts, make_parser, progress, provenance, run_command
from quorum.consensus import TIE_RULE
from quorum.cubes import make_cube, outlines_of
from quorum.errors import InputError
from quorum.files import write_whole
from quorum.outlines import outlines_by_annotation, pieces_of
from quorum.reader_masks import OutlineOffSlice
from quorum.resampling import COVERAGE_RULE, IMAGE_KERNEL, MASK_RULE
from quorum.scans import Dropped, choose_scan, scans_of
from quorum.shard_schema import NO_DATA
from quorum.shard_writer import ShardWriter
from quorum.shards import common_kind
from quorum.staple import STAPLE_RULE
from quorum.tables import check_table, read_table, write_table

NODULES_AT_ONCE = 8  # a cube is about 3 MB before compression


def parse_args(argv=None):
    """Return the parsed flags."""
    parser = make_parser(__doc__)
    for name in ("plan", "findings", "slices", "contours"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--root", default="")
    parser.add_argument("--spacing-mm", type=float, default=1.0)
    parser.add_argument("--shape-vox", type=int, nargs=3, default=[40, 80, 80])
    parser.add_argument("--staple-padding-vox", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out-shard", required=True)
    parser.add_argument("--out-dropped", required=True)
    return parser.parse_args(argv)


def read_contours(path, annotation_ids) -> dict:
    """Return the outlines of these annotations alone, by annotation_id.

    Of a few rows at a time the names, then of those that are wanted the points: the whole table
    would take more memory, and more time, than everything else here.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    pieces = sorted({piece for name in annotation_ids for piece in pieces_of(name)})
    try:
        with pq.ParquetFile(path) as file:
            found = [file.schema_arrow.empty_table()]
            for few in range(file.num_row_groups):
                names = file.read_row_group(few, ["annotation_id"], use_threads=False).column(0)
                is_wanted = pc.is_in(names, value_set=pa.array(pieces, names.type))
                if pc.any(is_wanted).as_py():
                    found.append(file.read_row_group(few, use_threads=False).filter(is_wanted))
        frame = pa.concat_tables(found).to_pandas()
    except (OSError, KeyError, pa.ArrowException) as error:
        raise InputError(
            f"the table {path} can't be read ({str(error).splitlines()[0]})",
            "contours.parquet",
            "make it with the rule read_annotations",
        ) from error
    return outlines_by_annotation(check_table(frame, "contours", str(path)))


def known_reasons(findings) -> dict:
    """Return why check_series ruled out a series or a nodule, by source_series_uid or nodule_id."""
    reasons = {}
    for row in findings.itertuples(index=False):
        if row.decision == "excluded":
            reasons[row.source_series_uid] = ("series excluded", str(row.reason))
        for name in row.uncovered_nodules:
            reasons[name] = ("outlines without image", "its outlines lie where there is no image")
    return reasons


def cube_or_reason(nodule, *, scans: dict, reasons: dict, outlines: dict, settings: dict):
    """Return the nodule's fields, or a Dropped that says why there are none."""
    uid = nodule["series_uid"]
    try:
        for name in (uid, nodule["nodule_id"]):
            if name in reasons:
                raise Dropped(*reasons[name])
        if uid not in scans:
            raise Dropped("no images", "check_series lists no file of its series")
        own = outlines_of(nodule, outlines)
        return make_cube(nodule, own, choose_scan(scans[uid], nodule), **settings)
    except Dropped as dropped:
        return dropped
    except OutlineOffSlice as error:
        return Dropped("outline between slices", str(error))


def make_cubes(nodules: list, threads: int, label: str, **inputs):
    """Yield each nodule with its cube or Dropped, in order, a few at once."""
    with ThreadPoolExecutor(threads) as pool:
        for first in progress(range(0, len(nodules), NODULES_AT_ONCE), label):
            few = nodules[first : first + NODULES_AT_ONCE]
            yield from zip(few, pool.map(lambda n: cube_or_reason(n, **inputs), few), strict=True)


def write_shard(path, found, attributes: dict, has_latent: bool) -> list:
    """Write the cubes as they come and return the rows of the nodules that were dropped."""
    dropped = []
    with ShardWriter(path, attributes, has_latent=has_latent) as writer:
        for nodule, cube in found:
            if isinstance(cube, Dropped):
                ids = {name: nodule[name] for name in ("nodule_id", "series_uid", "patient_id")}
                dropped.append({**ids, "reason": cube.reason, "detail": cube.detail})
            else:
                writer.add(cube)
    return dropped


def shard_attributes(args, kind: str, made_by: dict) -> dict:
    """Return the shard's attributes: grid, rules, origin."""
    return {
        "data_kind": kind,
        "spacing_mm": args.spacing_mm,
        "shape_vox": args.shape_vox,
        "mask_rule": MASK_RULE,
        "image_kernel": IMAGE_KERNEL,
        "coverage_rule": COVERAGE_RULE,
        "staple_rule": STAPLE_RULE,
        "staple_padding_vox": args.staple_padding_vox,
        "tie_rule": TIE_RULE,
        "made_by": made_by,
    }


def main(argv=None):
    """Read the plan, make each nodule's cube, write the shard and who was dropped."""
    args = parse_args(argv)
    plan = read_table(args.plan, "nodules")
    findings = read_table(args.findings, "findings")
    slices = read_table(args.slices, "series_slices")
    slices = slices[slices["source_series_uid"].isin(plan["series_uid"])]
    kind = common_kind(slices["data_kind"], [args.slices])
    made_by = provenance(__file__, args)
    attributes = shard_attributes(args, kind if len(plan) else NO_DATA, made_by)
    settings = {
        "shape": tuple(args.shape_vox),
        "spacing_mm": args.spacing_mm,
        "padding_vox": args.staple_padding_vox,
    }
    found = make_cubes(
        plan.to_dict("records"),
        args.threads,
        "cubes",
        scans={uid: scans_of(r, args.root) for uid, r in slices.groupby("source_series_uid")},
        reasons=known_reasons(findings),
        outlines=read_contours(args.contours, set(plan["annotation_ids"].explode().dropna())),
        settings=settings,
    )
    with write_whole(args.out_shard) as temporary:
        dropped = write_shard(temporary, found, attributes, kind == "phantom")
        columns = ["nodule_id", "series_uid", "patient_id", "reason", "detail"]
        write_table(
            pd.DataFrame(dropped, columns=columns), args.out_dropped, "dropped_nodules", made_by
        )
    reasons = Counter(row["reason"] for row in dropped)
    log_counts(
        "nodules", came_in=len(plan), dropped=dict(reasons), went_out=len(plan) - len(dropped)
    )


if __name__ == "__main__":
    run_command(main)
