"""Where voxels are: one object for index <-> LPS mm, spacing, direction, flips and boxes.

Array axes are (z, y, x) = (slice, row, column). An axis carries the centre and the extent of each
of its voxels in mm, so that slices at uneven positions need no special case anywhere else. LPS
coordinates are (x, y, z) in mm, as in DICOM (x to the patient's left, y to the back, z to the
head); a direction's columns are the unit vectors of the axes x, y, z, as in ITK.
"""

from dataclasses import dataclass

import numpy as np

from quorum.errors import InputError

# ASSUME: a gap of more than 1.5 median spacings is a hole in the series, and the slices beside it
# reach only half a median spacing into it (a slice stands for what was scanned, not for the hole).
HOLE_FACTOR = 1.5
MAX_DIRECTION_DEVIATION = 1e-4  # between unit vectors: 0.01 mm over 100 mm
AXIS_NAMES = "zyx"


@dataclass(frozen=True, eq=False)
class Axis:
    """The voxels of an array along one of its axes.

    Attributes
    ----------
    centers_mm : float64 (n,)
        Ascending, measured along the axis from the geometry's origin.
    lower_mm, upper_mm : float64 (n,)
        Where each voxel's extent begins and ends.
    spacing_mm : float
        The median distance between centres (of a single voxel: its extent).
    """

    centers_mm: np.ndarray
    lower_mm: np.ndarray
    upper_mm: np.ndarray
    spacing_mm: float

    @classmethod
    def regular(cls, length: int, spacing_mm: float, *, first_mm: float = 0.0) -> "Axis":
        """Return `length` voxels of equal spacing, the first centred on `first_mm`."""
        if not spacing_mm > 0:
            raise InputError(
                f"a voxel spacing of {spacing_mm} mm was given",
                "a spacing above 0 mm",
                "check the series' geometry",
            )
        centers = first_mm + spacing_mm * np.arange(length)
        return cls(centers, centers - spacing_mm / 2, centers + spacing_mm / 2, float(spacing_mm))

    @classmethod
    def uneven(cls, centers_mm, spacing_mm: float | None = None) -> "Axis":
        """Return voxels at these ascending centres; each reaches half-way to its neighbours.

        Into a hole, and at both ends, it reaches half the spacing (`spacing_mm`, else the
        median of the distances).

        Raises
        ------
        InputError
            When centres do not ascend, or there is one alone and no spacing.
        """
        centers = np.asarray(centers_mm, float)
        steps = np.diff(centers)
        if spacing_mm is None:
            spacing_mm = float(np.median(steps)) if len(steps) else float("nan")
        if not (steps > 0).all() or not spacing_mm > 0:
            raise InputError(
                f"slices at {centers[:5].tolist()} .. mm with a spacing of {spacing_mm} mm",
                "ascending positions without doubles, and a spacing above 0 mm",
                "check the series with the rule check_series",
            )
        halves = np.where(steps > HOLE_FACTOR * spacing_mm, spacing_mm, steps) / 2
        lower = centers - np.concatenate([[spacing_mm / 2], halves])
        upper = centers + np.concatenate([halves, [spacing_mm / 2]])
        return cls(centers, lower, upper, float(spacing_mm))

    @property
    def extents_mm(self) -> np.ndarray:
        """Return the length of each voxel: float64 (n,)."""
        return self.upper_mm - self.lower_mm

    def __len__(self):
        """Return the number of voxels."""
        return len(self.centers_mm)

    def part(self, start: int, stop: int) -> "Axis":
        """Return the voxels start <= index < stop, at the same places."""
        return Axis(
            self.centers_mm[start:stop],
            self.lower_mm[start:stop],
            self.upper_mm[start:stop],
            self.spacing_mm,
        )

    def shifted(self, by_mm: float) -> "Axis":
        """Return the same voxels with every place raised by `by_mm`."""
        return Axis(
            self.centers_mm + by_mm, self.lower_mm + by_mm, self.upper_mm + by_mm, self.spacing_mm
        )

    def flipped(self) -> "Axis":
        """Return the voxels in reverse order, measured backwards from the last one's centre."""
        last = self.centers_mm[-1]
        return Axis(
            last - self.centers_mm[::-1],
            last - self.upper_mm[::-1],
            last - self.lower_mm[::-1],
            self.spacing_mm,
        )

    def reach(self, low_mm: float, high_mm: float) -> tuple[int, int]:
        """Return the half-open range of voxels whose centre lies in [low_mm, high_mm]."""
        start = int(np.searchsorted(self.centers_mm, low_mm - 1e-6, side="left"))
        stop = int(np.searchsorted(self.centers_mm, high_mm + 1e-6, side="right"))
        return start, max(start, stop)

    def nearest(self, places_mm) -> np.ndarray:
        """Return the index of the voxel whose centre is nearest to each place."""
        places = np.asarray(places_mm, float)
        right = np.clip(np.searchsorted(self.centers_mm, places), 1, max(len(self) - 1, 1))
        right = np.minimum(right, len(self) - 1)
        left = np.maximum(right - 1, 0)
        is_left = places - self.centers_mm[left] <= self.centers_mm[right] - places
        return np.where(is_left, left, right)

    def holds(self, places_mm) -> np.ndarray:
        """Tell of each place whether it lies in some voxel's extent (its upper end apart)."""
        places = np.asarray(places_mm, float)
        index = np.clip(
            np.searchsorted(self.lower_mm, places + 1e-6, side="right") - 1, 0, len(self) - 1
        )
        return (places >= self.lower_mm[index] - 1e-6) & (places < self.upper_mm[index] - 1e-6)


