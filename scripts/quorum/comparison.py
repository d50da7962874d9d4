"""A nodule's values of every measure in one run, from the tables of scores.

Everywhere: the mean over references (readers left out, single readers or pairs) within a run, then
over seeds, then over nodules; folds hold different nodules and are pooled.
"""

import pandas as pd

from quorum.errors import InputError
from quorum.scoring import DISTANCES, SURFACE_SHARES
from quorum.tables import read_table

GROUPS = {"others": r"others\d+", "readers": r"reader\d+"}
# ASSUME: a reader is left out where three others remain; two have no majority, only a union.
MIN_READERS_LEFT_OUT = 4
KEY = ["fold", "seed", "nodule_id", "patient_id", "is_truncated"]
MEASURES = ("dice", "iou", *DISTANCES, *SURFACE_SHARES, "volume_error_mm3", "volume_error_share")
TO_READERS = ("brier_band", "bias_band", "ged_squared", "ged_squared_distinct", "readers_diversity")
TO_STAPLE = ("staple_dice_vote", "model_dice_staple", "model_dice_vote")
NO_CLAIM = {
    "phantom": "phantom images: simulated, they say nothing about patients' scans",
    "cut_out": "volumes cut out around the readers' marks give the answer away in part",
}


def read_runs(paths, table: str) -> pd.DataFrame:
    """Return one table of all runs.

    Raises
    ------
    InputError
        When there is none, a run comes twice, or phantoms and real images are mixed.
    """
    tables = [read_table(path, table) for path in paths]
    tables = [part for part in tables if len(part)]
    runs = [tuple(part[["experiment", "fold", "seed"]].iloc[0]) for part in tables]
    if len(set(runs)) < len(runs) or not runs:
        raise InputError(
            f"a run's table of {table} was given twice, or none at all",
            "each run once",
            f"correct --{table.replace('_', '-')}",
        )
    frame = pd.concat(tables, ignore_index=True)
    kinds = sorted(frame["data_kind"].unique())
    if len(kinds) > 1:
        raise InputError(
            f"the tables of {table} mix {' and '.join(kinds)} data",
            "one kind",
            "keep results of sources apart",
        )
    return frame


def refuse_other_cohort(frame: pd.DataFrame, wanted: pd.DataFrame | None = None):
    """Raise an InputError when experiments were scored on different nodules or other runs.

    Parameters
    ----------
    frame : DataFrame
        Of `read_runs`.
    wanted : DataFrame, optional
        Another table that has to speak of the same experiments, runs and nodules.
    """
    cohorts = frame.groupby("experiment", sort=False)["nodule_id"].agg(frozenset)
    if cohorts.nunique() > 1:
        raise InputError(
            f"the experiments {', '.join(cohorts.index)} were scored on different nodules",
            "the same nodules for every row of a table",
            "run the same folds for every experiment",
        )
    key = ["experiment", "fold", "seed", "nodule_id"]
    if wanted is not None and set(map(tuple, frame[key].drop_duplicates().values)) != set(
        map(tuple, wanted[key].drop_duplicates().values)
    ):
        raise InputError(
            "scores and nodule scores are of different runs or nodules",
            "both tables of every run, made together by score_predictions",
            "run score_predictions again for all of them",
        )


