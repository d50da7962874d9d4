"""compare_experiments: paired differences, whole patients, one definition for all rows."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from compare_experiments import main, make_tables, summarise_offsets
from hypothesis import given, settings
from hypothesis import strategies as st
from score_factory import make_bins, make_nodules, make_scores

from quorum.bootstrap import bootstrap_mean, patient_weights
from quorum.comparison import BESIDE_READER, read_runs, refuse_other_cohort
from quorum.errors import InputError
from quorum.frozen_plan import read_plan
from quorum.tables import read_table, write_table

ROOT = Path(__file__).resolve().parents[2]
CHANCE = {"resamples": 500, "seed": 0}


def tables_of(scores, nodules=None):
    """Return all tables made of scores."""
    nodules = make_nodules(scores) if nodules is None else nodules
    plan = read_plan(ROOT / "config" / "analysis_plan.yaml")
    return make_tables(scores, nodules, plan=plan, **CHANCE)


def by_measure(scores):
    """Return the summary of whole nodules by measure and reference."""
    summary = tables_of(scores)["summary"]
    return summary[summary["subset"] == "whole"].set_index(["measure", "reference"])


def test_known_means_and_the_paired_difference():
    table = by_measure(make_scores())
    others = table.xs("others", level="reference")
    assert others.loc["dice", "value"] == pytest.approx(0.73 + 0.1 + 0.025)
    assert others.loc["reader_dice", "value"] == pytest.approx(0.73 + 0.025)
    difference = others.loc["dice_difference"]
    assert difference["value"] == pytest.approx(0.1)
    # Every nodule has the same difference, so its interval has no width; the Dice's has one.
    assert difference["high"] - difference["low"] == pytest.approx(0, abs=1e-12)
    assert others.loc["dice", "high"] - others.loc["dice", "low"] > 0.01
    assert (difference["num_nodules"], difference["num_patients"]) == (4, 2)
    # Every measure has its reader beside it, against the same others.
    for measure in BESIDE_READER:
        model, reader = others.loc[measure, "value"], others.loc[f"reader_{measure}", "value"]
        assert others.loc[f"{measure}_difference", "value"] == pytest.approx(model - reader)
    assert others.loc["reader_hd95_mm", "value"] == 1.5
    assert others.loc["absolute_volume_error_mm3", "value"] == 10
    readers = table.xs("readers", level="reference")
    assert {m for m in readers.index if m.startswith("reader_")} == {"reader_dice"}
    assert readers.loc["dice_difference", "value"] == pytest.approx(0.05)
    assert table.loc[("absolute_volume_error_mm3", "consensus"), "value"] == 10
    assert table.loc[("dice", "consensus"), "value"] == pytest.approx(0.73 + 0.15)


def test_seeds_are_averaged_within_nodules_and_folds_pooled():
    parts = [make_scores(seed=0, lift=0.0), make_scores(seed=1, lift=0.2)]
    parts.append(make_scores(fold=1, nodules=2))
    table = by_measure(pd.concat(parts))
    row = table.loc[("dice_difference", "others")]
    assert row["value"] == pytest.approx(0.1)
    assert (row["num_nodules"], row["num_patients"], row["num_runs"]) == (6, 3, 3)


def test_a_reader_left_out_without_dice_is_left_out_on_both_sides():
    scores = make_scores()
    lost = (scores["nodule_id"] == "nodule00") & (scores["reference"] == "others4")
    scores.loc[lost & (scores["subject"] == "model"), "dice"] = np.nan
    scores.loc[lost & (scores["subject"] == "reader4"), "dice"] = 0.0
    row = by_measure(scores).loc[("dice_difference", "others")]
    assert row["value"] == pytest.approx(0.1)
    assert row["num_nodules"] == 4


def test_a_missing_mask_is_a_penalty_that_is_counted_on_its_side():
    scores = make_scores()
    lost = (scores["nodule_id"] == "nodule01") & (scores["reference"] == "others2")
    scores.loc[lost & (scores["subject"] == "reader2"), ["is_penalized", "hd95_mm"]] = True, 97.5
    others = by_measure(scores).xs("others", level="reference")
    assert others.loc["hd95_mm", "num_penalized"] == 0
    assert others.loc["reader_hd95_mm", "num_penalized"] == 1
    assert others.loc["hd95_mm_difference", "num_penalized"] == 1
    # One of sixteen readers left out has 96 mm more.
    assert others.loc["hd95_mm_difference", "value"] == pytest.approx(-96 / 16)
    # A distance that is missing on one side, both masks being empty, is left out on both.
    scores.loc[lost & (scores["subject"] == "model"), "hd95_mm"] = np.nan
    others = by_measure(scores).xs("others", level="reference")
    assert others.loc["hd95_mm_difference", "value"] == 0


def test_offsets():
    table = summarise_offsets(make_scores(), **CHANCE).set_index("offset_mm")
    assert table.loc[0, "dice"] == pytest.approx(0.88)
    assert table.loc[8, "dice"] == pytest.approx(0.63)
    assert table.loc[8, "low"] <= 0.63 <= table.loc[8, "high"]


def test_whole_patients_are_resampled():
    # Two patients, one with three equal nodules: a resample holds a patient's nodules together.
    values, patients = np.array([0.0, 1.0, 1.0, 1.0]), np.array(["a", "b", "b", "b"])
    found = bootstrap_mean(values, patients, resamples=4000, seed=1)
    assert found["value"] == 0.75
    assert (found["low"], found["high"]) == (0, 1)
    weights = patient_weights(2, resamples=4000, seed=1)
    means = (weights @ [0, 3]) / (weights @ [1, 3])
    assert set(np.unique(means)) == {0, 0.75, 1}


def test_the_interval_covers_as_often_as_it_says():
    generator = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        of_patient = generator.normal(size=40)
        values = np.repeat(of_patient, 2) + generator.normal(size=80)
        found = bootstrap_mean(values, np.repeat(np.arange(40), 2), resamples=300, seed=trial)
        hits += found["low"] <= 0 <= found["high"]
    assert 0.88 <= hits / 200 <= 0.99


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(-1, 1), st.integers(0, 5)), max_size=20), st.integers(0, 99))
def test_the_interval_holds_the_mean_and_is_repeatable(pairs, seed):
    values, patients = [p[0] for p in pairs], [p[1] for p in pairs]
    found = bootstrap_mean(values, patients, resamples=200, seed=seed)
    assert found["num_nodules"] == len(pairs)
    if found["num_patients"] < 2:
        assert np.isnan(found["low"])
        return
    assert min(values) - 1e-9 <= found["low"] <= found["high"] <= max(values) + 1e-9
    assert found == bootstrap_mean(values, patients, resamples=200, seed=seed)


def write_scores(folder, name, scores):
    """Write a run's scores and return the path as text."""
    write_table(scores, folder / name, "scores", {})
    return str(folder / name)