@dataclass(frozen=True, eq=False)
class Geometry:
    """An array's place in the patient.

    Attributes
    ----------
    axes : (Axis, Axis, Axis)
        Of z, y, x.
    origin_lps_mm : float64 (3,)
        The point from which the axes are measured: x, y, z.
    direction : float64 (3, 3)
        Columns are the unit vectors of the axes x, y, z.
    """

    axes: tuple
    origin_lps_mm: np.ndarray
    direction: np.ndarray

    @property
    def shape(self) -> tuple:
        """Return (slices, rows, columns)."""
        return tuple(len(axis) for axis in self.axes)

    @property
    def spacing_mm(self) -> tuple:
        """Return the median spacing of z, y, x."""
        return tuple(axis.spacing_mm for axis in self.axes)

    def vector(self, axis: int) -> np.ndarray:
        """Return the unit vector of array axis 0 (z), 1 (y) or 2 (x), in LPS."""
        return self.direction[:, 2 - axis]

    def to_lps_mm(self, zyx_mm) -> np.ndarray:
        """Return the LPS point (x, y, z) of places measured along the axes (z, y, x)."""
        return self.origin_lps_mm + self.direction @ np.asarray(zyx_mm, float)[::-1]

    def along_axes_mm(self, lps_mm) -> np.ndarray:
        """Return the places along (z, y, x) of an LPS point: the inverse of `to_lps_mm`."""
        return (self.direction.T @ (np.asarray(lps_mm, float) - self.origin_lps_mm))[::-1]

    def index_to_lps(self, index_zyx) -> np.ndarray:
        """Return the LPS point of an index (may be fractional; ends are extrapolated)."""
        places = [to_place(axis, value) for axis, value in zip(self.axes, index_zyx, strict=True)]
        return self.to_lps_mm(places)

    def lps_to_index(self, lps_mm) -> np.ndarray:
        """Return the fractional index (z, y, x) of an LPS point: the inverse of `index_to_lps`."""
        pairs = zip(self.axes, self.along_axes_mm(lps_mm), strict=True)
        return np.array([to_index(axis, place) for axis, place in pairs])

    def part(self, box) -> "Geometry":
        """Return the geometry of a box ((start, stop) of z, y, x), at the same place."""
        axes = tuple(axis.part(*ends) for axis, ends in zip(self.axes, box, strict=True))
        return Geometry(axes, self.origin_lps_mm, self.direction)

    def canonical_flips(self) -> tuple:
        """Return which array axes have to be reversed to run closest to +z, +y, +x of LPS.

        Raises
        ------
        InputError
            When some axis is nearer to another one of the patient's: a series that is not axial.
        """
        flips = []
        for axis in range(3):
            vector = self.vector(axis)
            if np.argmax(np.abs(vector)) != 2 - axis:
                raise InputError(
                    f"array axis {AXIS_NAMES[axis]} runs along {np.round(vector, 3).tolist()}",
                    "an axial series (slices along z, rows along y, columns along x)",
                    "reformat the series to axial slices",
                )
            flips.append(bool(vector[2 - axis] < 0))
        return tuple(flips)

    def flipped(self, flips) -> "Geometry":
        """Return the geometry of the array with these axes (z, y, x) reversed."""
        axes, origin, direction = list(self.axes), self.origin_lps_mm, self.direction.copy()
        for axis, is_flipped in enumerate(flips):
            if is_flipped:
                origin = origin + self.vector(axis) * self.axes[axis].centers_mm[-1]
                direction[:, 2 - axis] *= -1
                axes[axis] = self.axes[axis].flipped()
        return Geometry(tuple(axes), origin, direction)

    def canonical(self) -> "Geometry":
        """Return the geometry with every axis towards +z, +y, +x."""
        return self.flipped(self.canonical_flips())

    def places_of(self, grid: "Geometry") -> tuple:
        """Return the places of a parallel grid's voxels along this geometry's axes z, y, x.

        Raises
        ------
        InputError
            When the two do not run in parallel.
        """
        deviation = np.abs(grid.direction - self.direction).max()
        if deviation > MAX_DIRECTION_DEVIATION:
            raise InputError(
                f"a grid's axes deviate from the series' by {deviation:.4f}",
                "a grid parallel to the series",
                "build it with quorum.geometry.cube_geometry from the same series",
            )
        shift = self.along_axes_mm(grid.origin_lps_mm)
        return tuple(axis.centers_mm + by for axis, by in zip(grid.axes, shift, strict=True))


