"""Set all experiments side by side with the readers and with each other, patients kept whole.

Reads
    --scores        scores.csv of every run, --nodule-scores and --calibrations beside them
    --plan          analysis_plan.yaml: level and correction of the tests between experiments
Writes
    --out-summary       one row an experiment, measure, reference and subset
    --out-offsets       Dice against the distance of the click
    --out-pairs         paired tests between experiments
    --out-spread        mean and spread over folds, seeds and runs
    --out-ranks         ranks with their stability
    --out-bland-altman  bias and limits of agreement of volumes
    --out-calibration   bins of probability, runs pooled
Method
    A nodule's values are averaged over readers left out (or pairs of readers), then over seeds,
    then over nodules; folds hold different nodules and are pooled. Model and reader stand against
    the same reference on the same nodules, so their difference is paired, in every measure. 95 %
    intervals:
    percentiles over resamples of whole patients; every row uses the same seed. Truncated nodules
    stand apart. Tests flip the sign of each patient's differences. Phantoms and cut-out volumes
    get numbers, and no claim.
Source
    Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13; Holm 1979.
"""

import numpy as np
import pandas as pd

from quorum.bootstrap import bootstrap_mean
from quorum.command import LOG, make_parser, provenance, run_command
from quorum.comparison import (
    NO_CLAIM,
    average_seeds,
    is_headline,
    nodule_values,
    penalized_nodules,
    read_runs,
    refuse_other_cohort,
    run_means,
    split_measure,
)
from quorum.distributions import bin_rows
from quorum.errors import InputError
from quorum.frozen_plan import TEST, read_plan
from quorum.paired_tests import COMPARED, compare_pairs, rank_rows, spread_rows
from quorum.scoring import DISTANCES
from quorum.tables import write_table
from quorum.volume_agreement import bland_altman_rows

SUBSETS = {"whole": False, "truncated": True}


def summarise(experiment: str, values: dict, scores, *, resamples: int, seed: int) -> list:
    """Return one experiment's rows of the summary, whole nodules before truncated ones."""
    penalized, rows = penalized_nodules(scores), []
    shared = {
        "experiment": experiment,
        "num_runs": len(scores[["fold", "seed"]].drop_duplicates()),
        "data_kind": scores["data_kind"].iloc[0],
    }
    for subset, is_truncated in SUBSETS.items():
        for (measure, reference), frame in values.items():
            nodules = average_seeds(frame)
            nodules = nodules[nodules["is_truncated"].astype(bool) == is_truncated]
            if nodules.empty:
                continue
            interval = bootstrap_mean(
                nodules["value"], nodules["patient_id"], resamples=resamples, seed=seed
            )
            whose, what = split_measure(measure)
            counted = penalized.get((whose, reference), set()).intersection(nodules.index)
            rows.append({
                **shared, "measure": measure, "reference": reference, "subset": subset,
                "num_penalized": len(counted) if what in DISTANCES else None,
                "median": nodules["value"].median(),
                "is_headline": is_headline(measure, subset, shared["data_kind"]), **interval,
            })  # fmt: skip
    return rows


def summarise_offsets(scores: pd.DataFrame, *, resamples: int, seed: int) -> pd.DataFrame:
    """Return the Dice against the consensus by experiment and click offset, whole nodules."""
    rows = []
    model = scores[(scores["subject"] == "model") & (scores["reference"] == "consensus")]
    model = model[~model["is_truncated"].astype(bool)]
    for (experiment, offset), part in model.groupby(["experiment", "offset_mm"], sort=False):
        nodules = average_seeds(run_means(part, "dice"))
        interval = bootstrap_mean(
            nodules["value"], nodules["patient_id"], resamples=resamples, seed=seed
        )
        shared = {"experiment": experiment, "offset_mm": offset, "num_nodules": len(nodules)}
        rows.append({**shared, **interval, "data_kind": part["data_kind"].iloc[0]})
    columns = ["experiment", "offset_mm", "num_nodules", "value", "low", "high", "data_kind"]
    return pd.DataFrame(rows, columns=columns).rename(columns={"value": "dice"})


