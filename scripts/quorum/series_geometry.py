"""Geometry of a stack of CT slices, from ImagePositionPatient and ImageOrientationPatient alone.

SliceThickness is never used: it differs from the spacing in 334 of LIDC-IDRI's 1018 series.
Positions along a stack are distances in mm along `slice_direction`, the slices' normal turned
towards +z (DICOM PS3.3 C.7.6.2.1.1).
"""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

# ASSUME: two slices less than 0.05 mm apart are one position (LIDC-IDRI's smallest spacing is
# 0.45 mm, and positions are written with two decimals or more)
DOUBLED_MM = 0.05
# ASSUME: a step up to 10 % longer than the median leads to the next slice; a longer one leaves the
# space between uncovered (of LIDC-IDRI's 1018 series only those of 0123, 0267, 0514 and 0672 have
# any step that deviates by more than 0.5 %)
GAP_SHARE = 0.1
# ASSUME: a series in which more than a quarter of the steps are uneven has no common spacing (in
# LIDC-IDRI at most three steps of a series are: 0123)
MAX_UNEVEN_SHARE = 0.25
# ASSUME: slices tilted by more than 30 degrees against the patient's axis are not axial; gantries
# tilt no further
MAX_OFF_AXIS_DEG = 30.0
ALIKE_MM = 1e-3
ALIKE_COSINE = 1e-3


@dataclass(frozen=True)
class Stack:
    """Slices in order, one a position.

    Attributes
    ----------
    headers : list of SliceHeader
        From the lowest z up.
    direction : float (3,)
        LPS unit vector of growing slice index.
    distances_mm : float (n,)
        Positions along `direction`.
    spacing_mm : float
        Median step.
    lower_mm, upper_mm : float (n,)
        What each slice covers to both sides.
    num_same, num_different : int
        Slices left out at positions that had several: with the same pixels, with others.
    num_missing, num_uneven : int
        Slices missing inside the stack; steps that are neither the spacing nor a multiple of it.
    tilt_deg : float
        Angle between the stack and the slices' normal.
    drift_mm : float
        Largest shift of a slice in plane, against the straight line through the stack.
    """

    headers: list
    direction: np.ndarray
    distances_mm: np.ndarray
    spacing_mm: float
    lower_mm: np.ndarray
    upper_mm: np.ndarray
    num_same: int
    num_different: int
    num_missing: int
    num_uneven: int
    tilt_deg: float
    drift_mm: float


def slice_direction(orientation) -> np.ndarray:
    """Return the LPS unit vector (3,) normal to the slices, turned towards +z."""
    normal = np.cross(orientation[:3], orientation[3:])
    normal = normal / np.linalg.norm(normal)
    return normal if normal[2] >= 0 else -normal


def off_axis_deg(orientation) -> float:
    """Return the angle between the slices' normal and the patient's axis, in degrees."""
    return math.degrees(math.acos(min(1.0, float(slice_direction(orientation)[2]))))


def is_orthonormal(orientation) -> bool:
    """Tell whether row and column directions are unit vectors at right angles."""
    rows, columns = np.array(orientation[:3]), np.array(orientation[3:])
    products = (rows @ rows - 1, columns @ columns - 1, rows @ columns)
    return bool(np.all(np.abs(products) < 2 * ALIKE_COSINE))


def choose_slices(headers: list, distances, same_pixels):
    """Return the slices to keep, one a position, and how many were left out.

    Of slices at one position with the same pixels one is kept. Of different ones the slice whose
    InstanceNumber lies between those of the neighbouring positions is kept; when all or none do,
    the lowest InstanceNumber, as pylidc does.

    Parameters
    ----------
    headers : list of SliceHeader
        In any order.
    distances : float (n,)
        Their positions in mm.
    same_pixels : callable
        (header, header) -> bool.

    Returns
    -------
    kept : list of int
        Places in `headers`, by rising position.
    num_same, num_different : int

    Raises
    ------
    ValueError
        When different slices share a position and InstanceNumber does not tell them apart.
    """
    groups = group_positions(distances)
    kept, num_same, num_different = [], 0, 0
    single = [headers[group[0]].instance_number if len(group) == 1 else None for group in groups]
    for place, group in enumerate(groups):
        group = sorted(group, key=lambda i: (headers[i].instance_number or 0, headers[i].path))
        unique = drop_same(group, headers, same_pixels)
        num_same += len(group) - len(unique)
        if len(unique) > 1:
            num_different += len(unique) - 1
            unique = [choose_by_number(unique, headers, neighbours(single, place))]
        kept += unique
    return kept, num_same, num_different


def drop_same(group: list, headers: list, same_pixels) -> list:
    """Return the places of a group without those that show the same pixels as an earlier one."""
    unique = []
    for i in group:
        if not any(same_pixels(headers[i], headers[j]) for j in unique):
            unique.append(i)
    return unique


def group_positions(distances) -> list:
    """Return lists of places whose positions are less than DOUBLED_MM apart, by position."""
    groups = []
    for i in np.argsort(distances, kind="stable"):
        if groups and distances[i] - distances[groups[-1][0]] < DOUBLED_MM:
            groups[-1].append(int(i))
        else:
            groups.append([int(i)])
    return groups


