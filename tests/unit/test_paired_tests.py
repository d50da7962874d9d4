"""Tests between experiments, ranks and volumes: libraries' own numbers, and known answers."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from score_factory import make_nodules, make_scores
from test_freeze_plan import PLAN

from quorum.comparison import is_headline, nodule_values
from quorum.frozen_plan import read_plan
from quorum.paired_tests import (
    COMPARED,
    compare_pairs,
    flip_test,
    mean_tau,
    rank_rows,
    spread_rows,
)
from quorum.volume_agreement import bland_altman_rows

CHANCE = {"resamples": 500, "seed": 0}


def sums_of(values, patients):
    """Return each patient's sum."""
    return pd.Series(values).groupby(np.asarray(patients)).sum().to_numpy()


def test_all_flips_are_scipys_exact_permutations():
    generator = np.random.default_rng(0)
    patients = np.repeat(np.arange(9), 2)
    values = generator.normal(0.3, 1, (18, 3))
    ours, count = flip_test(values, patients, resamples=1000, seed=0)
    assert count == 2**9
    for column in range(3):
        sums = sums_of(values[:, column], patients)
        theirs = stats.permutation_test(
            (sums, np.zeros(9)), lambda a, b, axis: (a - b).sum(axis),
            permutation_type="samples", n_resamples=np.inf, vectorized=True,
        )  # fmt: skip
        assert ours[column] == pytest.approx(theirs.pvalue)


def test_random_flips_are_near_the_exact_ones():
    generator = np.random.default_rng(1)
    patients, values = np.arange(14), generator.normal(0.4, 1, (14, 1))
    exact, _ = flip_test(values, patients, resamples=2**14, seed=0)
    drawn, count = flip_test(values, patients, resamples=8000, seed=0)
    assert count == 8000
    assert drawn[0] == pytest.approx(exact[0], abs=0.02)
    assert drawn[0] != exact[0]


def test_a_patients_nodules_are_no_further_evidence():
    generator = np.random.default_rng(2)
    values = generator.normal(0.5, 1, 12)
    alone, _ = flip_test(values[:, None], np.arange(12), resamples=5000, seed=0)
    copied, _ = flip_test(
        np.repeat(values, 5)[:, None], np.repeat(np.arange(12), 5), resamples=5000, seed=0
    )
    assert copied == alone
    as_if_apart, _ = flip_test(np.repeat(values, 5)[:, None], np.arange(60), resamples=5000, seed=0)
    assert as_if_apart < alone


def test_under_the_null_hypothesis_small_p_are_as_rare_as_they_say():
    generator = np.random.default_rng(3)
    patients = np.repeat(np.arange(30), 2)
    values = generator.normal(size=(30, 400)).repeat(2, axis=0) + generator.normal(size=(60, 400))
    p, _ = flip_test(values, patients, resamples=1000, seed=0)
    assert 0.02 <= (p < 0.05).mean() <= 0.09


def lifted(lifts, data_kind="scan", nodules=40):
    """Return experiments' values, each so far above the readers, with noise that all share."""
    values = {}
    for name, lift in lifts.items():
        scores = make_scores(name, nodules=nodules, lift=lift).assign(data_kind=data_kind)
        values[name] = nodule_values(scores, make_nodules(scores))
    return values


def test_all_pairs_and_measures_are_corrected_together():
    values = lifted({"a": 0.1, "b": 0.0, "c": 0.0})
    table = compare_pairs(values, data_kind="scan", plan=read_plan(PLAN), **CHANCE)
    others = table[(table["measure"] == "dice") & (table["reference"] == "others")]
    assert others["difference"].tolist() == pytest.approx([0.1, 0.1, 0])
    p = table["p_value"].to_numpy()
    assert len(p) == 3 * len(COMPARED) == table["num_tests"].unique().item()
    # Holm by hand: smallest times the number of tests, next times one less, never falling.
    by_hand = np.minimum(1, np.maximum.accumulate(np.sort(p) * np.arange(len(p), 0, -1)))
    assert np.sort(table["p_adjusted"]) == pytest.approx(by_hand)
    assert others["is_different"].tolist() == [True, True, False]
    assert others["no_claim_reason"].isna().all()