def pool_calibration(bins: pd.DataFrame) -> pd.DataFrame:
    """Return each experiment's bins, its runs pooled."""
    parts = []
    for experiment, part in bins.groupby("experiment", sort=False):
        counts = part["num_voxels"].to_numpy(float)
        sums = [np.nan_to_num(part[c].to_numpy(float)) * counts for c in
                ("mean_probability", "mean_share")]  # fmt: skip
        pooled = [np.bincount(part["bin"].astype(int), w) for w in (counts, *sums)]
        rows = pd.DataFrame(bin_rows(np.stack(pooled, axis=1)))
        parts.append(rows.assign(experiment=experiment, data_kind=part["data_kind"].iloc[0]))
    return pd.concat(parts).assign(fold=None, seed=None, part="cross_validation")


def read_all(args) -> tuple:
    """Return scores, nodule scores and calibration of all runs, checked to belong together.

    Raises
    ------
    InputError
        When runs are missing, doubled or mixed, or one is of the locked test part.
    """
    scores = read_runs(args.scores, "scores")
    nodules = read_runs(args.nodule_scores, "nodule_scores")
    bins = read_runs(args.calibrations, "calibration")
    if (scores["part"] == TEST).any():
        raise InputError(
            "scores of the test part are among those of the folds",
            "cross-validation alone: the test part belongs to compare_with_readers",
            "correct --scores",
        )
    refuse_other_cohort(scores, nodules)
    return scores, nodules, bins


def parse_args(argv):
    """Return the parsed flags."""
    parser = make_parser(__doc__)
    parser.add_argument("--scores", required=True, nargs="+", help="scores.csv of every run")
    parser.add_argument("--nodule-scores", required=True, nargs="+", help="beside every one")
    parser.add_argument("--calibrations", required=True, nargs="+", help="beside every one")
    parser.add_argument("--plan", required=True, help="config/analysis_plan.yaml")
    parser.add_argument("--resamples", type=int, required=True, help="bootstrap resamples")
    parser.add_argument("--seed", type=int, required=True, help="seed of the resamples")
    for name in ("summary", "offsets", "pairs", "spread", "ranks", "bland-altman", "calibration"):
        parser.add_argument(f"--out-{name}", required=True, help="CSV to write")
    return parser.parse_args(argv)


def make_tables(scores, nodules, *, plan: dict, resamples: int, seed: int) -> dict:
    """Return every table that is made of scores, by name."""
    chance, summary, spread, volumes = {"resamples": resamples, "seed": seed}, [], [], []
    values, data_kind = {}, scores["data_kind"].iloc[0]
    for experiment, part in scores.groupby("experiment", sort=False):
        found = nodule_values(part, nodules[nodules["experiment"] == experiment])
        values[experiment] = found
        summary += summarise(experiment, found, part, **chance)
        spread += spread_rows(experiment, found)
        volumes += bland_altman_rows(experiment, part, **chance)
    ranks = [row for key in COMPARED for row in rank_rows(values, key, **chance)]
    is_claim = data_kind not in NO_CLAIM
    return {
        "summary": pd.DataFrame(summary),
        "offsets": summarise_offsets(scores, **chance),
        "pairs": compare_pairs(values, data_kind=data_kind, plan=plan, **chance),
        "spread": pd.DataFrame(spread).assign(data_kind=data_kind),
        "ranks": pd.DataFrame(ranks).assign(is_claim=is_claim, data_kind=data_kind),
        "bland_altman": pd.DataFrame(volumes).assign(data_kind=data_kind),
    }


def main(argv=None):
    """Parse, read, summarise, write."""
    args = parse_args(argv)
    scores, nodules, bins = read_all(args)
    plan = read_plan(args.plan)
    tables = make_tables(scores, nodules, plan=plan, resamples=args.resamples, seed=args.seed)
    tables["calibration"] = pool_calibration(bins)
    made_by = provenance(__file__, args)
    for name, table in tables.items():
        write_table(table, getattr(args, f"out_{name}"), name, made_by)
    summary = tables["summary"]
    dice = summary[(summary["measure"] == "dice") & (summary["reference"] == "consensus")]
    for row in dice[dice["subset"] == "whole"].itertuples():
        LOG.info("%s: Dice %.3f (%.3f to %.3f)", row.experiment, row.value, row.low, row.high)
    LOG.info("rows in %d, of them both masks empty %d", len(scores), scores["dice"].isna().sum())


if __name__ == "__main__":
    run_command(main)
