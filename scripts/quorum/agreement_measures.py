"""Each measure of agreement of a cohort's readers, for all nodules and for strata of them."""

from typing import NamedTuple

import krippendorff
import numpy as np
import pandas as pd
import pingouin

from quorum.agreement_statistics import (
    alpha_of,
    coincidences,
    icc_of,
    interval,
    mean_square_sums,
    positive_agreement,
    value_counts,
)
from quorum.bootstrap import bootstrap_mean
from quorum.ratings import SCALES
from quorum.tables import column_names

NOMINAL = ("internal_structure", "calcification")
FLAGGED = ("spiculation", "lobulation")
SIZES = ("diameter_mm", "volume_mm3")
OVERLAPS = ("dice", "iou", "hd95_mm", "assd_mm")
NUM_READERS = 4
FLAG_NOTE = "scale said to be inverted in about 100 early cases; see compare_ratings"
EXISTS_NOTE = "of pairs of readers of whom at least one marked it; no true negatives, so no kappa"
# Edges are upper bounds; the last stratum is open.
STRATA = {
    "diameter_mm": ((6.0, "up to 6 mm"), (10.0, "6 to 10 mm"), (20.0, "10 to 20 mm"),
                    (np.inf, "over 20 mm")),
    "subtlety_median": ((2.5, "subtle (1, 2)"), (3.5, "moderate (3)"), (4.5, "fairly obvious (4)"),
                        (np.inf, "obvious (5)")),
    "texture_median": ((2.5, "ground glass (1, 2)"), (4.5, "part solid (3, 4)"),
                       (np.inf, "solid (5)")),
    "slice_spacing_mm": ((1.25, "up to 1.25 mm"), (2.0, "1.25 to 2 mm"), (np.inf, "over 2 mm")),
}  # fmt: skip


class Cohort(NamedTuple):
    """A cohort's tables: nodules, agreement, the readers' annotations in order, series."""

    nodules: pd.DataFrame
    agreement: pd.DataFrame
    readers: pd.DataFrame
    series: pd.DataFrame


def summarize(cohort: Cohort, all_nodules, *, resamples: int, seed: int) -> pd.DataFrame:
    """Return the table reader_agreement.

    Parameters
    ----------
    cohort : Cohort
    all_nodules : DataFrame
        Every nodule that at least one reader marked: existence can't be judged on a cohort that
        was chosen by the number of readers.
    resamples, seed : int
        Of the intervals.
    """
    draws = {"resamples": resamples, "seed": seed}
    frame = nodule_frame(cohort)
    rows = []
    for stratum, level, places in strata_of(frame):
        part = frame.iloc[places]
        for name, found in measures(part, draws).items():
            rows.append({"measure": name, "stratum": stratum, "level": level} | found)
    for name, found in existence(all_nodules, draws).items():
        rows.append({"measure": name, "stratum": "all", "level": "all"} | found)
    frame = pd.DataFrame(rows, columns=column_names("reader_agreement"))
    return frame.round(dict.fromkeys(("value", "low", "high"), 6))


def nodule_frame(cohort: Cohort) -> pd.DataFrame:
    """Return one row a nodule: its mean overlaps, strata, and lists of the readers' values."""
    pairs = cohort.agreement[cohort.agreement["kind"] == "pair"]
    means = pairs.groupby("nodule_id")[list(OVERLAPS)].mean().astype(float)
    spacing = cohort.series.set_index("series_uid")["slice_spacing_mm"].astype(float)
    frame = cohort.nodules.set_index("nodule_id", drop=False).join(means)
    frame["slice_spacing_mm"] = frame["series_uid"].map(spacing)
    counts = [len(names) for names in frame["annotation_ids"]]
    ends = np.cumsum(counts)[:-1] if counts else []
    for name in SIZES:
        values = cohort.readers[name].to_numpy(float)
        frame[f"{name}_values"] = pd.Series(
            [part.tolist() for part in np.split(values, ends)][: len(frame)],
            index=frame.index, dtype=object,
        )  # fmt: skip
    return frame


def strata_of(frame: pd.DataFrame):
    """Yield (stratum, level, places) for all nodules and each stratum that holds any."""
    yield "all", "all", np.arange(len(frame))
    for column, edges in STRATA.items():
        values = frame[column].to_numpy(dtype=float, na_value=np.nan)
        low = -np.inf
        for high, level in edges:
            places = np.flatnonzero((values > low) & (values <= high))
            if len(places):
                yield column, level, places
            low = high


