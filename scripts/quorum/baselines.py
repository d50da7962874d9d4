"""Baselines without learning: a few numbers fitted on the training nodules.

    threshold           HU threshold, the component at the click, inside a radius
    ball                a ball of the training nodules' median diameter at the click
    ball_oracle         a ball of the nodule's own diameter at its own centre: it is told the answer
    coverage_ellipsoid  an ellipsoid at the covered box's centre, its axes a linear function of the
                        box's sides; no HU, no click
    coverage_threshold  a HU threshold inside such an ellipsoid

The last two measure what cut-out volumes give away by where they end.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

# ASSUME: candidates for thresholds, HU: from lung to soft tissue in steps of 50.
THRESHOLDS_HU = np.arange(-800, 1, 50)
# ASSUME: candidates for the radius that a component may reach, percentiles of training radii.
RADIUS_PERCENTILES = (50, 75, 90, 97)
# ASSUME: candidates for an ellipsoid's axes as shares of the extent that the box's sides predict.
FACTORS = np.linspace(0.5, 1.5, 21)
SEARCH_MM = 3.0
SMALLEST_AXIS_VOX = 1.0


@dataclass
class Case:
    """One nodule as a baseline sees it; voxels are 1 mm unless `spacing_mm` says otherwise.

    Attributes
    ----------
    image : int16 (z, y, x) [HU]
    coverage : bool (z, y, x)
    box : int (2, 3)
        First covered voxel and one past the last.
    click, center : float (3,)
        Voxels; the center is for the oracle alone.
    diameter_mm : float
        For the oracle alone.
    spacing_mm : float
    reference : bool (z, y, x) or None
        For fitting.
    """

    image: np.ndarray
    coverage: np.ndarray
    box: np.ndarray
    click: np.ndarray
    center: np.ndarray
    diameter_mm: float
    spacing_mm: float = 1.0
    reference: np.ndarray | None = None


def fit_baseline(method: str, cases: list) -> dict:
    """Return the numbers that fit the training cases best, by mean Dice.

    Parameters
    ----------
    method : str
    cases : list of Case
        With `reference`.

    Returns
    -------
    dict
        Numbers by name, `training_dice` among them.
    """
    numbers = FITS[method](cases)
    dice = [dice_of(apply_baseline(method, numbers, case), case.reference) for case in cases]
    return {**numbers, "training_dice": float(np.nanmean(dice))}


def apply_baseline(method: str, numbers: dict, case: Case) -> np.ndarray:
    """Return the baseline's mask of one nodule: bool (z, y, x), False where not covered."""
    return MASKS[method](case, numbers) & case.coverage


def dice_of(mask, reference) -> float:
    """Return the Dice of two masks; nan when both are empty."""
    total = int(mask.sum()) + int(reference.sum())
    return 2 * int((mask & reference).sum()) / total if total else float("nan")


def ball_mask(shape, center, radius_vox) -> np.ndarray:
    """Return a ball: bool (z, y, x)."""
    return distance_squared(shape, center, np.ones(3)) <= radius_vox**2


def distance_squared(shape, center, half_axes) -> np.ndarray:
    """Return the squared distance from `center` in units of `half_axes`: float (z, y, x)."""
    axes = np.ogrid[tuple(slice(side) for side in shape)]
    parts = [((a - c) / h) ** 2 for a, c, h in zip(axes, center, half_axes, strict=True)]
    return parts[0] + parts[1] + parts[2]


def click_component(case: Case, threshold_hu: float, radius_mm: float) -> np.ndarray:
    """Return the component of voxels above a threshold at the click, inside a ball around it.

    Where the click itself is below the threshold, the component nearest to it within 3 mm; none
    there: an empty mask.
    """
    mask = np.zeros(case.image.shape, bool)
    reach = int(np.ceil(radius_mm / case.spacing_mm)) + 1
    seat = np.floor(case.click + 0.5).astype(int)
    window = tuple(
        slice(max(0, c - reach), min(side, c + reach + 1))
        for c, side in zip(seat, mask.shape, strict=True)
    )
    shift = np.array([w.start for w in window])
    above = (case.image[window] >= threshold_hu) & case.coverage[window]
    squared = distance_squared(above.shape, case.click - shift, np.full(3, 1 / case.spacing_mm))
    labels, _ = ndimage.label(above & (squared <= radius_mm**2))
    found = np.where(labels > 0, squared, np.inf)
    at = tuple(np.clip(seat - shift, 0, np.array(above.shape) - 1))
    if not labels[at]:
        at = np.unravel_index(np.argmin(found), found.shape)
        if found[at] > SEARCH_MM**2:
            return mask
    mask[window] = labels == labels[at]
    return mask


