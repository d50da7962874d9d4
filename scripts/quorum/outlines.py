"""Readers' outlines as masks on the pixel raster, exactly as pylidc's `boolean_mask` draws them.

A row and a column are pixel indices of the whole series (0 is the first pixel's centre). pylidc's
`coords` text, and the XML before it, hold "x,y" = "column,row"; the contours table holds them as
two lists, `rows` and `columns`, so that the order can't be mistaken.

The points lie on the first voxel outside the nodule (pylidc issue 15): a voxel is inside when the
even-odd rule says so and no point of that outline lies on it. Exclusions are taken off after all
inclusions, their own points too. A slice whose outline encloses no voxel stays part of the
outline's extent (`outline_box`).
"""

from typing import NamedTuple

import numpy as np

from quorum.errors import InputError

# Slices' z are read from text with at most a few decimals; a tenth of a millimetre is far below
# the smallest slice spacing of LIDC-IDRI (0.45 mm) and far above rounding.
MAX_Z_DEVIATION_MM = 0.1


class Outline(NamedTuple):
    """One closed outline in one slice.

    Attributes
    ----------
    z_mm : float
        The slice's z (LPS).
    is_inclusion : bool
        True: what it encloses is nodule; False: what it encloses is taken off.
    rows, columns : ndarray of int, shape (points,)
        Pixel indices in the whole series, along the outline; closed or not.
    """

    z_mm: float
    is_inclusion: bool
    rows: np.ndarray
    columns: np.ndarray


class Box(NamedTuple):
    """A half-open box of the series' raster: slice0 <= slice < slice1, likewise rows, columns."""

    slice0: int
    slice1: int
    row0: int
    row1: int
    column0: int
    column1: int

    @property
    def shape(self) -> tuple:
        """Return (slices, rows, columns)."""
        return (self.slice1 - self.slice0, self.row1 - self.row0, self.column1 - self.column0)

    def padded(self, num_slices: int, num_rows: int, num_columns: int) -> "Box":
        """Return the box with this much more at both ends of each axis, unclipped."""
        return Box(
            self.slice0 - num_slices,
            self.slice1 + num_slices,
            self.row0 - num_rows,
            self.row1 + num_rows,
            self.column0 - num_columns,
            self.column1 + num_columns,
        )


def pieces_of(annotation_id: str) -> list:
    """Return the annotations that make up one reader's: `a+b` joins two pieces of one nodule."""
    return annotation_id.split("+")


def outlines_by_annotation(contours, annotation_ids=None) -> dict:
    """Return each annotation's outlines, in the order of the contours table.

    Parameters
    ----------
    contours : DataFrame
        The contours table, or rows of it.
    annotation_ids : iterable of str, optional
        Only these; without it, all. Pieces joined by `+` come as one list under that name.

    Returns
    -------
    dict of str to list of Outline
        By annotation_id; the order matters where two outlines of one slice touch.

    Raises
    ------
    InputError
        When a wanted annotation has no outline.
    """
    if annotation_ids is not None:
        annotation_ids = set(annotation_ids)
        pieces = {piece for name in annotation_ids for piece in pieces_of(name)}
        contours = contours[contours["annotation_id"].isin(pieces)]
    outlines = {}
    for annotation_id, z_mm, is_inclusion, rows, columns in zip(
        contours["annotation_id"].to_numpy(dtype=object),
        contours["z_mm"].to_numpy(dtype=float),
        contours["is_inclusion"].to_numpy(dtype=bool),
        contours["rows"],
        contours["columns"],
        strict=True,
    ):
        outline = Outline(float(z_mm), bool(is_inclusion), np.asarray(rows), np.asarray(columns))
        outlines.setdefault(annotation_id, []).append(outline)
    if annotation_ids is None:
        return outlines
    lacking = sorted(pieces - set(outlines))
    if lacking:
        raise InputError(
            f"the contours table has no outline of the annotations {', '.join(lacking[:5])}",
            "outlines of every annotation that a nodule names",
            "make both tables again with the rules read_annotations and group_annotations",
        )
    return {
        name: [outline for piece in pieces_of(name) for outline in outlines[piece]]
        for name in sorted(annotation_ids)
    }