def measures(part: pd.DataFrame, draws: dict) -> dict:
    """Return each measure of one stratum, as rows without their stratum."""
    patients = part["patient_id"].to_numpy(str)
    found = {}
    for name in OVERLAPS:
        found[name] = bootstrap_mean(part[name].to_numpy(float), patients, **draws)
    found["diversity"] = bootstrap_mean(1 - part["iou"].to_numpy(float), patients, **draws)
    for rating, scale in SCALES.items():
        counts = value_counts(part[f"{rating}_values"].tolist(), scale)
        level = "nominal" if rating in NOMINAL else "ordinal"
        note = FLAG_NOTE if rating in FLAGGED else None
        found[f"alpha_{rating}"] = rating_alpha(counts, scale, level, (patients, draws)) | {
            "note": note
        }
    for name in SIZES:
        values = part[f"{name}_values"].tolist()
        found[f"icc_{name}"] = size_icc(values, patients, draws)
    return found


def rating_alpha(counts: np.ndarray, scale: tuple, level: str, draw: tuple) -> dict:
    """Return Krippendorff's alpha of one rating with its interval."""
    patients, draws = draw
    rated = counts.sum(axis=1) > 1
    size = {"num_nodules": int(rated.sum()), "num_patients": len(set(patients[rated]))}
    if (counts[rated].sum(axis=0) > 0).sum() < 2:
        return {"value": np.nan, "low": np.nan, "high": np.nan, **size}
    value = krippendorff.alpha(
        value_counts=counts[rated], value_domain=list(scale), level_of_measurement=level
    )
    terms = coincidences(counts[rated])
    low, high = interval(terms, patients[rated], lambda matrix: alpha_of(matrix, level), **draws)
    return {"value": float(value), "low": low, "high": high, **size}


def size_icc(values: list, patients: np.ndarray, draws: dict) -> dict:
    """Return ICC(1,1) of a size with its interval; pingouin's where all have as many readers."""
    sums = mean_square_sums(values)
    rated = sums[:, 0] > 0
    size = {"num_nodules": int(rated.sum()), "num_patients": len(set(patients[rated]))}
    if rated.sum() < 2:
        return {"value": np.nan, "low": np.nan, "high": np.nan, **size}
    counts = {len(given) for given, kept in zip(values, rated, strict=True) if kept}
    value = float(icc_of(sums[rated].sum(axis=0)))
    if len(counts) == 1 and rated.sum() >= 5:
        value = pingouin_icc([given for given, kept in zip(values, rated, strict=True) if kept])
    low, high = interval(sums[rated], patients[rated], icc_of, **draws)
    return {"value": value, "low": low, "high": high, **size}


def pingouin_icc(values: list) -> float:
    """Return pingouin's ICC1 of nodules that all have the same number of values."""
    long = pd.DataFrame(
        [
            (nodule, reader, value)
            for nodule, given in enumerate(values)
            for reader, value in enumerate(given)
        ],
        columns=["nodule", "reader", "value"],
    )
    table = pingouin.intraclass_corr(long, targets="nodule", raters="reader", ratings="value")
    return float(table["ICC"].iloc[0])


def existence(nodules: pd.DataFrame, draws: dict) -> dict:
    """Return the agreement on whether there is a nodule of at least 3 mm, or anything at all."""
    patients = nodules["patient_id"].to_numpy(str)
    statuses = [list(status) for status in nodules["reader_status"]]
    has_sessions = bool(len(statuses)) and all(statuses)
    readers = [len(status) if has_sessions else NUM_READERS for status in statuses]
    marked = nodules["num_annotations"].clip(upper=NUM_READERS).astype(int).tolist()
    note = EXISTS_NOTE if has_sessions else f"{EXISTS_NOTE}; annotations taken for readers"
    found = {"existence_outlined": specific(marked, readers, (patients, draws)) | {"note": note}}
    if has_sessions:
        seen = [sum(value in (1, 3) for value in status) for status in statuses]
        note = f"any mark counts, a point too; {EXISTS_NOTE}"
        found["existence_any_mark"] = specific(seen, readers, (patients, draws)) | {"note": note}
    for count in range(1, NUM_READERS + 1):
        shares = [float(number == count) for number in marked]
        found[f"share_marked_by_{count}"] = bootstrap_mean(shares, patients, **draws)
    return found


def specific(marked: list, readers: list, draw: tuple) -> dict:
    """Return the proportion of specific agreement on existence with its interval."""
    patients, draws = draw
    terms = positive_agreement(marked, readers)
    both, either = terms.sum(axis=0) if len(terms) else (0.0, 0.0)
    low, high = interval(terms, patients, lambda sums: sums[:, 0] / sums[:, 1], **draws)
    value = float(both / either) if either else np.nan
    size = {"num_nodules": len(marked), "num_patients": len(set(patients))}
    return {"value": value, "low": low, "high": high, **size}