def box_radius(case: Case, coefficients) -> np.ndarray:
    """Return the distance from the covered box's centre in units of the ellipsoid's half axes.

    Parameters
    ----------
    case : Case
    coefficients : float (4, 3)
        Of `fit_axes`.

    Returns
    -------
    float (z, y, x)
    """
    lower, upper = np.asarray(case.box, float)
    axes = np.maximum(np.append(1.0, upper - lower) @ coefficients, SMALLEST_AXIS_VOX)
    return np.sqrt(distance_squared(case.image.shape, (lower + upper - 1) / 2, axes / 2))


def fit_axes(cases) -> np.ndarray:
    """Return the least squares of nodules' extents on the sides of their covered boxes.

    A cut-out's slices end where the nodule does, and its rows and columns some 20 mm farther
    out: one factor for all axes would not see what its sides give away.

    Returns
    -------
    float (4, 3)
        Row 0: constants; rows 1 to 3: by the box's side in z, y, x. Columns: extent in z, y, x.
        All voxels.
    """
    sides, extents = [], []
    for case in cases:
        at = np.argwhere(case.reference)
        if len(at):
            lower, upper = np.asarray(case.box, float)
            sides.append(np.append(1.0, upper - lower))
            extents.append(at.max(0) - at.min(0) + 1.0)
    return np.linalg.lstsq(np.array(sides), np.array(extents), rcond=None)[0]


def fit_threshold(cases) -> dict:
    """Return the HU threshold and radius with the best mean Dice."""
    radii = [case.diameter_mm / 2 for case in cases]
    best = (-1.0, 0.0, 0.0)
    for radius in sorted(set(np.percentile(radii, RADIUS_PERCENTILES))):
        for threshold in THRESHOLDS_HU:
            masks = (click_component(case, threshold, radius) for case in cases)
            dice = [dice_of(m, c.reference) for m, c in zip(masks, cases, strict=True)]
            best = max(best, (float(np.nanmean(dice)), float(threshold), float(radius)))
    return {"threshold_hu": best[1], "radius_mm": best[2]}


def fit_ball(cases) -> dict:
    """Return the training nodules' median diameter."""
    return {"diameter_mm": float(np.median([case.diameter_mm for case in cases]))}


def ellipsoid_dice(case: Case, coefficients, thresholds) -> np.ndarray:
    """Return the Dice of every factor and threshold: float (factors, thresholds).

    One histogram over (distance, HU) gives them all.
    """
    radius, hu = box_radius(case, coefficients)[case.coverage], case.image[case.coverage]
    inside = case.reference[case.coverage]
    rows = np.searchsorted(FACTORS, radius, side="left")
    columns = np.searchsorted(thresholds, hu, side="right")
    shape = (len(FACTORS) + 1, len(thresholds) + 1)
    flat = rows * shape[1] + columns
    counts = [
        np.bincount(flat[chosen], minlength=shape[0] * shape[1]).reshape(shape)
        for chosen in (slice(None), inside)
    ]
    # In an ellipsoid: rows up to the factor's; above a threshold: columns from the threshold's on.
    sums = [c.cumsum(0)[:-1, ::-1].cumsum(1)[:, ::-1][:, 1:] for c in counts]
    total = sums[0] + case.reference.sum()
    return np.where(total > 0, 2 * sums[1] / np.maximum(total, 1), np.nan)


def fit_ellipsoid(cases, thresholds=(-32768,)) -> dict:
    """Return the axes, and factor and threshold (where several are offered) of the best Dice."""
    coefficients, offered = fit_axes(cases), np.array(thresholds)
    dice = np.nanmean([ellipsoid_dice(case, coefficients, offered) for case in cases], axis=0)
    row, column = np.unravel_index(np.argmax(dice), dice.shape)
    return {
        "axes": coefficients.tolist(),
        "factor": float(FACTORS[row]),
        "threshold_hu": float(thresholds[column]),
    }


def ellipsoid_mask(case: Case, numbers: dict) -> np.ndarray:
    """Return the scaled ellipsoid, above the threshold: bool (z, y, x)."""
    radius = box_radius(case, np.array(numbers["axes"]))
    return (radius <= numbers["factor"]) & (case.image >= numbers["threshold_hu"])


FITS = {
    "threshold": fit_threshold,
    "ball": fit_ball,
    "ball_oracle": lambda cases: {},
    "coverage_ellipsoid": fit_ellipsoid,
    "coverage_threshold": lambda cases: fit_ellipsoid(cases, THRESHOLDS_HU),
}
MASKS = {
    "threshold": lambda case, n: click_component(case, n["threshold_hu"], n["radius_mm"]),
    "ball": lambda case, n: ball_mask(
        case.image.shape, case.click, n["diameter_mm"] / 2 / case.spacing_mm
    ),
    "ball_oracle": lambda case, n: ball_mask(
        case.image.shape, case.center, case.diameter_mm / 2 / case.spacing_mm
    ),
    "coverage_ellipsoid": ellipsoid_mask,
    "coverage_threshold": ellipsoid_mask,
}
