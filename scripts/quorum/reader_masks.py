"""Readers' outlines on a cube's grid: drawn on the series' raster, then resampled, volume kept."""

from dataclasses import dataclass

import numpy as np

from quorum.consensus import MAJORITY_LEVEL, level_mask
from quorum.errors import InputError
from quorum.geometry import Axis, Geometry, flip_array
from quorum.outlines import MAX_Z_DEVIATION_MM, Box, annotation_mask
from quorum.resampling import resample_mask, voxel_volumes_mm3


class OutlineOffSlice(InputError):
    """An outline lies between two slices of its series: it can't be drawn without moving it."""


@dataclass(frozen=True, eq=False)
class Raster:
    """What places outlines: a series' geometry, and where its array begins in the whole series.

    Attributes
    ----------
    geometry : Geometry
        Of the array as stored, but with slices from the lowest z up.
    row0, column0 : int
        Row and column, in the whole series, of the array's first voxel.
    """

    geometry: Geometry
    row0: int = 0
    column0: int = 0

    @property
    def slice_z_mm(self) -> np.ndarray:
        """Return the z (LPS) of each slice's first pixel: float64 (slices,), ascending."""
        return self.z_of_place(self.geometry.axes[0].centers_mm)

    def z_of_place(self, places_mm):
        """Return the z (LPS) of a place along the slices' normal."""
        rise = self.geometry.vector(0)[2]
        return self.geometry.origin_lps_mm[2] + rise * np.asarray(places_mm, float)

    def place_of_z(self, z_mm):
        """Return the place along the slices' normal of a z (LPS)."""
        rise = self.geometry.vector(0)[2]
        return (np.asarray(z_mm, float) - self.geometry.origin_lps_mm[2]) / rise

    def center_lps_mm(self, row, column, z_mm) -> np.ndarray:
        """Return the LPS point of a pixel of the whole series (may be fractional) at this z."""
        _, axis_y, axis_x = self.geometry.axes
        return self.geometry.to_lps_mm(
            (
                float(self.place_of_z(z_mm)),
                (row - self.row0) * axis_y.spacing_mm + axis_y.centers_mm[0],
                (column - self.column0) * axis_x.spacing_mm + axis_x.centers_mm[0],
            )
        )


@dataclass(frozen=True, eq=False)
class NativeMasks:
    """Readers' masks on the series' raster, in a box around all of them with an empty border.

    Attributes
    ----------
    readers : uint8 (z, y, x)
        Bit k is reader k + 1.
    num_readers : int
    geometry : Geometry
        Of the box.
    """

    readers: np.ndarray
    num_readers: int
    geometry: Geometry

    def volumes_mm3(self) -> np.ndarray:
        """Return each reader's volume: float64 (num_readers,)."""
        size = voxel_volumes_mm3(self.geometry)
        return np.array(
            [float(((self.readers >> k & 1) * size).sum()) for k in range(self.num_readers)]
        )

    def consensus_mm3(self) -> float:
        """Return the volume of the readers' majority."""
        mask = level_mask(self.readers, self.num_readers, MAJORITY_LEVEL)
        return float((mask * voxel_volumes_mm3(self.geometry)).sum())


def draw_readers(outlines: list, raster: Raster, *, margin_mm: float) -> NativeMasks:
    """Draw every reader's outlines on the raster of their series.

    Parameters
    ----------
    outlines : list of lists of quorum.outlines.Outline
        One list a reader, in the nodule's order.
    raster : Raster
    margin_mm : float
        The empty border is at least this wide, and at least one voxel.

    Raises
    ------
    OutlineOffSlice
    """
    every = [outline for reader in outlines for outline in reader]
    axis_z = outlined_slices(raster, np.unique([outline.z_mm for outline in every]), margin_mm)
    _, axis_y, axis_x = raster.geometry.axes
    pad_y, pad_x = (int(np.ceil(margin_mm / axis.spacing_mm)) + 1 for axis in (axis_y, axis_x))
    rows = np.concatenate([outline.rows for outline in every])
    columns = np.concatenate([outline.columns for outline in every])
    box = Box(
        0,
        len(axis_z),
        int(rows.min()) - pad_y,
        int(rows.max()) + 1 + pad_y,
        int(columns.min()) - pad_x,
        int(columns.max()) + 1 + pad_x,
    )
    z_mm = raster.z_of_place(axis_z.centers_mm)
    readers = np.zeros(box.shape, np.uint8)
    for k, own in enumerate(outlines):
        readers |= annotation_mask(own, z_mm, box).astype(np.uint8) << np.uint8(k)
    starts = (box.row0 - raster.row0, box.column0 - raster.column0)
    axes = [
        Axis.regular(length, axis.spacing_mm, first_mm=axis.centers_mm[0] + start * axis.spacing_mm)
        for length, axis, start in zip(box.shape[1:], (axis_y, axis_x), starts, strict=True)
    ]
    geometry = Geometry((axis_z, *axes), raster.geometry.origin_lps_mm, raster.geometry.direction)
    return NativeMasks(readers, len(outlines), geometry)


