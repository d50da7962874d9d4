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
# What a reader left out is measured by beside the model: what has one value a nodule and no sign
# that would cancel out between nodules, but for the volume's share, whose mean is the bias.
BESIDE_READER = (
    *("dice", "iou", "hd95_mm", "assd_mm", "center_distance_mm", *SURFACE_SHARES),
    *("volume_error_share", "absolute_volume_error_mm3"),
)
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


def reader_values(rows: pd.DataFrame, measures=("dice",)) -> dict:
    """Return measures of model and readers, and their differences, on the same nodules.

    A nodule of three readers leaves no majority when one is left out: only nodules of four or more
    count there. A reader left out whose others, and the model or that reader, are empty has no
    value on one side; it is then left out on both. In pairs of readers only the Dice is taken:
    a volume's error has no sign there, and a distance of readers no reference.

    Parameters
    ----------
    rows : DataFrame
        One experiment's scores at its smallest click offset.
    measures : sequence of str
        Some of BESIDE_READER.
    """
    found = {}
    rows = rows.assign(absolute_volume_error_mm3=rows["volume_error_mm3"].abs())
    for group, pattern in GROUPS.items():
        part = rows[rows["reference"].str.fullmatch(pattern)]
        if group == "others":
            # One reference a reader left out: as many as the nodule has readers.
            num_readers = part.groupby("nodule_id")["reference"].transform("nunique")
            part = part[num_readers >= MIN_READERS_LEFT_OUT]
        model, readers = part[part["subject"] == "model"], part[part["subject"] != "model"]
        if readers.empty:
            continue
        for measure in measures if group == "others" else ("dice",):
            both = side_by_side(model, readers, measure, is_paired=group == "others")
            for name, column in (
                (measure, "model"),
                (f"reader_{measure}", "reader"),
                (f"{measure}_difference", "difference"),
            ):
                found[name, group] = both[[*KEY, column]].rename(columns={column: "value"})
    return found


def side_by_side(model, readers, measure: str, *, is_paired: bool) -> pd.DataFrame:
    """Return each run's and nodule's means: the key's columns, model, reader and difference.

    Paired: a reader left out counts where model and reader both have a value against its others.
    """
    if is_paired:
        key = ["fold", "seed", "nodule_id", "reference"]
        pairs = model[[*key, measure]].merge(readers[[*key, measure]], on=key)
        whole = pairs[pairs[[f"{measure}_x", f"{measure}_y"]].notna().all(axis=1)][key]
        model, readers = model.merge(whole, on=key), readers.merge(whole, on=key)
    both = run_means(model, measure).merge(run_means(readers, measure), on=KEY)
    both = both.dropna(subset=["value_x", "value_y"])
    both = both.rename(columns={"value_x": "model", "value_y": "reader"})
    return both.assign(difference=both["model"] - both["reader"])


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
    beside = reader_values(rows, BESIDE_READER)
    return {**model_values(rows), **beside, **distribution_values(nodules)}


def penalized_nodules(scores: pd.DataFrame) -> dict:
    """Return the nodules whose distance is the penalty in some run, by subject and reference.

    Subjects are model, reader and difference (of which one of the two has the penalty).
    """
    rows = central(scores)
    rows = rows[rows["is_penalized"]]
    subject = rows["subject"].where(rows["subject"] == "model", "reader")
    reference = rows["reference"].where(~rows["reference"].str.match(r"others\d"), "others")
    found = {key: set(part["nodule_id"]) for key, part in rows.groupby([subject, reference])}
    for name in {reference for _, reference in found}:
        both = [found.get((subject, name), set()) for subject in ("model", "reader")]
        found["difference", name] = set.union(*both)
    return found


def split_measure(measure: str) -> tuple:
    """Return whose value a row of the summary holds (model, reader or difference), and of what."""
    if measure.startswith("reader_"):
        return "reader", measure.removeprefix("reader_")
    if measure.endswith("_difference"):
        return "difference", measure.removesuffix("_difference")
    return "model", measure


def is_headline(measure: str, subset: str, data_kind: str) -> bool:
    """Tell whether a number may stand in a headline.

    Never of phantoms, never of truncated nodules, never a surface distance of a cut-out volume.
    """
    if data_kind == "phantom" or subset != "whole":
        return False
    surfaces = ("hd95_mm", "hd95_pooled_mm", "assd_mm", *SURFACE_SHARES)
    return not (split_measure(measure)[1] in surfaces and data_kind == "cut_out")
