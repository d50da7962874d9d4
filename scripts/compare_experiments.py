"""Set all experiments side by side with the readers, with intervals over patients.

Reads
    --scores  scores.csv of every run
Writes
    --out-summary  summary.csv, one row an experiment, measure and reference
    --out-offsets  offsets.csv, Dice against the distance of the click
Method
    A nodule's values are averaged over readers left out (or pairs of readers), then over seeds,
    then over nodules; folds hold different nodules and are pooled. Model and reader stand against
    the same reference on the same nodules, so their difference is paired. 95 % intervals:
    percentiles over resamples of whole patients; every row uses the same seed.
Source
    Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
"""

import numpy as np
import pandas as pd

from quorum.bootstrap import bootstrap_mean
from quorum.command import LOG, make_parser, provenance, run_command
from quorum.errors import InputError
from quorum.tables import read_table, write_table

MEASURES = ("dice", "iou", "hd95_mm", "assd_mm", "volume_error_mm3")
GROUPS = {"others": r"others\d+", "readers": r"reader\d+"}
# ASSUME: a reader is left out where three others remain; two have no majority, only a union.
MIN_READERS_LEFT_OUT = 4


def by_nodule(rows: pd.DataFrame, measure: str) -> pd.DataFrame:
    """Return each nodule's mean of a measure, over references, then seeds.

    Returns
    -------
    DataFrame
        Index nodule_id; columns patient_id, value.
    """
    runs = rows.groupby(["nodule_id", "patient_id", "seed"], as_index=False)[measure].mean()
    means = runs.groupby(["nodule_id", "patient_id"], as_index=False)[measure].mean()
    return means.rename(columns={measure: "value"}).set_index("nodule_id")


def model_values(rows: pd.DataFrame) -> dict:
    """Return the model's values by nodule, for (measure, reference).

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
            found[measure, reference] = by_nodule(part, measure)
        size = part.assign(
            size=part["volume_error_mm3"].abs(), empty=part["is_empty"].astype(float)
        )
        found["absolute_volume_error_mm3", reference] = by_nodule(size, "size")
        found["share_empty", reference] = by_nodule(size, "empty")
    return found


def reader_values(rows: pd.DataFrame) -> dict:
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
            part = part[num_readers >= MIN_READERS_LEFT_OUT]
        model, readers = part[part["subject"] == "model"], part[part["subject"] != "model"]
        if readers.empty:
            continue
        if group == "others":
            key = ["fold", "seed", "nodule_id", "reference"]
            pairs = model[[*key, "dice"]].merge(readers[[*key, "dice"]], on=key)
            whole = pairs[pairs[["dice_x", "dice_y"]].notna().all(axis=1)][key]
            model, readers = model.merge(whole, on=key), readers.merge(whole, on=key)
        ours, theirs = by_nodule(model, "dice"), by_nodule(readers, "dice")
        difference = ours.assign(value=ours["value"] - theirs["value"].reindex(ours.index))
        difference = difference.dropna()
        found["dice", group] = ours.loc[difference.index]
        found["reader_dice", group] = theirs.loc[difference.index]
        found["dice_difference", group] = difference
    return found


def summarise(scores: pd.DataFrame, *, resamples: int, seed: int) -> pd.DataFrame:
    """Return the summary of all experiments, in the order that they come in."""
    rows = []
    for experiment, part in scores.groupby("experiment", sort=False):
        part = part[part["offset_mm"] == part["offset_mm"].min()]
        shared = {
            "experiment": experiment,
            "num_runs": len(part[["fold", "seed"]].drop_duplicates()),
            "data_kind": part["data_kind"].iloc[0],
        }
        for (measure, reference), nodules in {**model_values(part), **reader_values(part)}.items():
            interval = bootstrap_mean(
                nodules["value"], nodules["patient_id"], resamples=resamples, seed=seed
            )
            rows.append({**shared, "measure": measure, "reference": reference, **interval})
    return pd.DataFrame(rows)


def summarise_offsets(scores: pd.DataFrame, *, resamples: int, seed: int) -> pd.DataFrame:
    """Return the Dice against the consensus by experiment and click offset."""
    rows = []
    model = scores[(scores["subject"] == "model") & (scores["reference"] == "consensus")]
    for (experiment, offset), part in model.groupby(["experiment", "offset_mm"], sort=False):
        nodules = by_nodule(part, "dice")
        interval = bootstrap_mean(
            nodules["value"], nodules["patient_id"], resamples=resamples, seed=seed
        )
        shared = {"experiment": experiment, "offset_mm": offset, "num_nodules": len(nodules)}
        rows.append({**shared, **interval, "data_kind": part["data_kind"].iloc[0]})
    frame = pd.DataFrame(rows).rename(columns={"value": "dice"})
    return frame.drop(columns="num_patients")


def read_scores(paths) -> pd.DataFrame:
    """Return all scores in one table.

    Raises
    ------
    InputError
        When phantoms and real images are mixed, experiments were scored on different nodules, or
        a run comes twice.
    """
    tables = [read_table(path, "scores") for path in paths]
    runs = [tuple(t[["experiment", "fold", "seed"]].iloc[0]) for t in tables if len(t)]
    if len(set(runs)) < len(runs) or not runs:
        raise InputError(
            "a run's scores were given twice, or none at all", "each run once", "correct --scores"
        )
    scores = pd.concat(tables, ignore_index=True)
    for column in ("dice", "iou", "hd95_mm", "assd_mm"):
        scores[column] = scores[column].astype(float)
    kinds = sorted(scores["data_kind"].unique())
    if len(kinds) > 1:
        raise InputError(
            f"the scores mix {' and '.join(kinds)} data",
            "one kind",
            "keep results of sources apart",
        )
    cohorts = scores.groupby("experiment")["nodule_id"].agg(lambda ids: frozenset(ids))
    if cohorts.nunique() > 1:
        raise InputError(
            f"the experiments {', '.join(cohorts.index)} were scored on different nodules",
            "the same nodules for every row of a table",
            "run the same folds for every experiment",
        )
    return scores


def main(argv=None):
    """Parse, read, summarise, write."""
    parser = make_parser(__doc__)
    parser.add_argument("--scores", required=True, nargs="+", help="scores.csv of every run")
    parser.add_argument("--resamples", type=int, required=True, help="bootstrap resamples")
    parser.add_argument("--seed", type=int, required=True, help="seed of the resamples")
    parser.add_argument("--out-summary", required=True, help="CSV to write")
    parser.add_argument("--out-offsets", required=True, help="CSV to write")
    args = parser.parse_args(argv)
    scores = read_scores(args.scores)
    chance = {"resamples": args.resamples, "seed": args.seed}
    summary = summarise(scores, **chance)
    made_by = provenance(__file__, args)
    write_table(summary, args.out_summary, "summary", made_by)
    write_table(summarise_offsets(scores, **chance), args.out_offsets, "offsets", made_by)
    dice = summary[(summary["measure"] == "dice") & (summary["reference"] == "consensus")]
    for row in dice.itertuples():
        LOG.info("%s: Dice %.3f (%.3f to %.3f)", row.experiment, row.value, row.low, row.high)
    missing = int(np.isnan(scores["dice"]).sum())
    LOG.info("rows in %d, of them both masks empty %d", len(scores), missing)


if __name__ == "__main__":
    run_command(main)