def to_place(axis: Axis, index: float) -> float:
    """Return the place of a fractional index; beyond the ends by the axis' spacing."""
    last = len(axis) - 1
    inside = min(max(index, 0), last)
    place = np.interp(inside, np.arange(last + 1), axis.centers_mm)
    return float(place + (index - inside) * axis.spacing_mm)


def to_index(axis: Axis, place: float) -> float:
    """Return the fractional index of a place: the inverse of `to_place`."""
    inside = min(max(place, axis.centers_mm[0]), axis.centers_mm[-1])
    index = np.interp(inside, axis.centers_mm, np.arange(len(axis)))
    return float(index + (place - inside) / axis.spacing_mm)


def flip_array(array: np.ndarray, flips) -> np.ndarray:
    """Return a view of the array with these axes (z, y, x) reversed."""
    return array[tuple(slice(None, None, -1 if is_flipped else 1) for is_flipped in flips)]


def cube_geometry(series: Geometry, center_lps_mm, *, shape, spacing_mm: float) -> Geometry:
    """Return the grid of a cube centred on a point, along the series' axes flipped to canonical.

    Parameters
    ----------
    series : Geometry
    center_lps_mm : float (3,)
        x, y, z; the middle between the grid's outermost voxel centres.
    shape : (int, int, int)
        Voxels along z, y, x.
    spacing_mm : float
    """
    direction = series.canonical().direction
    corner_mm = [(length - 1) * spacing_mm / 2 for length in shape]
    origin = np.asarray(center_lps_mm, float) - direction @ np.array(corner_mm[::-1])
    axes = tuple(Axis.regular(length, spacing_mm) for length in shape)
    return Geometry(axes, origin, direction)


def require_geometry(array: np.ndarray, geometry) -> None:
    """Refuse an array whose place is not known.

    Raises
    ------
    InputError
        When `geometry` is no Geometry, or of another shape than the array.
    """
    if not isinstance(geometry, Geometry) or geometry.shape != np.shape(array):
        place = getattr(geometry, "shape", geometry)
        raise InputError(
            f"an array of shape {np.shape(array)} came with the geometry {place}",
            "a quorum.geometry.Geometry of the array's shape",
            "pass the geometry that was read with it",
        )