def outlined_slices(raster: Raster, z_mm: np.ndarray, margin_mm: float) -> Axis:
    """Return the slices from below the lowest outline to above the highest one.

    Slices that the images lack (beyond a cut-out, or in a hole) are added where outlines are, and
    at both ends, so that every outline has its place and the border is empty.

    Raises
    ------
    OutlineOffSlice
        When an outline lies between slices.
    """
    axis = raster.geometry.axes[0]
    places = raster.place_of_z(z_mm)
    deviation = np.abs(axis.centers_mm[axis.nearest(places)] - places)
    is_missing = deviation > MAX_Z_DEVIATION_MM
    is_between = is_missing & axis.holds(places)
    if is_between.any():
        worst = int(np.flatnonzero(is_between)[0])
        raise OutlineOffSlice(
            f"an outline at z = {z_mm[worst]} mm lies {deviation[worst]:.2f} mm from a slice",
            f"a slice within {MAX_Z_DEVIATION_MM} mm of it",
            "check that the images are the series that was outlined",
        )
    reach = max(margin_mm, axis.spacing_mm) + 1e-6
    low, high = places.min() - reach, places.max() + reach
    centers = np.concatenate([axis.part(*axis.reach(low, high)).centers_mm, places[is_missing]])
    centers = np.unique(np.round(centers, 6))
    below = np.arange(1, np.ceil(max(0, centers[0] - low) / axis.spacing_mm) + 1)
    above = np.arange(1, np.ceil(max(0, high - centers[-1]) / axis.spacing_mm) + 1)
    return Axis.uneven(
        np.concatenate(
            [
                centers[0] - below[::-1] * axis.spacing_mm,
                centers,
                centers[-1] + above * axis.spacing_mm,
            ]
        ),
        axis.spacing_mm,
    )


def lattice_box(geometry: Geometry, cube: Geometry):
    """Return the part of the cube's endless lattice that holds a mask: first index, Geometry.

    Parameters
    ----------
    geometry : Geometry
        Of the mask's box, canonical.
    cube : Geometry

    Returns
    -------
    start_zyx : int (3,)
        Index in the cube of the first voxel; may be negative.
    grid : Geometry
    """
    spacing = np.array(cube.spacing_mm)
    shift = cube.along_axes_mm(geometry.origin_lps_mm)
    low = np.array([axis.centers_mm[0] for axis in geometry.axes]) + shift
    high = np.array([axis.centers_mm[-1] for axis in geometry.axes]) + shift
    start = np.ceil(low / spacing - 1e-6).astype(int)
    length = np.maximum(np.floor(high / spacing + 1e-6).astype(int) - start + 1, 1)
    axes = tuple(
        Axis.regular(int(n), float(s), first_mm=float(first * s))
        for n, s, first in zip(length, spacing, start, strict=True)
    )
    return start, Geometry(axes, cube.origin_lps_mm, cube.direction)


def readers_on_lattice(native: NativeMasks, cube: Geometry):
    """Return every reader's mask on the cube's lattice, beyond the cube too.

    Returns
    -------
    readers : uint8 (z, y, x)
        Bit k is reader k + 1.
    start_zyx : int (3,)
        Index in the cube of its first voxel.
    """
    flips = native.geometry.canonical_flips()
    geometry = native.geometry.flipped(flips)
    bits = flip_array(native.readers, flips)
    start, grid = lattice_box(geometry, cube)
    readers = np.zeros(grid.shape, np.uint8)
    for k in range(native.num_readers):
        mask = resample_mask((bits >> k & 1).astype(bool), geometry, grid)
        readers |= mask.astype(np.uint8) << np.uint8(k)
    return readers, start


def padded_to(array, start, padding: int):
    """Return the array cut to its non-zero box, padded all round, and its new first index."""
    index = np.nonzero(array)
    if not len(index[0]):
        return array, start
    low = [int(values.min()) for values in index]
    high = [int(values.max()) + 1 for values in index]
    cut = array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    return np.pad(cut, padding), np.asarray(start) + low - padding


def paste(array: np.ndarray, start, shape) -> np.ndarray:
    """Return an array of `shape` with `array` put at `start` (may reach beyond); else 0."""
    whole = np.zeros(shape, array.dtype)
    target, source = [], []
    for first, length, limit in zip(start, array.shape, shape, strict=True):
        low, high = max(int(first), 0), min(int(first) + length, limit)
        target.append(slice(low, max(low, high)))
        source.append(slice(low - int(first), max(low, high) - int(first)))
    whole[tuple(target)] = array[tuple(source)]
    return whole