TABLES = ("summary", "offsets", "pairs", "spread", "ranks", "bland_altman", "calibration")


def flags_of(folder, runs):
    """Write the tables of every run and return the script's flags."""
    names = {"scores": [], "nodule-scores": [], "calibrations": []}
    for k, scores in enumerate(runs):
        makers = (lambda frame: frame, make_nodules, make_bins)
        tables = ("scores", "nodule_scores", "calibration")
        for flag, make, table in zip(names, makers, tables, strict=True):
            path = folder / f"{table}{k}.csv"
            write_table(make(scores), path, table, {})
            names[flag].append(str(path))
    flags = ["--plan", str(ROOT / "config" / "analysis_plan.yaml"), "--resamples", "200"]
    flags += ["--seed", "0", *[w for f, paths in names.items() for w in (f"--{f}", *paths)]]
    for name in TABLES:
        flags += [f"--out-{name.replace('_', '-')}", str(folder / f"{name}.csv")]
    return flags


def test_the_script(tmp_path):
    main(flags_of(tmp_path, [make_scores(e) for e in ("unet3d", "ball")]))
    tables = {name: read_table(tmp_path / f"{name}.csv", name) for name in TABLES}
    summary = tables["summary"]
    assert summary["experiment"].unique().tolist() == ["unet3d", "ball"]
    first, second = (
        part.drop(columns="experiment").reset_index(drop=True)
        for _, part in summary.groupby("experiment")
    )
    pd.testing.assert_frame_equal(first, second)
    assert len(tables["offsets"]) == 4
    # Two equal experiments differ nowhere, and two patients can't show a difference.
    assert (tables["pairs"]["difference"] == 0).all()
    assert tables["pairs"]["p_value"].isna().all()
    assert tables["ranks"]["rank"].eq(1.5).all()
    pooled = tables["calibration"]
    assert pooled.groupby("experiment")["num_voxels"].sum().tolist() == [50, 50]


def test_scores_that_do_not_belong_together(tmp_path):
    scores = make_scores()
    one = write_scores(tmp_path, "a.csv", scores)
    with pytest.raises(InputError, match="given twice"):
        read_runs([one, one], "scores")
    fewer = write_scores(tmp_path, "b.csv", make_scores("ball", nodules=3))
    with pytest.raises(InputError, match="different nodules"):
        refuse_other_cohort(read_runs([one, fewer], "scores"))
    phantom = write_scores(tmp_path, "c.csv", make_scores("ball").assign(data_kind="phantom"))
    with pytest.raises(InputError, match="cut_out and phantom"):
        read_runs([one, phantom], "scores")
    with pytest.raises(InputError, match="can't be read"):
        read_runs([str(tmp_path / "missing.csv")], "scores")
    with pytest.raises(InputError, match="different runs or nodules"):
        refuse_other_cohort(scores, make_nodules(make_scores(seed=1)))
    with pytest.raises(InputError, match="test part are among"):
        main(flags_of(tmp_path, [make_scores().assign(part="test")]))
