"""Radiologists' suspicion of malignancy as a target: labels, a trivial baseline, measures.

The label is a rule's reading of ratings from 1 to 5 (label_malignancy), never a diagnosis.
"""

import numpy as np
import pandas as pd

from quorum.bootstrap import INTERVAL, patient_weights
from quorum.errors import InputError
from quorum.plans import nodules_of

SUSPICIOUS, UNSUSPICIOUS = "suspicious", "unsuspicious"
NUM_BINS = 5  # of the calibration; a fold has about a hundred nodules
MEASURES = ("auroc", "average_precision", "accuracy", "brier", "calibration_error")
SUBJECTS = ("classifier", "diameter")


def read_targets(labels: pd.DataFrame, rule: str, cubes) -> np.ndarray:
    """Return each cube's target by one rule: 1 suspicious, 0 unsuspicious, -1 dropped by the rule.

    Raises
    ------
    InputError
        When the table has no labels by this rule, or none of a cube's nodule.
    """
    rows = labels[labels["rule"] == rule]
    if not rows["label"].isin([SUSPICIOUS, UNSUSPICIOUS]).any():
        raise InputError(
            f"no nodule has a label by the rule {rule!r}",
            f"labels by one of: {', '.join(sorted(set(labels['rule']))) or 'no rule'}",
            "correct train_classifier.labels, or make the table again with label_malignancy",
        )
    label_of = dict(zip(rows["nodule_id"], rows["label"], strict=True))
    ids = [str(name) for name in cubes.nodule_id]
    lost = [name for name in ids if name not in label_of]
    if lost:
        raise InputError(
            f"the nodule {lost[0]} ({len(lost)} in all) of the shards has no label",
            "labels of the same cohort",
            "make them again with label_malignancy",
        )
    number = {SUSPICIOUS: 1, UNSUSPICIOUS: 0}
    return np.array([number.get(label_of[name], -1) for name in ids], int)


def labelled_nodules(cubes, splits: pd.DataFrame, parts: list, targets) -> list:
    """Return the indices of the labelled nodules of some parts, both labels among them.

    Raises
    ------
    InputError
        When one of the two labels does not occur.
    """
    chosen = [k for k in nodules_of(cubes, splits, parts) if targets[k] >= 0]
    num_suspicious = int(sum(targets[k] for k in chosen))
    if num_suspicious in (0, len(chosen)):
        raise InputError(
            f"{' and '.join(parts)} hold {num_suspicious} suspicious nodules of {len(chosen)} "
            "with a label",
            "nodules of both labels in every fold that a run uses",
            "use fewer folds, more patients, or another rule in train_classifier.labels",
        )
    return chosen


def fit_diameter(diameter_mm, targets) -> dict:
    """Return slope and intercept of the logistic regression of a label on the diameter alone."""
    from sklearn.linear_model import LogisticRegression

    # C: as good as unpenalised.
    model = LogisticRegression(C=1e6).fit(np.asarray(diameter_mm)[:, None], targets)
    return {"slope": float(model.coef_[0, 0]), "intercept": float(model.intercept_[0])}


def diameter_probability(diameter_mm, fitted: dict) -> np.ndarray:
    """Return the probability of suspicion by the diameter alone: float (n,)."""
    logit = fitted["slope"] * np.asarray(diameter_mm, float) + fitted["intercept"]
    return 1 / (1 + np.exp(-logit))


def choose_threshold(probability, targets) -> float:
    """Return the threshold with the highest accuracy; of several, the one nearest to 0.5."""
    values = np.unique(probability)
    between = [0.0, *((values[1:] + values[:-1]) / 2), 1.0]
    accuracy = [np.mean((probability >= one) == targets) for one in between]
    order = np.lexsort((np.abs(np.array(between) - 0.5), -np.array(accuracy)))
    return float(between[order[0]])


def bins_of(probability) -> np.ndarray:
    """Return each probability's bin of equal width: int (n,)."""
    return np.minimum((np.asarray(probability) * NUM_BINS).astype(int), NUM_BINS - 1)


