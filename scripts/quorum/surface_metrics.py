"""Overlap and surface distances of two masks, in mm, by MONAI's definitions.

A surface voxel is a mask voxel with at least one of its 6 neighbours outside the mask (mask xor
its erosion). HD95 is the larger of the two directed 95th percentiles (linear interpolation), its
pooled form one percentile of both directions together; ASSD is the mean over both directions
pooled; surface Dice the share of both surfaces' voxels within a tolerance of the other surface.
Distances run between voxel centres.

The border of an array counts as outside, so a mask that touches it has surface there. Where the
array ends because the image does (a cut-out volume), give `region`: what lies beyond it is
unknown, so neither surface nor overlap is counted there.
"""

import numpy as np
from scipy.ndimage import binary_erosion
from scipy.spatial import cKDTree

PERCENTILE = 95.0


def dice(mask_a: np.ndarray, mask_b: np.ndarray) -> float:
    """Return 2|A and B| / (|A| + |B|): 0 when one mask is empty, nan when both are."""
    total = np.count_nonzero(mask_a) + np.count_nonzero(mask_b)
    return 2.0 * np.count_nonzero(mask_a & mask_b) / total if total else float("nan")


def iou(mask_a: np.ndarray, mask_b: np.ndarray) -> float:
    """Return |A and B| / |A or B|: 0 when one mask is empty, nan when both are."""
    union = np.count_nonzero(mask_a | mask_b)
    return np.count_nonzero(mask_a & mask_b) / union if union else float("nan")


def surface(mask: np.ndarray, region: np.ndarray | None = None) -> np.ndarray:
    """Return the surface voxels of a mask.

    Parameters
    ----------
    mask : ndarray of bool, shape (z, y, x)
    region : ndarray of bool, shape (z, y, x), optional
        Voxels that are known; without it, all are, and beyond the array is outside.

    Returns
    -------
    ndarray of bool, shape (z, y, x)
    """
    if region is None:
        return mask & ~binary_erosion(mask)
    return mask & region & ~binary_erosion(mask | ~region, border_value=1)


def surface_distances(mask_a, mask_b, spacing_mm, *, region=None, slice_z_mm=None) -> tuple:
    """Return each surface voxel's distance to the other mask's nearest surface voxel, in mm.

    Parameters
    ----------
    mask_a, mask_b : ndarray of bool, shape (z, y, x)
    spacing_mm : (float, float, float)
        Voxel spacing in z, y, x.
    region : ndarray of bool, shape (z, y, x), optional
        Voxels that are known.
    slice_z_mm : ndarray, shape (z,), optional
        The slices' own z where they are unevenly spaced; spacing_mm[0] is then not used.

    Returns
    -------
    (ndarray, ndarray)
        From A to B, from B to A. Both are empty when either mask has no surface.

    Raises
    ------
    ValueError
        When the shapes differ, or there are not three positive spacings.
    """
    if mask_a.shape != mask_b.shape or mask_a.ndim != 3:
        raise ValueError(
            f"masks of shapes {mask_a.shape} and {mask_b.shape}; expected one (z, y, x)"
        )
    if len(spacing_mm) != 3 or min(spacing_mm) <= 0:
        raise ValueError(f"spacing {spacing_mm} mm; expected three positive numbers (z, y, x)")
    tight = tight_box(mask_a | mask_b)
    known = None if region is None else region[tight]
    points = []
    for mask in (mask_a, mask_b):
        index = np.argwhere(surface(mask[tight], known))
        point_mm = index * np.asarray(spacing_mm, float)
        if slice_z_mm is not None:
            point_mm[:, 0] = np.asarray(slice_z_mm, float)[tight[0]][index[:, 0]]
        points.append(point_mm)
    if not len(points[0]) or not len(points[1]):
        return np.empty(0), np.empty(0)
    a_to_b = cKDTree(points[1]).query(points[0])[0]
    b_to_a = cKDTree(points[0]).query(points[1])[0]
    return a_to_b, b_to_a


def tight_box(mask: np.ndarray) -> tuple:
    """Return slices of the box around a mask with one voxel more on each side within the array."""
    box = []
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        index = np.flatnonzero(mask.any(axis=others))
        first, last = (index[0], index[-1]) if len(index) else (0, 0)
        box.append(slice(max(int(first) - 1, 0), int(last) + 2))
    return tuple(box)


def hd95_mm(a_to_b: np.ndarray, b_to_a: np.ndarray) -> float:
    """Return the larger of the two directed 95th percentiles; nan without distances."""
    if not len(a_to_b) or not len(b_to_a):
        return float("nan")
    return float(max(np.percentile(a_to_b, PERCENTILE), np.percentile(b_to_a, PERCENTILE)))


def assd_mm(a_to_b: np.ndarray, b_to_a: np.ndarray) -> float:
    """Return the mean over both directions pooled; nan without distances."""
    pooled = np.concatenate([a_to_b, b_to_a])
    return float(pooled.mean()) if len(pooled) else float("nan")


def hd95_pooled_mm(a_to_b: np.ndarray, b_to_a: np.ndarray) -> float:
    """Return the 95th percentile of both directions pooled; nan without distances.

    Never above `hd95_mm`; some papers mean this one.
    """
    pooled = np.concatenate([a_to_b, b_to_a])
    return float(np.percentile(pooled, PERCENTILE)) if len(pooled) else float("nan")


def surface_dice(a_to_b: np.ndarray, b_to_a: np.ndarray, tolerance_mm: float) -> float:
    """Return the share of both surfaces' voxels at most `tolerance_mm` from the other surface.

    nan without distances. Source: Nikolov 2021, 10.2196/26151, on voxels instead of surface
    elements, as MONAI's compute_surface_dice does by default.
    """
    pooled = np.concatenate([a_to_b, b_to_a])
    # A distance of 1 mm is within 1 mm, whatever the rounding of its square root.
    return float((pooled <= tolerance_mm + 1e-6).mean()) if len(pooled) else float("nan")


def compare_masks(mask_a, mask_b, spacing_mm, *, region=None, slice_z_mm=None) -> dict:
    """Return every measure of two masks.

    Parameters
    ----------
    As `surface_distances`.

    Returns
    -------
    dict
        dice, iou, hd95_mm, assd_mm and is_empty_mask (either mask is empty). One empty: dice and
        iou 0, distances nan. Both empty: all nan, to be left out of means and counted.
    """
    mask_a, mask_b = np.asarray(mask_a, bool), np.asarray(mask_b, bool)
    if region is not None:
        region = np.asarray(region, bool)
        mask_a, mask_b = mask_a & region, mask_b & region
    distances = surface_distances(mask_a, mask_b, spacing_mm, region=region, slice_z_mm=slice_z_mm)
    return {
        "dice": dice(mask_a, mask_b),
        "iou": iou(mask_a, mask_b),
        "hd95_mm": hd95_mm(*distances),
        "assd_mm": assd_mm(*distances),
        "is_empty_mask": not (mask_a.any() and mask_b.any()),
    }
