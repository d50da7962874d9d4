"""Evidence on the inverted scales of lobulation and spiculation in LIDC-IDRI's early cases."""

import numpy as np
import pandas as pd

from quorum.agreement_statistics import interval
from quorum.tables import column_names

# ASSUME: TCIA's first 399 cases are the patients up to LIDC-IDRI-0399 (their page counts cases
# without naming them)
NUM_EARLY = 399
PRIOR = 100 / 399  # TCIA's page: approximately 100 of them
RATINGS = ("lobulation", "spiculation")
SUSPECT_ABOVE = 0.95
PSEUDO_COUNT = 0.5


def is_early(patient_ids) -> np.ndarray:
    """Tell which patients are among the first 399; others' names are never early."""
    numbers = pd.Series(list(patient_ids), dtype=str).str.extract(r"LIDC-IDRI-(\d{4})$")[0]
    return (pd.to_numeric(numbers).fillna(NUM_EARLY + 1) <= NUM_EARLY).to_numpy(bool)


def inverted_cases(nodules: pd.DataFrame) -> pd.DataFrame:
    """Return the table inverted_cases: one row a series with rated nodules.

    A nodule's readers are not independent, so each nodule counts once, by its medians.
    """
    names = [f"{rating}_median" for rating in (*RATINGS, "malignancy")]
    rated = nodules.dropna(subset=names)
    places = [np.clip(np.rint(rated[name].to_numpy(float)), 1, 5).astype(int) - 1 for name in names]
    early = is_early(rated["patient_id"])
    frequencies = joint_frequencies(*[place[~early] for place in places])
    lobulation, spiculation, malignancy = places
    upright = frequencies[malignancy, lobulation, spiculation]
    mirrored = frequencies[malignancy, 4 - lobulation, 4 - spiculation]
    frame = rated[["series_uid", "patient_id"]].assign(
        is_early=early,
        ratio=np.log(mirrored) - np.log(upright),
        mean_lobulation=lobulation + 1,
        mean_spiculation=spiculation + 1,
    )
    cases = frame.groupby(["patient_id", "series_uid"], as_index=False).agg(
        is_early=("is_early", "first"),
        num_nodules=("ratio", "size"),
        mean_lobulation=("mean_lobulation", "mean"),
        mean_spiculation=("mean_spiculation", "mean"),
        log_likelihood_ratio=("ratio", "sum"),
    )
    odds = cases["log_likelihood_ratio"] + np.log(PRIOR / (1 - PRIOR))
    cases["probability"] = 1 / (1 + np.exp(-odds.astype(float)))
    cases["is_suspect"] = cases["probability"] > SUSPECT_ABOVE
    numbers = ["mean_lobulation", "mean_spiculation", "log_likelihood_ratio", "probability"]
    return cases[column_names("inverted_cases")].round(dict.fromkeys(numbers, 6))


def joint_frequencies(lobulation, spiculation, malignancy) -> np.ndarray:
    """Return the frequency of each pair of ratings given malignancy: (5, 5, 5), sums of 1."""
    counts = np.full((5, 5, 5), PSEUDO_COUNT)
    np.add.at(counts, (malignancy, lobulation, spiculation), 1)
    return counts / counts.sum(axis=(1, 2), keepdims=True)


def inverted_summary(annotations: pd.DataFrame, cases: pd.DataFrame, *, resamples: int, seed: int):
    """Return the table inverted_summary."""
    draws = {"resamples": resamples, "seed": seed}
    early = is_early(annotations["patient_id"])
    rows = []
    for rating in RATINGS:
        value, low, high = mixture_share(annotations, rating, early, draws)
        note = "share of early cases on an inverted scale; negative: fewer fives than later"
        rows.append(("inverted_share_of_early", rating, value, low, high, note))
        for label, part in (("early", early), ("later", ~early)):
            rows.append(correlation_row(annotations[part], rating, label))
    for label, part in (("early", cases["is_early"]), ("later", ~cases["is_early"])):
        found, size = int(cases.loc[part, "is_suspect"].sum()), int(part.sum())
        note = f"{found} of {size} series with a probability above {SUSPECT_ABOVE}"
        value = found / size if size else np.nan
        rows.append((f"suspect_share_{label}", None, value, np.nan, np.nan, note))
    frame = pd.DataFrame(rows, columns=column_names("inverted_summary"))
    return frame.round(dict.fromkeys(("value", "low", "high"), 6))


def correlation_row(part: pd.DataFrame, rating: str, label: str) -> tuple:
    """Return Spearman's correlation with malignancy: positive where the scale is upright."""
    values = part[[rating, "malignancy"]].astype(float)
    value = values.corr(method="spearman").iloc[0, 1] if len(values) > 2 else np.nan
    note = "Spearman with malignancy; an inverted scale would turn its sign"
    return (f"correlation_{label}", rating, float(value), np.nan, np.nan, note)


def mixture_share(annotations, rating: str, early: np.ndarray, draws: dict) -> tuple:
    """Return the share of inverted cases among the early ones, with its interval.

    In a mixture of a share f of inverted cases the share of fives is (1 - f) p5 + f p1, where p1
    and p5 are the later cases' shares of ones and of fives.
    """
    values = annotations[rating].to_numpy(dtype=float, na_value=np.nan)
    rated = np.isfinite(values)
    terms = np.column_stack(
        [
            early & rated,
            early & (values == 5),
            ~early & rated,
            ~early & (values == 1),
            ~early & (values == 5),
        ]
    ).astype(float)
    value = float(share_of_sums(terms.sum(axis=0)))
    return (value, *interval(terms, annotations["patient_id"], share_of_sums, **draws))


def share_of_sums(sums: np.ndarray) -> np.ndarray:
    """Return f from summed counts: early, early fives, later, later ones, later fives."""
    num_early, early_fives, num_later, later_ones, later_fives = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        ones, fives = later_ones / num_later, later_fives / num_later
        return (early_fives / num_early - fives) / (ones - fives)