def central(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the smallest click offset, and all of the readers'."""
    is_model = rows["subject"] == "model"
    return rows[~is_model | (rows["offset_mm"] == rows.loc[is_model, "offset_mm"].min())]


def run_means(rows: pd.DataFrame, measure: str, key=KEY) -> pd.DataFrame:
    """Return each run's and nodule's mean of a measure over its rows: the key's columns, value."""
    found = rows.assign(value=rows[measure].astype(float))
    return found.groupby(list(key), as_index=False, sort=False)["value"].mean()


def average_seeds(frame: pd.DataFrame) -> pd.DataFrame:
    """Return each nodule's mean over its runs: index nodule_id; patient_id, is_truncated, value."""
    by = ["nodule_id", "patient_id", "is_truncated"]
    means = frame.groupby(by, as_index=False, sort=False)["value"].mean()
    return means.set_index("nodule_id")


def model_values(rows: pd.DataFrame) -> dict:
    """Return the model's values by run and nodule, for (measure, reference).

    Parameters
    ----------
    rows : DataFrame
        One experiment's scores at its smallest click offset.
    """
    found = {}
    model = rows[rows["subject"] == "model"]
    for reference in ("consensus", "latent"):
        part = model[model["reference"] == reference]
        if part.empty:
            continue
        for measure in MEASURES:
            found[measure, reference] = run_means(part, measure)
        more = part.assign(
            absolute_volume_error_mm3=part["volume_error_mm3"].abs(),
            hit_rate=part["is_hit"],
            share_empty=part["is_empty"],
        )
        for measure in ("absolute_volume_error_mm3", "hit_rate", "share_empty"):
            found[measure, reference] = run_means(more, measure)
    return found


def reader_values(rows: pd.DataFrame, min_readers: int = MIN_READERS_LEFT_OUT) -> dict:
    """Return Dice of model and readers, and their difference, on the same nodules.

    A nodule of three readers leaves no majority when one is left out: only nodules of four or more
    count there. A reader left out whose others, and the model or that reader, are empty has no Dice
    on one side; it is then left out on both.
    """
    found = {}
    for group, pattern in GROUPS.items():
        part = rows[rows["reference"].str.fullmatch(pattern)]
        if group == "others":
            # One reference a reader left out: as many as the nodule has readers.
            num_readers = part.groupby("nodule_id")["reference"].transform("nunique")
            part = part[num_readers >= min_readers]
        model, readers = part[part["subject"] == "model"], part[part["subject"] != "model"]
        if readers.empty:
            continue
        if group == "others":
            key = ["fold", "seed", "nodule_id", "reference"]
            pairs = model[[*key, "dice"]].merge(readers[[*key, "dice"]], on=key)
            whole = pairs[pairs[["dice_x", "dice_y"]].notna().all(axis=1)][key]
            model, readers = model.merge(whole, on=key), readers.merge(whole, on=key)
        both = run_means(model, "dice").merge(run_means(readers, "dice"), on=KEY)
        both = both.dropna(subset=["value_x", "value_y"])
        both["difference"] = both["value_x"] - both["value_y"]
        for measure, column in (
            ("dice", "value_x"),
            ("reader_dice", "value_y"),
            ("dice_difference", "difference"),
        ):
            found[measure, group] = both[[*KEY, column]].rename(columns={column: "value"})
    return found


def distribution_values(nodules: pd.DataFrame) -> dict:
    """Return the same of one experiment's nodule scores; STAPLE where it and the vote differ."""
    found = {(name, "readers"): run_means(nodules, name) for name in TO_READERS}
    apart = nodules[nodules["staple_voxels_different"] > 0]
    if len(apart):
        found |= {(name, "staple"): run_means(apart, name) for name in TO_STAPLE}
    return found


def nodule_values(scores: pd.DataFrame, nodules: pd.DataFrame) -> dict:
    """Return all values of one experiment by run and nodule, for (measure, reference)."""
    rows = central(scores)
    return {**model_values(rows), **reader_values(rows), **distribution_values(nodules)}


def penalized_nodules(scores: pd.DataFrame) -> dict:
    """Return the nodules whose distance is the penalty in some run, by reference."""
    rows = central(scores)
    rows = rows[(rows["subject"] == "model") & rows["is_penalized"]]
    return {name: set(part["nodule_id"]) for name, part in rows.groupby("reference")}


def is_headline(measure: str, subset: str, data_kind: str) -> bool:
    """Tell whether a number may stand in a headline.

    Never of phantoms, never of truncated nodules, never a surface distance of a cut-out volume.
    """
    if data_kind == "phantom" or subset != "whole":
        return False
    is_surface = measure in ("hd95_mm", "hd95_pooled_mm", "assd_mm", *SURFACE_SHARES)
    return not (is_surface and data_kind == "cut_out")
