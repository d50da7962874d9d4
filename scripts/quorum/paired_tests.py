"""Experiments among each other: paired tests, spread, ranks; whole patients stay together."""

import itertools

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from quorum.bootstrap import INTERVAL, bootstrap_mean, patient_weights
from quorum.comparison import NO_CLAIM, average_seeds

# What experiments are compared by, and whether more is better.
COMPARED = {
    ("dice", "others"): True,
    ("dice", "consensus"): True,
    ("hd95_mm", "consensus"): False,
    ("brier_band", "readers"): False,
    ("ged_squared", "readers"): False,
}
MIN_PATIENTS = 6  # fewer have no two-sided p below 0.05: 2 / 2**5 is 0.0625
# The smallest p of so many flips is 0.01 after the correction for all tests of the table.
FLIPS_PER_TEST = 100
CHUNK = 10_000  # flips at a time: 20 MB for 500 patients
TEST = "patient_sign_flip"
NAN = float("nan")


def sign_flips(num_patients: int, *, resamples: int, seed: int):
    """Yield signs float32 (flips, patients), all that there are where these are no more."""
    if num_patients < 31 and 2**num_patients <= resamples:
        every = np.array(list(itertools.product((1, -1), repeat=num_patients)), np.float32)
        yield every.reshape(-1, num_patients)
        return
    generator = np.random.default_rng(seed)
    for first in range(0, resamples, CHUNK):
        shape = (min(CHUNK, resamples - first), num_patients)
        yield generator.integers(0, 2, shape, dtype=np.int8).astype(np.float32) * 2 - 1


def flip_test(differences, patients, *, resamples: int, seed: int) -> tuple:
    """Return the two-sided p of each column's mean being 0, and the number of flips.

    Under the null hypothesis a patient's differences are as likely as their opposites; all nodules
    of a patient change their sign together.

    Parameters
    ----------
    differences : float (nodules, columns)
        nan counts as missing.
    patients : (nodules,)
    resamples : int
    seed : int

    Source: Good 2005, Permutation, Parametric and Bootstrap Tests; as scipy.stats.permutation_test
    with permutation_type `samples` on patients' sums.
    """
    _, owner = np.unique(np.asarray(patients), return_inverse=True)
    values = np.nan_to_num(np.asarray(differences, float))
    sums = np.zeros((owner.max() + 1, values.shape[1]))
    np.add.at(sums, owner, values)
    observed, as_large, flips = np.abs(sums.sum(0)), 0, 0
    for signs in sign_flips(len(sums), resamples=resamples, seed=seed):
        as_large += (np.abs(signs @ sums) >= observed - 1e-6 * np.maximum(1, observed)).sum(0)
        flips += len(signs)
    is_exact = flips == 2 ** min(len(sums), 62)
    return as_large / flips if is_exact else (as_large + 1) / (flips + 1), flips


def values_side_by_side(values: dict, key) -> tuple:
    """Return whole nodules' values, a column an experiment, and each nodule's patient.

    Parameters
    ----------
    values : dict
        Experiment to `quorum.comparison.nodule_values`.
    key : tuple
        Measure and reference.
    """
    columns, patients = {}, pd.Series(dtype=object)
    for experiment, found in values.items():
        if key not in found:
            continue
        nodules = average_seeds(found[key])
        nodules = nodules[~nodules["is_truncated"].astype(bool)]
        columns[experiment] = nodules["value"]
        patients = nodules["patient_id"].astype(object).combine_first(patients)
    frame = pd.DataFrame(columns).sort_index()
    return frame, patients.reindex(frame.index)


def compare_pairs(values: dict, *, data_kind: str, plan: dict, resamples: int, seed: int):
    """Return the table `pairs`: every pair of experiments by every measure of COMPARED.

    # ASSUME: all these tests are one family, corrected together: whoever reads the table looks for
    # a difference in any pair and measure (choice; Holm 1979 needs no independence).
    """
    from statsmodels.stats.multitest import multipletests

    rows, chance = [], {"resamples": resamples, "seed": seed}
    for (measure, reference), _ in COMPARED.items():
        frame, patients = values_side_by_side(values, (measure, reference))
        pairs = list(itertools.combinations(frame.columns, 2))
        if not pairs or frame.empty:
            continue
        apart = np.stack([(frame[a] - frame[b]).to_numpy(float) for a, b in pairs], axis=1)
        flips = max(plan["resamples"], FLIPS_PER_TEST * len(pairs) * len(COMPARED))
        p_values, flips = flip_test(apart, patients, resamples=flips, seed=seed)
        for (a, b), difference, p in zip(pairs, apart.T, p_values, strict=True):
            both = np.isfinite(difference)
            interval = bootstrap_mean(difference, patients, **chance)
            rows.append({
                "experiment_a": a, "experiment_b": b, "measure": measure, "reference": reference,
                **{f"num_{what}": interval[f"num_{what}"] for what in ("nodules", "patients")},
                "mean_a": frame[a][both].mean(), "mean_b": frame[b][both].mean(),
                "difference": interval["value"], "low": interval["low"], "high": interval["high"],
                "num_resamples": flips,
                "p_value": p if interval["num_patients"] >= MIN_PATIENTS else NAN,
            })  # fmt: skip
    table = pd.DataFrame(rows, columns=PAIR_COLUMNS)
    method, tested = plan["experiments_correction"], table["p_value"].notna()
    table["p_adjusted"] = NAN
    if tested.any():
        adjusted = multipletests(table.loc[tested, "p_value"], method=method)[1]
        table.loc[tested, "p_adjusted"] = adjusted
    table["num_tests"] = int(tested.sum())
    reason = NO_CLAIM.get(data_kind)
    few = np.where(tested, None, f"fewer than {MIN_PATIENTS} patients")
    table["no_claim_reason"] = reason if reason else few
    is_different = (table["p_adjusted"] < plan["experiments_alpha"]).astype("boolean")
    table["is_different"] = is_different.mask(table["no_claim_reason"].notna())
    return table.assign(test=TEST, correction=method, data_kind=data_kind)


