"""Masks of cubes brought back to the grid of the series that they were cut from."""

from dataclasses import dataclass

import numpy as np

from quorum.errors import InputError
from quorum.geometry import Axis, Geometry, flip_array
from quorum.reader_masks import padded_to
from quorum.resampling import resample_mask
from quorum.scans import Scan, scans_of


@dataclass(frozen=True, eq=False)
class SeriesMask:
    """A mask in a box of its series.

    Attributes
    ----------
    mask : bool (z, y, x)
        As the series is stored, lowest slice first.
    start : int (3,)
        Index in the series of its first voxel.
    """

    mask: np.ndarray
    start: tuple


def grid_of(cubes, index: int) -> Geometry:
    """Return the geometry of a stored cube."""
    axes = tuple(Axis.regular(length, cubes.spacing_mm) for length in cubes.shape_vox)
    direction = np.asarray(cubes.direction[index]).reshape(3, 3)
    return Geometry(axes, np.asarray(cubes.origin_lps_mm[index]), direction)


def scan_around(rows, cube: Geometry, root: str = "") -> Scan:
    """Return the scan of a series, or that one of its volumes, which holds the cube's middle.

    Parameters
    ----------
    rows : DataFrame
        Of the table series_slices, one series.
    cube : Geometry

    Raises
    ------
    InputError
        When none does.
    """
    middle = cube.index_to_lps((np.array(cube.shape) - 1) / 2)
    for scan in scans_of(rows, root):
        geometry = scan.raster.geometry
        pairs = zip(geometry.axes, geometry.along_axes_mm(middle), strict=True)
        if all(axis.lower_mm[0] <= place <= axis.upper_mm[-1] for axis, place in pairs):
            return scan
    raise InputError(
        f"no image of the series {rows['source_series_uid'].iloc[0]} holds the nodule at "
        f"{np.round(middle, 1).tolist()} mm (LPS)",
        "the table of slices that the cubes were cut by",
        "take shards and slices of one run",
    )


def to_series(mask, cube: Geometry, series: Geometry) -> SeriesMask:
    """Return a cube's mask on its series' grid, volume kept (quorum.resampling.MASK_RULE).

    Parameters
    ----------
    mask : bool (z, y, x)
        On the cube's grid, inside what the series covers.
    cube, series : Geometry
        The series may be stored from right to left and from back to front.
    """
    flips = series.canonical_flips()
    canonical = series.flipped(flips)
    if not mask.any():
        return SeriesMask(np.zeros((1, 1, 1), bool), (0, 0, 0))
    spacing = cube.spacing_mm[0]
    # The kernel's width to each side is that of the coarser grid, so that the border is empty.
    padding = int(np.ceil(max(canonical.spacing_mm) / spacing)) + 2
    block, start = padded_to(mask, np.zeros(3, int), padding)
    axes = tuple(
        Axis.regular(length, spacing, first_mm=first * spacing)
        for length, first in zip(block.shape, start, strict=True)
    )
    geometry = Geometry(axes, cube.origin_lps_mm, cube.direction)
    shift = canonical.along_axes_mm(cube.origin_lps_mm)
    box = [
        own.reach(by + axis.centers_mm[0], by + axis.centers_mm[-1])
        for own, axis, by in zip(canonical.axes, axes, shift, strict=True)
    ]
    found = resample_mask(block, geometry, canonical.part(box))
    places = zip(box, canonical.axes, flips, strict=True)
    starts = [len(axis) - b if is_flipped else a for (a, b), axis, is_flipped in places]
    return SeriesMask(flip_array(found, flips), tuple(starts))


def join_boxes(masks: list) -> tuple:
    """Return masks of one series in their common box: bool (n, z, y, x), and its start."""
    low = np.min([m.start for m in masks], axis=0)
    high = np.max([np.add(m.start, m.mask.shape) for m in masks], axis=0)
    joined = np.zeros((len(masks), *(high - low)), bool)
    for row, one in zip(joined, masks, strict=True):
        first = np.subtract(one.start, low)
        row[tuple(slice(a, a + n) for a, n in zip(first, one.mask.shape, strict=True))] = one.mask
    return joined, tuple(int(value) for value in low)
