"""Masks of a run on the grid of their source series, and what is measured on them there."""

import numpy as np
from scipy.spatial.distance import pdist

from quorum.series_masks import grid_of, join_boxes, scan_around, to_series


def place_masks(handed, nodule_id: str, slices):
    """Return a nodule's masks in their common box of the series, its start, and the Scan."""
    cube = grid_of(handed.cubes, handed.row_of[nodule_id])
    scan = scan_around(slices[slices["series_uid"] == handed.series_of(nodule_id)], cube)
    series = scan.raster.geometry
    found = [to_series(mask, cube, series) for mask in handed.masks(nodule_id)]
    return *join_boxes(found), scan


def mask_rows(handed, nodule_id: str, placed) -> list:
    """Return one row of `handed_masks` for each subject of a nodule.

    Parameters
    ----------
    handed : quorum.handed_masks.Handed
    nodule_id : str
    placed : tuple
        Of place_masks.
    """
    masks, start, scan = placed
    axes = scan.raster.geometry.axes
    extents = axes[0].extents_mm[start[0] : start[0] + masks.shape[1]]
    size = extents[:, None, None] * axes[1].spacing_mm * axes[2].spacing_mm
    spacing = (axes[1].spacing_mm, axes[2].spacing_mm)
    k = handed.row_of[nodule_id]
    return [
        {
            "nodule_id": nodule_id,
            "patient_id": str(handed.cubes.patient_id[k]),
            "series_uid": handed.series_of(nodule_id),
            "subject": subject.label,
            "num_voxels": int(mask.sum()),
            "volume_mm3": volume_mm3(mask, size),
            "volume_cube_mm3": float(on_cube.sum() * handed.cubes.spacing_mm**3),
            "long_axis_mm": long_axis_mm(mask, spacing),
            "data_kind": handed.cubes.data_kind,
        }
        for subject, mask, on_cube in zip(
            handed.subjects(), masks, handed.masks(nodule_id), strict=True
        )
    ]


def volume_mm3(mask, voxel_mm3) -> float:
    """Return a mask's volume; voxel_mm3 (slices, 1, 1) is that of a voxel of each slice."""
    return float((mask * voxel_mm3).sum())


def long_axis_mm(mask, spacing_mm) -> float:
    """Return the longest distance of two voxel centres in one slice, mm; 0 for single voxels."""
    longest = 0.0
    for plane in mask:
        places = np.argwhere(plane & ~inner(plane)) * np.asarray(spacing_mm)
        if len(places) > 1:
            longest = max(longest, float(pdist(places).max()))
    return longest


def inner(plane) -> np.ndarray:
    """Return the pixels of a plane whose four neighbours are set: bool."""
    padded = np.pad(plane, 1)
    sides = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return plane & sides
