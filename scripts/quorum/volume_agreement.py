"""Agreement of volumes: bias and limits (Bland and Altman 1986, 10.1016/S0140-6736(86)90837-8)."""

import numpy as np
import pandas as pd

from quorum.bootstrap import bootstrap_mean
from quorum.comparison import MIN_READERS_LEFT_OUT, average_seeds, central, run_means

LIMIT = 1.96  # standard normal: 95 % of differences
# ASSUME: a slope needs three volumes (choice).
MIN_POINTS = 3


def volume_pairs(rows: pd.DataFrame) -> dict:
    """Return the rows whose volumes are compared, by (subject, reference).

    Parameters
    ----------
    rows : DataFrame
        One experiment's scores at its smallest click offset.
    """
    is_model = rows["subject"] == "model"
    of_others = rows["reference"].str.fullmatch(r"others\d+")
    num_readers = rows[of_others].groupby("nodule_id")["reference"].nunique()
    of_others &= rows["nodule_id"].map(num_readers) >= MIN_READERS_LEFT_OUT
    return {
        ("model", "consensus"): rows[is_model & (rows["reference"] == "consensus")],
        ("model", "others"): rows[is_model & of_others],
        ("reader", "others"): rows[~is_model & of_others],
    }


def bland_altman_rows(experiment: str, scores: pd.DataFrame, *, resamples: int, seed: int) -> list:
    """Return the rows of the table `bland_altman` of one experiment, without data_kind."""
    rows = central(scores)
    rows = rows[~rows["is_truncated"].astype(bool)]
    found = []
    for (subject, reference), part in volume_pairs(rows).items():
        volume = part["volume_mm3"].astype(float)
        difference = part["volume_error_mm3"].astype(float)
        mean = volume - difference / 2
        for scale, values in (
            ("mm3", difference),
            ("percent", 100 * difference / mean.where(mean > 0)),
        ):
            agreement = agree(part, values, mean, resamples=resamples, seed=seed)
            if agreement:
                shared = {"experiment": experiment, "subject": subject, "reference": reference}
                found.append({**shared, "scale": scale, **agreement})
    return found


def agree(part: pd.DataFrame, differences, means, *, resamples: int, seed: int) -> dict:
    """Return bias with its interval, limits of agreement and slope; empty without a value."""
    nodules = average_seeds(run_means(part.assign(apart=differences), "apart"))
    if nodules["value"].notna().sum() == 0:
        return {}
    found = bootstrap_mean(nodules["value"], nodules["patient_id"], resamples=resamples, seed=seed)
    whole = differences.notna()
    single, size = differences[whole].to_numpy(float), means[whole].to_numpy(float)
    deviation = float(np.std(single, ddof=1)) if len(single) > 1 else float("nan")
    has_slope = len(single) >= MIN_POINTS and np.ptp(size) > 0
    slope = float(np.polyfit(size, single, 1)[0]) if has_slope else float("nan")
    return {
        "num_nodules": found["num_nodules"], "num_patients": found["num_patients"],
        "bias": found["value"], "bias_low": found["low"], "bias_high": found["high"],
        "standard_deviation": deviation,
        "limit_low": found["value"] - LIMIT * deviation,
        "limit_high": found["value"] + LIMIT * deviation,
        "slope": slope,
    }  # fmt: skip
