"""How two marks of one series lie to each other: gap of their outlines in mm, shared voxels."""

from typing import NamedTuple

import numpy as np

from quorum.grouping import near_pairs
from quorum.outlines import slice_index_of, slice_masks

ROW_STRIDE, SLICE_STRIDE = 1 << 14, 1 << 28


class Mark(NamedTuple):
    """One mark of one reader in one series.

    Attributes
    ----------
    annotation_id : str
    session : int
        The reader: a reading session of the series, from 1.
    points_mm : ndarray of float, shape (points, 3)
        Row and column times the pixel spacing, and z.
    outlines : list of quorum.outlines.Outline
    """

    annotation_id: str
    session: int
    points_mm: np.ndarray
    outlines: list


class Overlap(NamedTuple):
    """Voxels that two marks share: IoU, and the share of each that the other one holds."""

    iou: float
    held_of_first: float
    held_of_second: float


def make_mark(annotation_id: str, session: int, outlines: list, pixel_spacing_mm: float) -> Mark:
    """Return a Mark with its outlines' points in mm."""
    points = [
        np.column_stack(
            [
                outline.rows * pixel_spacing_mm,
                outline.columns * pixel_spacing_mm,
                np.full(len(outline.rows), outline.z_mm),
            ]
        )
        for outline in outlines
    ]
    return Mark(annotation_id, session, np.concatenate(points), outlines)


def mark_voxels(mark: Mark, slice_z_mm: np.ndarray) -> np.ndarray:
    """Return the enclosed voxels of a mark as sorted codes, one integer a voxel.

    An outline that encloses none counts by its points, so that no mark is without extent.
    """
    rows = np.concatenate([outline.rows for outline in mark.outlines])
    columns = np.concatenate([outline.columns for outline in mark.outlines])
    row0, column0 = int(rows.min()), int(columns.min())
    ranges = (row0, int(rows.max()) + 1), (column0, int(columns.max()) + 1)
    codes = []
    for z_mm, mask in slice_masks(mark.outlines, *ranges).items():
        found = np.argwhere(mask) + np.array([row0, column0])
        code = int(slice_index_of(z_mm, slice_z_mm)) * SLICE_STRIDE
        codes.append(code + found[:, 0] * ROW_STRIDE + found[:, 1])
    codes = np.concatenate(codes)
    if not len(codes):
        index = slice_index_of([mark.outlines[0].z_mm], slice_z_mm)[0]
        codes = index * SLICE_STRIDE + rows.astype(np.int64) * ROW_STRIDE + columns
    return np.unique(codes)


def measure_overlap(first: np.ndarray, second: np.ndarray) -> Overlap:
    """Return the overlap of two marks' voxels, as `mark_voxels` gives them."""
    shared = len(np.intersect1d(first, second, assume_unique=True))
    union = len(first) + len(second) - shared
    return Overlap(shared / union, shared / len(first), shared / len(second))


def linked_pairs(marks: list, reach_mm: float, slice_z_mm: np.ndarray) -> dict:
    """Return the pairs of marks that share a voxel or come within reach of each other.

    Parameters
    ----------
    marks : list of Mark
        Of one series.
    reach_mm : float
        Largest gap between the points of two marks' outlines.
    slice_z_mm : ndarray, shape (slices,)
        Ascending.

    Returns
    -------
    dict of (int, int) to float
        Places in `marks`, smaller first, and the gap in mm (of the outlines' points; 0 where
        one mark lies inside the other, further than the reach from its outline).
    """
    if len(marks) < 2:
        return {}
    points = [mark.points_mm for mark in marks]
    first, second, gap_mm = near_pairs(points, reach_mm)
    pairs = dict(
        zip(zip(first.tolist(), second.tolist(), strict=True), gap_mm.tolist(), strict=True)
    )
    low = np.array([p.min(axis=0) for p in points])
    high = np.array([p.max(axis=0) for p in points])
    do_boxes_meet = (low[:, None] <= high[None]).all(-1) & (low[None] <= high[:, None]).all(-1)
    voxels = {}
    for i, j in np.argwhere(np.triu(do_boxes_meet, k=1)).tolist():
        if (i, j) in pairs:
            continue
        for place in (i, j):
            if place not in voxels:
                voxels[place] = mark_voxels(marks[place], slice_z_mm)
        if measure_overlap(voxels[i], voxels[j]).iou > 0:
            pairs[i, j] = 0.0
    return pairs
