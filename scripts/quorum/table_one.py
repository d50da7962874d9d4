"""Table 1: what is in each part of the split, and the model's Dice by each of it."""

from itertools import pairwise

import numpy as np
import pandas as pd

from quorum.bootstrap import bootstrap_mean
from quorum.errors import InputError
from quorum.patient_facts import UNKNOWN

# Characteristic: what one row of it is, and whether it is a number.
CHARACTERISTICS = {
    "diameter_mm": ("nodule", True),
    "sex": ("patient", False),
    "age_years": ("patient", True),
    "manufacturer": ("series", False),
    "kernel": ("series", False),
    "contrast": ("series", False),
    "slice_spacing_mm": ("series", True),
    "pixel_spacing_mm": ("series", True),
}
KEYS = {"nodule": "nodule_id", "patient": "patient_id", "series": "series_uid"}
# ASSUME: edges of groups by number; a value on an edge belongs to the group above it (diameters as
# in config/analysis_plan.yaml; 1.5 and 2.5 mm are usual limits of thin slices).
EDGES = {
    "diameter_mm": (6, 8, 15, 30),
    "age_years": (50, 60, 70),
    "slice_spacing_mm": (1.5, 2.5),
    "pixel_spacing_mm": (0.6, 0.75),
}
OVERALL = "all"


def join_facts(nodules, splits, findings, facts) -> pd.DataFrame:
    """Return one row a nodule with its part and every characteristic.

    Raises
    ------
    InputError
        When a nodule's patient is in no part of the split.
    """
    frame = nodules[["nodule_id", "patient_id", "series_uid", "diameter_mm"]].merge(
        splits[["patient_id", "part"]], on="patient_id", how="left"
    )
    if frame["part"].isna().any():
        lost = frame.loc[frame["part"].isna(), "patient_id"].iloc[0]
        raise InputError(
            f"the patient {lost} of the nodules is in no part of the split",
            "nodules and split of one cohort",
            "make the split again with split_patients",
        )
    found = findings.drop_duplicates("source_series_uid")
    columns = ["manufacturer", "kernel", "slice_spacing_mm", "pixel_spacing_mm"]
    series = found[["source_series_uid", *columns]].merge(facts, how="left", on="source_series_uid")
    series = series.rename(columns={"source_series_uid": "series_uid"})
    frame = frame.merge(series, on="series_uid", how="left")
    for name, (_, is_number) in CHARACTERISTICS.items():
        if not is_number:
            frame[name] = frame[name].astype(object).where(frame[name].notna(), UNKNOWN)
    return frame


def parts_of(frame) -> dict:
    """Return the rows of all patients, of those for training and validation, and of each part."""
    parts = {OVERALL: frame, "folds": frame[frame["part"] != "test"]}
    parts |= {part: frame[frame["part"] == part] for part in sorted(frame["part"].unique())}
    return parts


def count_rows(rows) -> dict:
    """Return how many patients, series and nodules some rows hold."""
    return {f"num_{unit}s".replace("seriess", "series"): int(rows[key].nunique())
            for unit, key in KEYS.items()}  # fmt: skip


def describe_part(part: str, rows, data_kind: str) -> list:
    """Return table 1's rows of one part."""
    base = {"part": part, "data_kind": data_kind}
    table = [{**base, "characteristic": "size", "level": OVERALL, **count_rows(rows)}]
    for name, (unit, is_number) in CHARACTERISTICS.items():
        own = rows.drop_duplicates(KEYS[unit])
        if is_number:
            values = own[name].dropna().astype(float)
            numbers = number_row(values) if len(values) else {}
            known = rows[rows[name].notna()]
            numbers["share"] = len(values) / max(len(own), 1)
            table.append({**base, "characteristic": name, "level": "known", "unit": unit,
                          **count_rows(known), **numbers})  # fmt: skip
            continue
        for level, count in own[name].value_counts().sort_index().items():
            counts = count_rows(rows[rows[name] == level])
            table.append({**base, "characteristic": name, "level": str(level), "unit": unit,
                          **counts, "share": count / len(own)})  # fmt: skip
    return table


def number_row(values) -> dict:
    """Return median, quartiles and range of some numbers."""
    names = ("minimum", "lower_quartile", "median", "upper_quartile", "maximum")
    return dict(zip(names, np.quantile(values, [0, 0.25, 0.5, 0.75, 1]), strict=True))


def group_levels(frame) -> dict:
    """Return each characteristic's level of every nodule; numbers as groups."""
    groups = {OVERALL: pd.Series(OVERALL, frame.index), "part": frame["part"]}
    for name, (_, is_number) in CHARACTERISTICS.items():
        groups[name] = cut(frame[name], EDGES[name]) if is_number else frame[name]
    return groups


def cut(values, edges) -> pd.Series:
    """Return the group of each number, `not known` where there is none."""
    names = [f"< {edges[0]}", *[f"{a} to < {b}" for a, b in pairwise(edges)]]
    names.append(f">= {edges[-1]}")
    cuts = pd.cut(values.astype(float), [-np.inf, *edges, np.inf], right=False, labels=names)
    return cuts.astype(object).where(cuts.notna(), UNKNOWN)


def model_dice(scores) -> pd.DataFrame:
    """Return the model's Dice with the consensus, one row an experiment and nodule.

    Nodules that reach beyond the cube are left out, as from every other mean.
    """
    own = scores[(scores["subject"] == "model") & (scores["reference"] == "consensus")]
    own = own[own["offset_mm"] == own["offset_mm"].min()]
    own = own[~own["is_truncated"].astype(bool)]
    return own.groupby(["experiment", "nodule_id"], as_index=False)["dice"].mean()


def performance_rows(dice, frame, data_kind: str, *, resamples: int, seed: int) -> list:
    """Return the rows of performance.csv."""
    rows = []
    for experiment, own in dice.groupby("experiment", sort=False):
        joined = own.merge(frame, on="nodule_id", how="inner")
        for name, levels in group_levels(joined).items():
            for level in sorted(levels.unique()):
                chosen = joined[levels == level]
                result = bootstrap_mean(
                    chosen["dice"], chosen["patient_id"], resamples=resamples, seed=seed
                )
                rows.append({"experiment": experiment, "characteristic": name, "level": level,
                             "data_kind": data_kind, **result})  # fmt: skip
    return rows


def one_kind(findings, scores) -> str:
    """Return the one data_kind of series and scores.

    Raises
    ------
    InputError
        When there are no scores, or several kinds.
    """
    if scores.empty:
        raise InputError(
            "the scores hold no row", "a scored run", "train and score an experiment first"
        )
    kinds = set(findings["data_kind"].dropna()) | set(scores["data_kind"])
    if len(kinds) > 1:
        raise InputError(
            f"series and scores are of {' and '.join(sorted(kinds))} data",
            "one kind",
            "keep the results of one source in one folder",
        )
    return kinds.pop()
