"""Which nodules lie where a series has image, and which gaps lie within reach of a nodule."""

import itertools

import numpy as np

from quorum.series_geometry import GAP_SHARE

# How far a nodule's cube reaches from its centre along z: 20 mm of (40, 80, 80) voxels of 1 mm, and
# 5 mm for the resampling kernel on thick slices. It decides the wording of a finding only: what is
# covered is carried exactly, whatever the cube's size.
REACH_MM = 25.0
# ASSUME: a volume that holds four fifths of the box around a nodule's outlines was cut for it (the
# least of the 706 real ones holds 0.84, for an outline of three points beside it: patient 0454)
MIN_HELD = 0.8


def uncovered_in_z(nodules, z_mm, covered, spacing_mm: float) -> list:
    """Return the ids of nodules whose outlines lie where there is no slice.

    A nodule is covered when one interval holds it from its lowest to its highest outline, and both
    lie on a slice (to a tenth of the spacing): a gap inside a nodule, a series that ends before it
    does, and slices half a step beside the outlines all leave it uncovered.

    Parameters
    ----------
    nodules : DataFrame
        Rows of the plan of one series.
    z_mm : float (n,)
        z of the slices.
    covered : float (m, 2)
        Intervals of z that they cover, from series_geometry.covered_z.
    spacing_mm : float
        Median step.
    """
    limit = GAP_SHARE * spacing_mm
    z_mm = np.asarray(z_mm)
    missed = []
    for nodule in nodules.itertuples(index=False):
        low, high = nodule.min_z_mm, nodule.max_z_mm
        is_inside = np.any((covered[:, 0] <= low + limit) & (high - limit <= covered[:, 1]))
        off_slice = max(np.abs(z_mm - low).min(), np.abs(z_mm - high).min())
        if not is_inside or off_slice > limit:
            missed.append(nodule.nodule_id)
    return missed


def uncovered_by_volume(nodules, entry, z_mm, spacing_mm: float) -> list:
    """Return the ids of nodules that one volume does not hold.

    It holds a nodule when MIN_HELD of the box around its outlines lies in the volume widened by one
    pixel and one slice: an outline's points lie one pixel outside the nodule, and an outline can
    enclose no voxel at all, so the box is larger than the readers' masks (in nine of the 706 real
    volumes, which hold every voxel of them).

    Parameters
    ----------
    nodules : DataFrame
        Rows of the plan of one series.
    entry : row of the table `files`
        row0, column0, num_rows, num_columns.
    z_mm : float (n,)
        z of the volume's slices.
    spacing_mm : float
        Distance of its slices.
    """
    reach = (0.5 + 1 + GAP_SHARE) * spacing_mm
    share = (
        shared_length(nodules.min_z_mm, nodules.max_z_mm, min(z_mm) - reach, max(z_mm) + reach)
        * shared_length(
            nodules.min_row, nodules.max_row, entry.row0 - 1, entry.row0 + entry.num_rows
        )
        * shared_length(
            nodules.min_column,
            nodules.max_column,
            entry.column0 - 1,
            entry.column0 + entry.num_columns,
        )
    )
    return nodules.nodule_id[share < MIN_HELD].tolist()


def shared_length(low, high, first, last):
    """Return the share of each interval [low, high] inside [first, last]; of a point 1 or 0."""
    length = (high - low).clip(lower=1e-6)
    inside = np.minimum(high, last) - np.maximum(low, first)
    return (inside.clip(lower=0) / length).where(high - low > 0, (inside >= 0).astype(float))


def gaps_in_reach(nodules, covered) -> list:
    """Return (gap in mm, nodule_id) for each uncovered interval within a nodule's reach."""
    found = []
    for (_, low), (high, _) in itertools.pairwise(covered):
        for nodule in nodules.itertuples(index=False):
            if low < nodule.center_z_mm + REACH_MM and nodule.center_z_mm - REACH_MM < high:
                found.append((float(high - low), nodule.nodule_id))
    return found
