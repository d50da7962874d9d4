"""Images and masks on another parallel grid: separable weights, coverage, masks of equal volume.

cube = Wz . image . Wy^T . Wx^T, one small dense matrix an axis, over only the voxels in reach.
"""

import numpy as np

from quorum.geometry import HOLE_FACTOR, Axis, Geometry, require_geometry

# ASSUME: a triangle as wide as the coarser of the two grids: linear interpolation where the
# series is coarser than the cube, and an anti-aliasing tent where it is finer (Wolberg, Digital
# Image Warping, 1990, section 6.4); at equal spacing and coinciding points it is the source.
IMAGE_KERNEL = (
    "separable triangle of half width max(series spacing, cube spacing) along each axis, weighted "
    "by voxel extent and normalised over voxels that hold data; uneven slices: linear between "
    "their true positions; rounded to whole HU, halves up"
)
MASK_RULE = (
    "outlines drawn on the series' raster (outline points outside), interpolated with the image's "
    "kernel; of these voxels the N highest are inside, N = native volume / voxel volume, rounded, "
    "at least 1; equal values by distance to the mask's centroid, then by index"
)
COVERAGE_RULE = (
    "a voxel is covered when its centre lies in a slice (half the spacing to both sides), in a "
    "pixel (half a pixel to both sides), and that pixel is no padding"
)
ROUNDING_HU = 1e-6  # far above the error of the sums, so halves round up on every machine


def axis_weights(axis: Axis, places_mm, spacing_mm: float) -> np.ndarray:
    """Return the weight of every voxel of `axis` in every wanted place.

    Parameters
    ----------
    axis : Axis
        The source's voxels.
    places_mm : float (m,)
        Wanted places along the axis.
    spacing_mm : float
        Spacing of the wanted grid.

    Returns
    -------
    float64 (m, len(axis)); every row adds up to 1. Beyond the ends the last voxel counts alone.
    """
    places = np.asarray(places_mm, float)
    linear = linear_weights(axis, places)
    if axis.spacing_mm >= spacing_mm * (1 - 1e-6):
        return linear
    distance = np.abs(places[:, None] - axis.centers_mm[None, :])
    tent = np.clip(1 - distance / spacing_mm, 0, None) * axis.extents_mm
    total = tent.sum(axis=1, keepdims=True)
    return np.where(total > 1e-9, tent / np.where(total > 1e-9, total, 1), linear)


def linear_weights(axis: Axis, places) -> np.ndarray:
    """Return weights of linear interpolation between true positions; in a hole, of the nearest."""
    weights = np.zeros((len(places), len(axis)))
    rows = np.arange(len(places))
    if len(axis) == 1:
        weights[:] = 1
        return weights
    left = np.clip(np.searchsorted(axis.centers_mm, places, side="right") - 1, 0, len(axis) - 2)
    step = axis.centers_mm[left + 1] - axis.centers_mm[left]
    part = np.clip((places - axis.centers_mm[left]) / step, 0, 1)
    part = np.where(step > HOLE_FACTOR * axis.spacing_mm, np.round(part), part)
    # Places that coincide but for rounding take the source itself.
    part = np.where(np.abs(part - np.round(part)) < 1e-7, np.round(part), part)
    weights[rows, left] = 1 - part
    weights[rows, left + 1] += part
    return weights


def apply_weights(array: np.ndarray, weights) -> np.ndarray:
    """Return Wz . array . Wy^T . Wx^T in float64: (z, y, x) of the wanted grid."""
    weights_z, weights_y, weights_x = weights
    array = np.asarray(array, dtype=np.float64)
    # Columns first, in one product; then rows; slices last: (z, y, x) -> (Z, Y, X).
    array = array @ weights_x.T
    array = weights_y @ array
    slices, rows, columns = array.shape
    array = weights_z @ array.reshape(slices, rows * columns)
    return array.reshape(-1, rows, columns)