def measure(targets, probability, threshold, weights) -> list:
    """Return the MEASURES of some nodules, each with its weight; nan where one label lacks."""
    from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

    kept = weights > 0
    targets, probability, weights = targets[kept], probability[kept], weights[kept]
    called = probability >= np.asarray(threshold)[kept]
    if targets.min(initial=1) == targets.max(initial=0):
        return [np.nan] * len(MEASURES)
    gaps = np.bincount(bins_of(probability), weights * (probability - targets), NUM_BINS)
    return [
        roc_auc_score(targets, probability, sample_weight=weights),
        average_precision_score(targets, probability, sample_weight=weights),
        np.average(called == targets, weights=weights),
        brier_score_loss(targets, probability, sample_weight=weights),
        np.abs(gaps).sum() / weights.sum(),
    ]


def columns_of(scores: pd.DataFrame, subject: str) -> tuple:
    """Return a subject's probability and threshold in the table classifier_scores: float (n,)."""
    start = "" if subject == "classifier" else f"{subject}_"
    return tuple(scores[f"{start}{name}"].to_numpy(float) for name in ("probability", "threshold"))


def measure_subjects(scores: pd.DataFrame, weights) -> np.ndarray:
    """Return every subject's measures, and their difference: float (3, measures).

    The folds of a seed are pooled, and seeds averaged.
    """
    targets = (scores["label"] == SUSPICIOUS).to_numpy(int)
    by_seed = [np.flatnonzero(scores["seed"] == seed) for seed in sorted(set(scores["seed"]))]
    found = []
    for subject in SUBJECTS:
        pair = columns_of(scores, subject)
        values = [
            measure(targets[rows], *(one[rows] for one in pair), weights[rows]) for rows in by_seed
        ]
        found.append(np.mean(values, axis=0))
    return np.array([*found, found[0] - found[1]])


def summarize(scores: pd.DataFrame, *, resamples: int, seed: int) -> list:
    """Return the rows of classifier_summary: of each run, and of all with 95 % intervals.

    Parameters
    ----------
    scores : DataFrame
        The table classifier_scores, of one label.
    resamples, seed : int
        Of whole patients; see quorum.bootstrap.
    """
    _, owner = np.unique(scores["patient_id"], return_inverse=True)
    drawn = patient_weights(int(owner.max()) + 1, resamples=resamples, seed=seed)
    resampled = np.array([measure_subjects(scores, row[owner]) for row in drawn])
    low, high = np.nanpercentile(resampled, INTERVAL, axis=0)
    rows = rows_of(scores, {"fold": None, "seed": None}, (low, high))
    for (fold, own), part in scores.groupby(["fold", "seed"], sort=True):
        nothing = np.full_like(low, np.nan)
        rows += rows_of(part, {"fold": fold, "seed": own}, (nothing, nothing))
    return rows


def rows_of(scores: pd.DataFrame, run: dict, interval: tuple) -> list:
    """Return a row a subject and measure."""
    values = measure_subjects(scores, np.ones(len(scores)))
    nodules = scores.drop_duplicates("nodule_id")
    shared = {
        "label_rule": scores["label_rule"].iloc[0], **run,
        "data_kind": scores["data_kind"].iloc[0], "num_nodules": len(nodules),
        "num_suspicious": int((nodules["label"] == SUSPICIOUS).sum()),
        "num_patients": nodules["patient_id"].nunique(),
    }  # fmt: skip
    return [
        {**shared, "subject": subject, "measure": name, "value": values[i, j],
         "low": interval[0][i, j], "high": interval[1][i, j]}
        for i, subject in enumerate((*SUBJECTS, "difference"))
        for j, name in enumerate(MEASURES)
    ]  # fmt: skip


def calibrate(scores: pd.DataFrame) -> list:
    """Return the rows of classifier_calibration: a subject's bins over all runs."""
    targets, rows = (scores["label"] == SUSPICIOUS).to_numpy(int), []
    for subject in SUBJECTS:
        probability, _ = columns_of(scores, subject)
        for number in range(NUM_BINS):
            inside = bins_of(probability) == number
            rows.append({
                "label_rule": scores["label_rule"].iloc[0],
                "data_kind": scores["data_kind"].iloc[0],
                "subject": subject, "bin": number,
                "bin_low": number / NUM_BINS, "bin_high": (number + 1) / NUM_BINS,
                "num_scores": int(inside.sum()),
                "mean_probability": probability[inside].mean() if inside.any() else None,
                "share_suspicious": targets[inside].mean() if inside.any() else None,
            })  # fmt: skip
    return rows
