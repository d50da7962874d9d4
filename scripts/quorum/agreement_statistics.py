"""Agreement of readers beyond overlap, with intervals by resampling whole patients.

Krippendorff's alpha and ICC(1,1) are sums over nodules, so that a resample of patients is a
weighted sum: no resample is computed anew. The values themselves come from the libraries
krippendorff and pingouin; tests hold both ways of computing together.
Source: Krippendorff 2011, Computing Krippendorff's alpha-reliability; Shrout and Fleiss 1979, doi
10.1037/0033-2909.86.2.420, case 1.
"""

import numpy as np

from quorum.bootstrap import INTERVAL, patient_weights


def value_counts(values: list, scale: tuple) -> np.ndarray:
    """Return how often each value of a scale was given to each nodule.

    Parameters
    ----------
    values : list of list of float
        One list a nodule; nan and values out of the scale are left out.
    scale : tuple of int

    Returns
    -------
    ndarray of int, shape (nodules, values)
    """
    counts = np.zeros((len(values), len(scale)), int)
    place_of = {value: place for place, value in enumerate(scale)}
    for nodule, given in enumerate(values):
        for value in given:
            if value in place_of:
                counts[nodule, place_of[value]] += 1
    return counts


def coincidences(counts: np.ndarray) -> np.ndarray:
    """Return each nodule's matrix of coincidences: pairs of values of two readers, over m - 1.

    Nodules with fewer than two values have none.

    Returns
    -------
    ndarray, shape (nodules, values, values)
    """
    counts = np.asarray(counts, float)
    given = counts.sum(axis=1)
    pairs = counts[:, :, None] * counts[:, None, :]
    place = np.arange(counts.shape[1])
    pairs[:, place, place] -= counts
    share = np.divide(1.0, given - 1, out=np.zeros_like(given), where=given > 1)
    return pairs * share[:, None, None]


def alpha_of(matrix: np.ndarray, level: str) -> np.ndarray:
    """Return Krippendorff's alpha of matrices of coincidences; nan without any disagreement due.

    Parameters
    ----------
    matrix : ndarray, shape (..., values, values)
    level : str
        `ordinal` or `nominal`.
    """
    marginal = matrix.sum(axis=-1)
    total = marginal.sum(axis=-1)
    if level == "nominal":
        distance = 1.0 - np.eye(matrix.shape[-1])
    else:
        # Ordinal: squared count of the values between two, half of both ends counted.
        middle = np.cumsum(marginal, axis=-1) - marginal / 2
        distance = (middle[..., :, None] - middle[..., None, :]) ** 2
    observed = (matrix * distance).sum(axis=(-2, -1))
    due = (marginal[..., :, None] * marginal[..., None, :] * distance).sum(axis=(-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return 1.0 - (total - 1) * observed / due


def mean_square_sums(values: list) -> np.ndarray:
    """Return what ICC(1,1) needs of each nodule: (1, n, n squared, n mean, n mean squared, SSW).

    Nodules with fewer than two values are all zeros: they say nothing about agreement.
    """
    sums = np.zeros((len(values), 6))
    for nodule, given in enumerate(values):
        given = np.asarray(given, float)
        given = given[np.isfinite(given)]
        if len(given) < 2:
            continue
        count, mean = len(given), given.mean()
        within = ((given - mean) ** 2).sum()
        sums[nodule] = (1, count, count**2, count * mean, count * mean**2, within)
    return sums


def icc_of(sums: np.ndarray) -> np.ndarray:
    """Return ICC(1,1) of summed `mean_square_sums`; readers are slots, so one way, random.

    Unequal numbers of readers enter by their usual average k0 (Shrout and Fleiss's k where all
    are equal). nan with fewer than two nodules.
    """
    nodules, count, squares, first, second, within = np.moveaxis(np.asarray(sums, float), -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = (second - first**2 / count) / (nodules - 1)
        within = within / (count - nodules)
        k0 = (count - squares / count) / (nodules - 1)
        return (between - within) / (between + (k0 - 1) * within)


def positive_agreement(num_marked, num_readers) -> np.ndarray:
    """Return what the agreement on existence needs of each nodule: (agreeing, all) pairs.

    Of the pairs of readers of which at least one marked it, how many both did: the proportion of
    specific agreement on `there is a nodule`. Where nobody marked anything is unknown, so kappa
    and alpha have no value here.

    Parameters
    ----------
    num_marked, num_readers : (n,)
        Readers who marked the nodule, and readers of the series.

    Returns
    -------
    ndarray, shape (n, 2)
        Twice the pairs that both marked, and that plus the pairs that one marked.
    """
    marked, readers = np.asarray(num_marked, float), np.asarray(num_readers, float)
    both = marked * (marked - 1)
    one = marked * (readers - marked)
    return np.column_stack([both, both + one])


def interval(terms: np.ndarray, patients, statistic, *, resamples: int, seed: int) -> tuple:
    """Return the 95 % interval of a statistic of summed terms, over resampled whole patients.

    Parameters
    ----------
    terms : ndarray, shape (nodules, ...)
    patients : (nodules,)
    statistic : callable
        From summed terms, shape (resamples, ...), to (resamples,).

    Returns
    -------
    (float, float)
        nan with fewer than two patients, or where most resamples have no value.
    """
    names, owner = np.unique(np.asarray(patients, str), return_inverse=True)
    if len(names) < 2:
        return np.nan, np.nan
    flat = terms.reshape(len(terms), -1)
    by_patient = np.zeros((len(names), flat.shape[1]))
    np.add.at(by_patient, owner, flat)
    weights = patient_weights(len(names), resamples=resamples, seed=seed)
    summed = (weights @ by_patient).reshape(resamples, *terms.shape[1:])
    found = statistic(summed)
    found = found[np.isfinite(found)]
    if 2 * len(found) < resamples:
        return np.nan, np.nan
    low, high = np.percentile(found, INTERVAL)
    return float(low), float(high)