PAIR_COLUMNS = [
    *("experiment_a", "experiment_b", "measure", "reference", "num_nodules", "num_patients"),
    *("mean_a", "mean_b", "difference", "low", "high", "num_resamples", "p_value"),
]


def spread_rows(experiment: str, found: dict) -> list:
    """Return the rows of the table `spread` of one experiment, without data_kind."""
    rows = []
    for measure, reference in COMPARED:
        frame = found.get((measure, reference))
        if frame is None:
            continue
        frame = frame[~frame["is_truncated"].astype(bool)]
        of_fold = frame.groupby(["fold", "nodule_id"], as_index=False)["value"].mean()
        means = {
            "folds": of_fold.groupby("fold")["value"].mean(),
            "seeds": frame.groupby("seed")["value"].mean(),
            "runs": frame.groupby(["fold", "seed"])["value"].mean(),
        }
        for over, values in means.items():
            rows.append({
                "experiment": experiment, "measure": measure, "reference": reference,
                "over": over, "num_values": len(values), "mean": values.mean(),
                "standard_deviation": values.std(), "smallest": values.min(),
                "largest": values.max(),
            })  # fmt: skip
    return rows


def rank_rows(values: dict, key, *, resamples: int, seed: int) -> list:
    """Return the rows of the table `ranks` of one measure, best first, without data_kind."""
    frame, patients = values_side_by_side(values, key)
    whole = frame.notna().all(axis=1)
    frame, patients = frame[whole], patients[whole]
    if frame.empty:
        return []
    names, owner = np.unique(patients.to_numpy(str), return_inverse=True)
    sums = np.stack([np.bincount(owner, frame[e], len(names)) for e in frame], axis=1)
    weights = patient_weights(len(names), resamples=resamples, seed=seed)
    means = (weights @ sums) / (weights @ np.bincount(owner))[:, None]
    sign = -1.0 if COMPARED[key] else 1.0
    drawn = rankdata(sign * np.round(means, 12), axis=1)
    own = rankdata(sign * np.round(frame.mean().to_numpy(), 12))
    firsts = drawn == drawn.min(axis=1, keepdims=True)
    low, high = np.percentile(drawn, INTERVAL, axis=0)
    shared = {
        "measure": key[0], "reference": key[1], "num_experiments": len(frame.columns),
        "num_nodules": len(frame), "num_patients": len(names), "kendall_tau": mean_tau(own, drawn),
    }  # fmt: skip
    columns = {
        "experiment": list(frame.columns), "value": frame.mean().to_numpy(), "rank": own,
        "mean_rank": drawn.mean(0), "rank_low": low, "rank_high": high,
        "share_first": (firsts / firsts.sum(axis=1, keepdims=True)).mean(0),
    }  # fmt: skip
    return pd.DataFrame(columns).assign(**shared).sort_values("rank").to_dict("records")


def mean_tau(own, drawn) -> float:
    """Return the mean Kendall tau-b of each row of `drawn` with `own`; nan for one experiment.

    Parameters
    ----------
    own : float (experiments,)
        Ranks over all nodules.
    drawn : float (resamples, experiments)
        Ranks over each resample.
    """
    first, second = np.triu_indices(len(own), 1)
    ours, theirs = np.sign(own[first] - own[second]), np.sign(drawn[:, first] - drawn[:, second])
    scale = np.sqrt((ours**2).sum() * (theirs**2).sum(1))
    agree = theirs @ ours
    tau = np.divide(agree, scale, out=np.full(len(agree), NAN), where=scale > 0)
    return float(np.nanmean(tau)) if np.isfinite(tau).any() else NAN