@pytest.mark.parametrize("kind", ["phantom", "cut_out"])
def test_phantoms_and_cut_outs_get_numbers_and_no_claim(kind):
    values = lifted({"a": 0.1, "b": 0.0}, kind)
    table = compare_pairs(values, data_kind=kind, plan=read_plan(PLAN), **CHANCE)
    assert table["p_value"].notna().all()
    assert table["is_different"].isna().all()
    assert table["no_claim_reason"].notna().all()
    assert not is_headline("dice", "whole", "phantom")
    assert is_headline("dice", "whole", "cut_out")
    assert not is_headline("hd95_mm", "whole", "cut_out")
    assert not is_headline("hd95_mm_difference", "whole", "cut_out")
    assert is_headline("reader_dice", "whole", "cut_out")
    assert is_headline("hd95_mm", "whole", "scan")
    assert not is_headline("dice", "truncated", "scan")


def test_one_experiment_has_no_pair_and_the_first_rank():
    values = lifted({"a": 0.1})
    assert compare_pairs(values, data_kind="scan", plan=read_plan(PLAN), **CHANCE).empty
    (row,) = rank_rows(values, ("dice", "others"), **CHANCE)
    assert (row["rank"], row["share_first"]) == (1, 1)
    assert np.isnan(row["kendall_tau"])


def test_ranks_follow_the_measures_direction_and_say_how_stable_they_are():
    values = lifted({"worse": 0.0, "better": 0.1, "equal": 0.1})
    rows = {row["experiment"]: row for row in rank_rows(values, ("dice", "others"), **CHANCE)}
    assert [rows[name]["rank"] for name in ("worse", "better", "equal")] == [3, 1.5, 1.5]
    assert rows["better"]["share_first"] == pytest.approx(0.5)
    assert (rows["worse"]["rank_low"], rows["worse"]["rank_high"]) == (3, 3)
    assert rows["worse"]["kendall_tau"] == pytest.approx(1)
    for name, brier in (("worse", 0.05), ("better", 0.01), ("equal", 0.02)):
        values[name]["brier_band", "readers"]["value"] = brier
    rows = rank_rows(values, ("brier_band", "readers"), **CHANCE)
    assert [row["experiment"] for row in rows] == ["better", "equal", "worse"]


def test_tau_is_scipys():
    generator = np.random.default_rng(4)
    own = stats.rankdata(generator.integers(0, 4, 7))
    drawn = stats.rankdata(generator.integers(0, 5, (20, 7)), axis=1)
    theirs = np.mean([stats.kendalltau(own, row).statistic for row in drawn])
    assert mean_tau(own, drawn) == pytest.approx(theirs)


def test_spread_over_folds_and_seeds():
    scores = pd.concat([
        make_scores(seed=0, lift=0.0), make_scores(seed=1, lift=0.2),
        make_scores(fold=1, seed=0, lift=0.1), make_scores(fold=1, seed=1, lift=0.1),
    ])  # fmt: skip
    rows = spread_rows("unet3d", nodule_values(scores, make_nodules(scores)))
    table = pd.DataFrame(rows).set_index(["measure", "reference", "over"])
    seeds = table.loc[("dice", "others", "seeds")]
    assert seeds["num_values"] == 2
    assert seeds["largest"] - seeds["smallest"] == pytest.approx(0.1)  # half of the nodules
    assert seeds["standard_deviation"] == pytest.approx(0.1 / 2**0.5)
    folds = table.loc[("dice", "others", "folds")]
    assert folds["standard_deviation"] == pytest.approx(0, abs=1e-9)
    assert table.loc[("dice", "others", "runs"), "num_values"] == 4


def test_volumes_of_bland_and_altman():
    scores = make_scores(nodules=4)
    is_model = (scores["subject"] == "model") & (scores["reference"] == "consensus")
    errors = np.array([-20.0, 0, 10, 30])
    central = is_model & (scores["offset_mm"] == 0)
    scores.loc[central, "volume_mm3"] = 100 + errors
    scores.loc[central, "volume_error_mm3"] = errors
    rows = bland_altman_rows("unet3d", scores, **CHANCE)
    table = pd.DataFrame(rows).set_index(["subject", "reference", "scale"])
    row = table.loc[("model", "consensus", "mm3")]
    assert row["bias"] == pytest.approx(5)
    assert row["standard_deviation"] == pytest.approx(np.std(errors, ddof=1))
    width = 1.96 * np.std(errors, ddof=1)
    assert (row["limit_low"], row["limit_high"]) == pytest.approx((5 - width, 5 + width))
    assert row["slope"] == pytest.approx(2)  # the mean of both grows half as fast as the difference
    share = table.loc[("model", "consensus", "percent")]
    assert share["bias"] == pytest.approx(np.mean(100 * errors / (100 + errors / 2)))
    assert {index[0] for index in table.index} == {"model", "reader"}
