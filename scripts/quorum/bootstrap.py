"""Means over nodules with intervals by resampling whole patients."""

import functools

import numpy as np

INTERVAL = (2.5, 97.5)  # percentiles: 95 %


@functools.lru_cache(maxsize=8)
def patient_weights(num_patients: int, *, resamples: int, seed: int) -> np.ndarray:
    """Return how often each patient is drawn in each resample: int64 (resamples, patients).

    Read-only, and kept, so that all rows of a table share one draw.
    """
    generator = np.random.default_rng(seed)
    shares = np.full(num_patients, 1 / num_patients)
    weights = generator.multinomial(num_patients, shares, resamples)
    weights.setflags(write=False)
    return weights


def bootstrap_mean(values, patients, *, resamples: int, seed: int) -> dict:
    """Return the mean over nodules and its 95 % interval over resampled patients.

    Parameters
    ----------
    values : float (n,)
        One a nodule; nan is left out.
    patients : (n,)
        Each nodule's patient.
    resamples : int
    seed : int

    Returns
    -------
    dict
        value, low, high (nan without a value; low and high nan with one patient), num_nodules,
        num_patients.

    Source: Efron and Tibshirani 1993, percentile interval; whole patients, because nodules of one
    patient are not independent.
    """
    values, patients = np.asarray(values, float), np.asarray(patients)
    kept = np.isfinite(values)
    values, (_, owner) = values[kept], np.unique(patients[kept], return_inverse=True)
    num_patients = int(owner.max()) + 1 if len(owner) else 0
    counts = {"num_nodules": len(values), "num_patients": num_patients}
    if not len(values):
        return {"value": np.nan, "low": np.nan, "high": np.nan, **counts}
    if num_patients < 2:
        return {"value": float(values.mean()), "low": np.nan, "high": np.nan, **counts}
    sums, sizes = np.bincount(owner, values), np.bincount(owner)
    weights = patient_weights(num_patients, resamples=resamples, seed=seed)
    low, high = np.percentile((weights @ sums) / (weights @ sizes), INTERVAL)
    return {"value": float(values.mean()), "low": float(low), "high": float(high), **counts}