def neighbours(numbers: list, place: int):
    """Return the nearest known numbers before and after a place, or None where there is none."""
    before = next((n for n in reversed(numbers[:place]) if n is not None), None)
    after = next((n for n in numbers[place + 1 :] if n is not None), None)
    return before, after


def choose_by_number(group: list, headers: list, around) -> int:
    """Return which of several slices at one position to keep, by their InstanceNumber."""
    numbers = [headers[i].instance_number for i in group]
    if None in numbers or len(set(numbers)) < len(numbers):
        raise ValueError("their InstanceNumber does not tell them apart")
    if None not in around:
        low, high = sorted(around)
        fitting = [i for i, n in zip(group, numbers, strict=True) if low < n < high]
        if len(fitting) == 1:
            return fitting[0]
    return group[0]


def make_stack(headers: list, same_pixels, max_deviation: float) -> Stack:
    """Return slices in order with everything measured on them.

    Parameters
    ----------
    headers : list of SliceHeader
        Of one orientation, with finite positions.
    same_pixels : callable
        (header, header) -> bool, asked only of slices at one position.
    max_deviation : float
        Share of the median up to which a step is even.

    Raises
    ------
    ValueError
        When fewer than two positions are left, or as choose_slices.
    """
    direction = slice_direction(headers[0].orientation)
    positions = np.array([header.position_lps_mm for header in headers])
    kept, *left_out = choose_slices(headers, positions @ direction, same_pixels)
    if len(kept) < 2:
        raise ValueError("one slice has no neighbour to tell the spacing")
    positions = positions[kept]
    distances = positions @ direction
    steps = np.diff(distances)
    spacing = float(np.median(steps))
    counts = count_steps(steps / spacing, max_deviation)
    extents = half_extents(steps, spacing, max(GAP_SHARE, max_deviation))
    return Stack(
        headers=[headers[i] for i in kept],
        direction=direction,
        distances_mm=distances,
        spacing_mm=spacing,
        **dict(zip(("lower_mm", "upper_mm"), extents, strict=True)),
        **dict(zip(("num_same", "num_different"), left_out, strict=True)),
        **dict(zip(("num_missing", "num_uneven"), counts, strict=True)),
        **dict(zip(("tilt_deg", "drift_mm"), tilt_and_drift(positions, direction), strict=True)),
    )


def count_steps(ratios, max_deviation: float):
    """Return how many slices are missing, and how many steps are uneven.

    Parameters
    ----------
    ratios : float (n,)
        Steps as multiples of the median one.
    max_deviation : float
        A step is even up to this deviation from 1.
    """
    multiples = np.rint(ratios)
    is_even = np.abs(ratios - 1) <= max_deviation
    is_multiple = (multiples >= 2) & (np.abs(ratios - multiples) <= GAP_SHARE)
    num_missing = int((multiples[is_multiple] - 1).sum())
    return num_missing, int((~is_even & ~is_multiple).sum())


def half_extents(steps, spacing_mm: float, gap_share: float):
    """Return what each slice covers below and above itself, in mm.

    Half the way to the neighbour; beside a gap and at the ends half the median spacing, so that a
    gap is covered by nobody.

    Parameters
    ----------
    steps : float (n - 1,)
        Distances of neighbouring slices.
    spacing_mm : float
        Median step.
    gap_share : float
        A step longer than the median by more than this share is a gap.

    Returns
    -------
    lower_mm, upper_mm : float (n,)
    """
    half = spacing_mm / 2
    reach = np.where(steps > spacing_mm * (1 + gap_share), half, steps / 2)
    return np.concatenate([[half], reach]), np.concatenate([reach, [half]])


def tilt_and_drift(positions, direction):
    """Return the stack's angle to the slices' normal, and the largest in-plane shift beside it.

    Parameters
    ----------
    positions : float (n, 3)
        In order, mm.
    direction : float (3,)
        Normal of the slices.
    """
    along = positions @ direction
    along = along - along.mean()
    across = positions - np.outer(positions @ direction, direction)
    across = across - across.mean(axis=0)
    slope = along @ across / (along @ along)
    drift = np.linalg.norm(across - np.outer(along, slope), axis=1).max()
    return math.degrees(math.atan(np.linalg.norm(slope))), float(drift)


def covered_z(z_mm, lower_mm, upper_mm, spacing_mm: float) -> np.ndarray:
    """Return the intervals of z that slices cover, (m, 2) in mm, rising and apart.

    Intervals closer than GAP_SHARE of the spacing are one.
    """
    order = np.argsort(z_mm)
    intervals = []
    for low, high in zip((z_mm - lower_mm)[order], (z_mm + upper_mm)[order], strict=True):
        if intervals and low - intervals[-1][1] <= GAP_SHARE * spacing_mm:
            intervals[-1][1] = max(high, intervals[-1][1])
        else:
            intervals.append([low, high])
    return np.array(intervals)


def most_common(values):
    """Return the most frequent value; of equally frequent ones the first met."""
    return Counter(values).most_common(1)[0][0]
