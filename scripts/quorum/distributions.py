"""A model beside the spread of its readers: calibration in a band, generalised energy distance."""

import numpy as np
from scipy.ndimage import distance_transform_edt

from quorum.consensus import MAJORITY_LEVEL, STAPLE_THRESHOLD, level_mask, share_of_readers
from quorum.scoring import common_box
from quorum.surface_metrics import dice

# ASSUME: calibration is asked within 5 mm of any reader's outline, and inside it: farther off
# everything is surely outside, and so many easy voxels would hide the border (choice).
BAND_MM = 5.0
NUM_BINS = 10
NAN = float("nan")


def band_around(readers, coverage, spacing_mm: float) -> tuple:
    """Return where calibration is asked: the window of the band, and the band inside it.

    Parameters
    ----------
    readers : uint8 (z, y, x)
        Bit k is reader k + 1.
    coverage : bool (z, y, x)
    spacing_mm : float

    Returns
    -------
    (tuple of slice, bool array)
        Covered voxels inside any outline or at most BAND_MM from one; none without a reader's
        voxel.
    """
    union = readers > 0
    window = common_box([union], margin=int(np.ceil(BAND_MM / spacing_mm)))
    if not union.any():
        return window, np.zeros(union[window].shape, bool)
    near = distance_transform_edt(~union[window], sampling=spacing_mm) <= BAND_MM + 1e-6
    return window, near & coverage[window]


def calibration_measures(probability, share) -> dict:
    """Return num_band_voxels, brier_band and bias_band of voxels: float (n,) each.

    The squared and the signed difference of probability and share of readers, on average; nan
    without a voxel.
    """
    difference = np.asarray(probability, float) - np.asarray(share, float)
    if not difference.size:
        return {"num_band_voxels": 0, "brier_band": NAN, "bias_band": NAN}
    return {
        "num_band_voxels": int(difference.size),
        "brier_band": float((difference**2).mean()),
        "bias_band": float(difference.mean()),
    }


def count_bins(probability, share) -> np.ndarray:
    """Return voxels, summed probability and summed share by bin of probability.

    Returns
    -------
    float64 (NUM_BINS, 3)
        A bin holds its lower end, the last one 1 as well.
    """
    bins = np.minimum((np.asarray(probability, float) * NUM_BINS).astype(int), NUM_BINS - 1)
    weights = (None, probability, share)
    return np.stack([np.bincount(bins, w, minlength=NUM_BINS) for w in weights], axis=1)


def mean_distances(masks, others) -> np.ndarray:
    """Return 1 - IoU of every mask with every other one: float64 (m, n); both empty is 0.

    Parameters
    ----------
    masks : bool (m, voxels)
    others : bool (n, voxels)
    """
    a, b = np.asarray(masks, np.float32), np.asarray(others, np.float32)
    both = (a @ b.T).astype(np.float64)
    union = a.sum(1, dtype=np.float64)[:, None] + b.sum(1, dtype=np.float64)[None] - both
    return 1.0 - np.divide(both, union, out=np.ones_like(both), where=union > 0)


def energy_distance(samples, readers) -> dict:
    """Return the squared generalised energy distance of a model's masks to its readers'.

    2 E[d(S, Y)] - E[d(S, S')] - E[d(Y, Y')] with d = 1 - IoU, both empty being IoU 1.

    Parameters
    ----------
    samples : bool (s, voxels)
        At least one.
    readers : bool (r, voxels)
        At least one.

    Returns
    -------
    dict
        ged_squared over all ordered pairs, a mask with itself too (V-statistic);
        ged_squared_distinct over distinct pairs (U-statistic; nan with one sample or reader);
        samples_diversity and readers_diversity, E[d] over distinct pairs; num_samples, num_readers.

    Source: Kohl 2018, arXiv 1806.05034, equation 2 and its code (V-statistic); Szekely 2013.
    """
    across = mean_distances(samples, readers).mean()
    within = [mean_distances(masks, masks) for masks in (samples, readers)]
    every = [distances.mean() for distances in within]
    counts = [len(distances) for distances in within]
    distinct = [
        float(d.sum() / (n * (n - 1))) if n > 1 else NAN
        for d, n in zip(within, counts, strict=True)
    ]
    return {
        "ged_squared": float(2 * across - sum(every)),
        "ged_squared_distinct": float(2 * across - sum(distinct)),
        "samples_diversity": distinct[0],
        "readers_diversity": distinct[1],
        "num_samples": counts[0],
        "num_readers": counts[1],
    }


def compare_staple(model, readers, *, num_readers: int, staple, coverage) -> dict:
    """Return how far STAPLE and the vote differ, and the model's Dice with either.

    Parameters
    ----------
    model : bool (z, y, x)
    readers : uint8 (z, y, x)
    num_readers : int
    staple : float (z, y, x)
        STAPLE's probability.
    coverage : bool (z, y, x)
    """
    window = common_box([model, readers > 0, np.asarray(staple) >= STAPLE_THRESHOLD])
    known = coverage[window]
    vote = level_mask(readers[window], num_readers, MAJORITY_LEVEL) & known
    label = (np.asarray(staple[window], np.float32) >= STAPLE_THRESHOLD) & known
    answer = model[window] & known
    return {
        "staple_dice_vote": dice(label, vote),
        "staple_voxels_different": int(np.count_nonzero(label != vote)),
        "model_dice_staple": dice(answer, label),
        "model_dice_vote": dice(answer, vote),
    }


def score_distribution(probability, masks, *, readers, num_readers: int, known, spacing_mm):
    """Return a nodule's calibration and energy distance, and its bins.

    Parameters
    ----------
    probability : float32 (z, y, x)
    masks : bool (s, z, y, x)
        The model's samples, or its one thresholded mask.
    readers : uint8 (z, y, x)
    num_readers : int
    known : bool (z, y, x)
        What is covered.
    spacing_mm : float

    Returns
    -------
    (dict, ndarray)
        The measures; `count_bins` of the band.
    """
    window, band = band_around(readers, known, spacing_mm)
    share = share_of_readers(readers[window], num_readers)[band]
    likely = probability[window][band]
    box = common_box([*masks, readers > 0])
    inside = known[box]
    drawn = np.stack([mask[box][inside] for mask in masks])
    marked = np.stack([(readers[box][inside] >> k & 1) > 0 for k in range(num_readers)])
    measures = calibration_measures(likely, share) | energy_distance(drawn, marked)
    return measures | {"band_mm": BAND_MM}, count_bins(likely, share)


def bin_rows(bins) -> list:
    """Return the rows of the table `calibration` of summed `count_bins`; 0 means no nodule."""
    bins = np.zeros((NUM_BINS, 3)) + bins
    return [
        {
            "bin": k,
            "bin_low": k / NUM_BINS,
            "bin_high": (k + 1) / NUM_BINS,
            "num_voxels": int(count),
            "mean_probability": probability / count if count else NAN,
            "mean_share": share / count if count else NAN,
        }
        for k, (count, probability, share) in enumerate(bins)
    ]