def resample_image(hu, is_padding, geometry: Geometry, grid: Geometry):
    """Return the image on a parallel grid, and which of its voxels the scan really holds.

    Parameters
    ----------
    hu : float (z, y, x) [HU]
    is_padding : bool (z, y, x)
        Where the scanner measured nothing; never blended into a neighbour.
    geometry : Geometry
        Of both arrays, in canonical orientation.
    grid : Geometry

    Returns
    -------
    image : int16 (z, y, x) of the grid [HU]
        Uncovered voxels hold the nearest covered voxel's value; 0 where nothing is covered.
    coverage : uint8, the same shape
    """
    require_geometry(hu, geometry)
    require_geometry(is_padding, geometry)
    places = geometry.places_of(grid)
    pairs = list(zip(geometry.axes, places, grid.axes, strict=True))
    weights = [axis_weights(axis, place, target.spacing_mm) for axis, place, target in pairs]
    inside = [axis.holds(place) for axis, place, _ in pairs]
    coverage = inside[0][:, None, None] & inside[1][:, None] & inside[2]
    if is_padding.any():
        share = apply_weights(~is_padding, weights)
        image = apply_weights(np.where(is_padding, 0, hu), weights)
        image /= np.where(share > 1e-9, share, 1)
        nearest = np.ix_(*[axis.nearest(place) for axis, place, _ in pairs])
        coverage = coverage & ~is_padding[nearest] & (share > 1e-9)
        image = fill_uncovered(image, coverage)
    else:
        image = apply_weights(hu, weights)
        image = take_nearest(image, inside)
    limits = np.iinfo(np.int16)
    image = np.clip(np.floor(image + 0.5 + ROUNDING_HU), limits.min, limits.max)
    return image.astype(np.int16), coverage.astype(np.uint8)


def take_nearest(image, inside) -> np.ndarray:
    """Return the image with uncovered planes, rows and columns taken from the nearest covered."""
    for axis, is_inside in enumerate(inside):
        known = np.flatnonzero(is_inside)
        if len(known) == 0:
            return np.zeros_like(image)
        if len(known) < len(is_inside):
            wanted = np.arange(len(is_inside))
            right = np.clip(np.searchsorted(known, wanted), 0, len(known) - 1)
            left = np.maximum(right - 1, 0)
            is_left = wanted - known[left] <= known[right] - wanted
            image = np.take(image, known[np.where(is_left, left, right)], axis=axis)
    return image


def fill_uncovered(image, coverage) -> np.ndarray:
    """Return the image with every uncovered voxel taken from the nearest covered one."""
    if coverage.all():
        return image
    if not coverage.any():
        return np.zeros_like(image)
    from scipy import ndimage

    nearest = ndimage.distance_transform_edt(~coverage, return_distances=False, return_indices=True)
    return image[tuple(nearest)]


def voxel_volumes_mm3(geometry: Geometry) -> np.ndarray:
    """Return each slice's voxel volume: float64 (z, 1, 1), to be multiplied with a mask."""
    axis_z, axis_y, axis_x = geometry.axes
    return (axis_z.extents_mm * axis_y.spacing_mm * axis_x.spacing_mm)[:, None, None]


def resample_mask(mask, geometry: Geometry, grid: Geometry) -> np.ndarray:
    """Return a mask on a parallel grid by MASK_RULE, its volume kept.

    Parameters
    ----------
    mask : bool (z, y, x)
        With nothing inside that lies beyond the grid, or its part there is lost.
    geometry : Geometry
        Of the mask; it needs an empty border one kernel wide, since its ends are repeated.
    grid : Geometry

    Returns
    -------
    bool (z, y, x) of the grid; empty where the mask is.
    """
    require_geometry(mask, geometry)
    if not mask.any():
        return np.zeros(grid.shape, bool)
    pairs = zip(geometry.axes, geometry.places_of(grid), grid.axes, strict=True)
    share = apply_weights(
        mask, [axis_weights(axis, place, target.spacing_mm) for axis, place, target in pairs]
    )
    volume = float((mask * voxel_volumes_mm3(geometry)).sum())
    return highest_voxels(share, max(1, floor_half_up(volume / float(np.prod(grid.spacing_mm)))))


def floor_half_up(value: float) -> int:
    """Return the nearest whole number, halves up whatever the rounding of `value`."""
    return int(np.floor(value + 0.5 + 1e-9))


def highest_voxels(share: np.ndarray, count: int) -> np.ndarray:
    """Return the mask of the `count` highest voxels; ties by distance to the centroid, index."""
    share = np.round(share, 9)
    index = np.flatnonzero(share.ravel() > 0)
    values = share.ravel()[index]
    places = np.stack(np.unravel_index(index, share.shape))
    centroid = (places * values).sum(axis=1, keepdims=True) / values.sum()
    distance = np.round(((places - centroid) ** 2).sum(axis=0), 6)
    order = np.lexsort((index, distance, -values))
    mask = np.zeros(share.shape, bool)
    mask.ravel()[index[order[:count]]] = True
    return mask