def fill_outline(outline: Outline, row_range: tuple, column_range: tuple) -> np.ndarray:
    """Return the pixels that one outline encloses by the even-odd rule, its points included.

    The tie rule of matplotlib's `Path.contains_points`, on which pylidc stands, in integers: a
    pixel on an edge counts as inside where the edge runs towards larger columns.

    Parameters
    ----------
    outline : Outline
    row_range, column_range : (int, int)
        Half-open ranges of pixel indices; points may lie outside them.

    Returns
    -------
    ndarray of bool, shape (rows, columns)
    """
    num_rows, num_columns = row_range[1] - row_range[0], column_range[1] - column_range[0]
    rows = outline.rows.astype(np.int64) - row_range[0]
    columns = outline.columns.astype(np.int64) - column_range[0]
    next_rows, next_columns = np.roll(rows, -1), np.roll(columns, -1)
    # Each edge crosses the pixel columns from above its smaller end up to its larger end.
    first = np.clip(np.minimum(columns, next_columns) + 1, 0, num_columns)
    stop = np.clip(np.maximum(columns, next_columns) + 1, 0, num_columns)
    counts = np.maximum(stop - first, 0)
    edge = np.repeat(np.arange(len(rows)), counts)
    offset = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    column = first[edge] + offset
    rise = next_columns[edge] - columns[edge]
    # The crossing lies at next_row - part / width; it flips all pixels up to it.
    width = np.abs(rise)
    part = (next_columns[edge] - column) * (next_rows[edge] - rows[edge]) * np.sign(rise)
    up_to = next_rows[edge] - np.where(rise > 0, -((-part) // width), part // width + 1)
    last = np.minimum(up_to, num_rows - 1)
    column, last = column[last >= 0], last[last >= 0]
    flips = np.bincount(last * num_columns + column, minlength=num_rows * num_columns)
    flips = flips.reshape(num_rows, num_columns)[::-1].cumsum(axis=0)[::-1]
    return flips % 2 == 1


def draw_outlines(outlines: list, row_range: tuple, column_range: tuple) -> np.ndarray:
    """Return the mask of one reader in one slice: inclusions less exclusions, points outside.

    Parameters
    ----------
    outlines : list of Outline
        All of one annotation and one slice, in the table's order.
    row_range, column_range : (int, int)
        Half-open ranges of pixel indices.

    Returns
    -------
    ndarray of bool, shape (rows, columns)
    """
    mask = np.zeros((row_range[1] - row_range[0], column_range[1] - column_range[0]), bool)
    for is_inclusion in (True, False):
        for outline in outlines:
            if outline.is_inclusion != is_inclusion:
                continue
            filled = fill_outline(outline, row_range, column_range)
            mask = mask | filled if is_inclusion else mask & ~filled
            rows, columns = outline.rows - row_range[0], outline.columns - column_range[0]
            within = (rows >= 0) & (rows < mask.shape[0])
            within &= (columns >= 0) & (columns < mask.shape[1])
            mask[rows[within], columns[within]] = False
    return mask


def slice_masks(outlines: list, row_range: tuple, column_range: tuple) -> dict:
    """Return one reader's mask in every slice that has an outline of theirs.

    Returns
    -------
    dict of float to ndarray of bool, shape (rows, columns)
        By z_mm, ascending; a mask can be empty (an outline that encloses no voxel).
    """
    by_z = {}
    for outline in outlines:
        by_z.setdefault(outline.z_mm, []).append(outline)
    return {z_mm: draw_outlines(by_z[z_mm], row_range, column_range) for z_mm in sorted(by_z)}


def slice_index_of(z_mm, slice_z_mm: np.ndarray):
    """Return the index of the stored slice nearest to each z; the lower one on a tie.

    Parameters
    ----------
    z_mm : float or ndarray
        Outlines' z.
    slice_z_mm : ndarray, shape (slices,)
        The series' z, ascending.

    Returns
    -------
    ndarray of int
        The same shape as `z_mm`.
    """
    z_mm = np.asarray(z_mm, float)
    right = np.clip(np.searchsorted(slice_z_mm, z_mm), 1, max(len(slice_z_mm) - 1, 1))
    left = right - 1
    right = np.minimum(right, len(slice_z_mm) - 1)
    nearer_right = np.abs(slice_z_mm[right] - z_mm) < np.abs(slice_z_mm[left] - z_mm)
    return np.where(nearer_right, right, left)


def outline_box(outlines: list, slice_z_mm: np.ndarray) -> Box:
    """Return the smallest box that holds every point of these outlines.

    The points themselves lie outside the nodule, so every enclosed voxel is in it. The same box
    as pylidc's `bbox` (of one annotation) and `consensus` (of several, joined).
    """
    rows = np.concatenate([outline.rows for outline in outlines])
    columns = np.concatenate([outline.columns for outline in outlines])
    index = slice_index_of([outline.z_mm for outline in outlines], slice_z_mm)
    ends = [(int(v.min()), int(v.max()) + 1) for v in (index, rows, columns)]
    return Box(*ends[0], *ends[1], *ends[2])


def annotation_mask(outlines: list, slice_z_mm: np.ndarray, box: Box) -> np.ndarray:
    """Return one reader's mask inside a box of the series' raster.

    Parameters
    ----------
    outlines : list of Outline
        All of one annotation.
    slice_z_mm : ndarray, shape (slices,)
        z of the series' slices (or of those at hand), ascending; `box` counts slices in it.
    box : Box
        Outlines beyond it are clipped; it may reach beyond the series.

    Returns
    -------
    ndarray of bool, shape (slices, rows, columns) = box.shape

    Raises
    ------
    InputError
        When an outline within the box's z lies more than 0.1 mm from every slice: drawn into
        the nearest one, it would silently move.
    """
    slice_z_mm = np.asarray(slice_z_mm, float)
    mask = np.zeros(box.shape, bool)
    masks = slice_masks(outlines, (box.row0, box.row1), (box.column0, box.column1))
    for z_mm, drawn in masks.items():
        index = int(slice_index_of(z_mm, slice_z_mm))
        if not box.slice0 <= index < box.slice1:
            continue
        if not abs(slice_z_mm[index] - z_mm) <= MAX_Z_DEVIATION_MM:
            if z_mm < slice_z_mm[0] or z_mm > slice_z_mm[-1]:
                continue
            raise InputError(
                f"an outline at z = {z_mm} mm lies {abs(slice_z_mm[index] - z_mm):.2f} mm "
                "from the nearest slice",
                f"a slice within {MAX_Z_DEVIATION_MM} mm of every outline",
                "check that the series is complete and is the one that was outlined",
            )
        mask[index - box.slice0] |= drawn
    return mask
