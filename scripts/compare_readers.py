"""Compare the readers of each selected nodule on the native grid, without images.

Reads
    --nodules   nodules.csv of select_nodules (schema: nodules).
    --series    series.csv (schema: series).
    --slices    slices.parquet (schema: slices).
    --contours  contours.parquet (schema: contours).
Writes
    --out-agreement  agreement.csv, one row a comparison; HD95 and ASSD in mm (schema: agreement).
Method
    Each reader's outlines are drawn on the series' own pixels and slices (quorum.outlines). Every
    pair of readers is compared, and each reader with the majority of the nodule's others (at
    least half of them: 2 of 3, 1 of 2). Distances use the slices' real z. One mask empty: Dice 0
    and no distance; both empty: no value at all. Both are counted in the log.
Source
    Measures: MONAI's definitions (quorum.surface_metrics).
"""

import multiprocessing
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd

from quorum.command import LOG, log_counts, make_parser, progress, provenance, run_command
from quorum.outlines import annotation_mask, outline_box, outlines_by_annotation
from quorum.surface_metrics import compare_masks
from quorum.tables import read_table, write_table

MEASURES = ("dice", "iou", "hd95_mm", "assd_mm")
BATCH = 8  # nodules handed to a worker at once


def reader_masks(outlines: list, slice_z_mm: np.ndarray) -> tuple:
    """Return every reader's mask in the box around all their outlines, and the box's z.

    Parameters
    ----------
    outlines : list of list of Outline
        One list a reader.
    slice_z_mm : ndarray, shape (slices,)
        The series' z, ascending.

    Returns
    -------
    masks : ndarray of bool, shape (readers, slices, rows, columns)
    z_mm : ndarray, shape (slices,)
        Of the box's slices.
    """
    box = outline_box([outline for reader in outlines for outline in reader], slice_z_mm)
    masks = np.stack([annotation_mask(reader, slice_z_mm, box) for reader in outlines])
    return masks, slice_z_mm[box.slice0 : box.slice1]


def majority_of_others(masks: np.ndarray, left_out: int) -> np.ndarray:
    """Return where at least half of the readers but one agree.

    Parameters
    ----------
    masks : ndarray of bool, shape (readers, slices, rows, columns)
    left_out : int
        Counted from 0.
    """
    # ASSUME: majority of the others means at least half of them: 2 of 3 (FACTS: Dice 0.808)
    others = np.delete(masks, left_out, axis=0)
    return others.sum(axis=0) * 2 >= len(others)


def compare_nodule(task: tuple) -> list:
    """Return the rows of the agreement table of one nodule.

    Parameters
    ----------
    task : (str, list of list of Outline, ndarray, (float, float, float))
        nodule_id, each reader's outlines, the series' z, voxel spacing (z, y, x) in mm.
    """
    nodule_id, outlines, slice_z_mm, spacing_mm = task
    masks, z_mm = reader_masks(outlines, slice_z_mm)
    compare = partial(compare_masks, spacing_mm=spacing_mm, slice_z_mm=z_mm)
    rows = []
    for a, b in combinations(range(len(masks)), 2):
        pair = {"nodule_id": nodule_id, "kind": "pair", "reader_a": a + 1, "reader_b": b + 1}
        rows.append(pair | compare(masks[a], masks[b]))
    for a in range(len(masks) if len(masks) > 1 else 0):
        alone = {"nodule_id": nodule_id, "kind": "against_others", "reader_a": a + 1}
        rows.append(alone | {"reader_b": None} | compare(masks[a], majority_of_others(masks, a)))
    return rows


def make_tasks(nodules, series, slices, contours) -> list:
    """Return what `compare_nodule` needs for each nodule, in the table's order."""
    wanted = {name for ids in nodules["annotation_ids"] for name in ids}
    outlines = outlines_by_annotation(contours, wanted)
    used = slices[slices["series_uid"].isin(set(nodules["series_uid"]))]
    z_of = {uid: z.to_numpy(float) for uid, z in used.groupby("series_uid")["z_mm"]}
    spacings = series.set_index("series_uid")[["slice_spacing_mm", "pixel_spacing_mm"]]
    spacing_of = {uid: (float(z), float(xy), float(xy)) for uid, z, xy in spacings.itertuples()}
    return [
        (
            nodule.nodule_id,
            [outlines[name] for name in nodule.annotation_ids],
            z_of[nodule.series_uid],
            spacing_of[nodule.series_uid],
        )
        for nodule in nodules.itertuples()
    ]


def compare_all(tasks: list, num_threads: int) -> pd.DataFrame:
    """Return the agreement table; the same rows in the same order for any number of processes."""
    if num_threads > 1:
        with multiprocessing.Pool(num_threads) as pool:
            results = pool.imap(compare_nodule, tasks, chunksize=BATCH)
            found = list(progress(results, "nodules", len(tasks)))
    else:
        found = [compare_nodule(task) for task in progress(tasks, "nodules")]
    columns = ["nodule_id", "kind", "reader_a", "reader_b", *MEASURES, "is_empty_mask"]
    frame = pd.DataFrame([row for rows in found for row in rows], columns=columns)
    return frame.round(dict.fromkeys(MEASURES, 6))


def log_means(agreement: pd.DataFrame):
    """Log each kind's means, and how many comparisons lack a value because of an empty mask."""
    for kind, rows in agreement.groupby("kind"):
        means = ", ".join(f"{name} {rows[name].astype(float).mean():.3f}" for name in MEASURES)
        both = int(rows["dice"].isna().sum())
        one = int(rows["is_empty_mask"].sum()) - both
        LOG.info("%s: means of %d: %s", kind, len(rows), means)
        LOG.info("%s: %d with one empty mask (Dice 0, no distance), %d with both", kind, one, both)


def main(argv=None):
    """Read the tables, draw and compare every nodule's readers, write the agreement."""
    parser = make_parser(__doc__)
    for name in ("--nodules", "--series", "--slices", "--contours", "--out-agreement"):
        parser.add_argument(name, required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)

    nodules, series = read_table(args.nodules, "nodules"), read_table(args.series, "series")
    slices, contours = read_table(args.slices, "slices"), read_table(args.contours, "contours")
    agreement = compare_all(make_tasks(nodules, series, slices, contours), args.threads)
    single = nodules["num_annotations"] < 2
    log_counts(
        "nodules compared",
        came_in=len(nodules),
        dropped={"a single reader, nobody to compare with": int(single.sum())},
        went_out=agreement["nodule_id"].nunique(),
    )
    log_means(agreement)
    # The result is the same for any number of processes, so they are no part of what made it.
    del args.threads
    write_table(agreement, args.out_agreement, "agreement", provenance(__file__, args))


if __name__ == "__main__":
    run_command(main)
