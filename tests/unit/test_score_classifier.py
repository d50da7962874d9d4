"""Scores of classifiers: known answers, paired intervals, the script, what is refused."""

import numpy as np
import pandas as pd
import pytest
import score_classifier
import torch
import train_classifier
from classifier_inputs import RULE, make_classified

from quorum.classifying import CLASSIFIER_FILE
from quorum.errors import InputError
from quorum.models import read_model, write_model
from quorum.suspicion import MEASURES, calibrate, measure, summarize
from quorum.tables import read_table


def scores_of(probability, *, labels=(0, 0, 1, 1), diameter=(0.1, 0.2, 0.3, 0.4), **more):
    """Return a table of scores of invented nodules, two a patient."""
    words = np.where(np.array(labels) == 1, "suspicious", "unsuspicious")
    frame = {
        "label_rule": RULE, "fold": 0, "seed": 0, "data_kind": "phantom",
        "nodule_id": [f"n{k}" for k in range(len(labels))],
        "patient_id": [f"p{k % 2}" for k in range(len(labels))], "label": words,
        "probability": list(probability), "threshold": 0.5,
        "diameter_mm": 10.0, "diameter_probability": list(diameter), "diameter_threshold": 0.5,
    }  # fmt: skip
    return pd.DataFrame(frame | more)


def row_of(rows, subject, name, fold=None) -> dict:
    """Return the one row of a subject and measure."""
    wanted = {"subject": subject, "measure": name, "fold": fold}
    return next(row for row in rows if {key: row[key] for key in wanted} == wanted)


def test_measures_of_a_known_answer():
    targets, weights = np.array([0, 0, 1, 1]), np.ones(4)
    found = measure(targets, np.array([0.1, 0.6, 0.4, 0.9]), np.full(4, 0.5), weights)
    found = dict(zip(MEASURES, found, strict=True))
    assert found["auroc"] == pytest.approx(0.75)
    assert found["average_precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["accuracy"] == pytest.approx(0.5)
    assert found["brier"] == pytest.approx((0.01 + 0.36 + 0.36 + 0.01) / 4)
    # Bins of 0.2: gaps 0.1, -0.6, 0.6 and -0.1, one nodule each.
    assert found["calibration_error"] == pytest.approx((0.1 + 0.6 + 0.6 + 0.1) / 4)


def test_a_nodule_drawn_twice_counts_twice_and_one_label_has_no_measure():
    targets, values = np.array([0, 0, 1, 1]), np.array([0.1, 0.6, 0.4, 0.9])
    twice = measure(targets, values, np.full(4, 0.5), np.array([1, 2, 1, 1]))
    rows = [0, 1, 1, 2, 3]
    repeated = measure(targets[rows], values[rows], np.full(5, 0.5), np.ones(5))
    assert twice == pytest.approx(repeated)
    assert np.isnan(measure(targets, values, np.full(4, 0.5), np.array([1, 1, 0, 0]))).all()


def test_the_difference_is_paired_and_its_interval_belongs_to_resampled_patients():
    rows = summarize(scores_of([0.1, 0.2, 0.3, 0.4]), resamples=50, seed=0)
    for name in MEASURES:
        row = row_of(rows, "difference", name)
        assert (row["value"], row["low"], row["high"]) == (0, 0, 0), "the same two answers"
    assert row_of(rows, "classifier", "auroc")["value"] == 1.0
    single = row_of(rows, "classifier", "auroc", fold=0)
    assert single["value"] == 1.0
    assert np.isnan(single["low"])
    assert single["num_suspicious"] == 2


def test_seeds_are_averaged_and_folds_pooled():
    good = scores_of([0.1, 0.2, 0.8, 0.9])
    bad = scores_of([0.9, 0.8, 0.2, 0.1], seed=1)
    rows = summarize(pd.concat([good, bad]), resamples=50, seed=0)
    row = row_of(rows, "classifier", "auroc")
    assert row["value"] == pytest.approx(0.5)
    assert row["num_nodules"] == 4


def test_a_probability_means_a_share():
    rows = calibrate(scores_of([0.1, 0.1, 0.1, 0.9], labels=(0, 0, 1, 1)))
    first, last = rows[0], rows[4]
    assert first["share_suspicious"] == pytest.approx(1 / 3)
    assert (first["num_scores"], last["num_scores"]) == (3, 1)
    assert rows[2]["mean_probability"] is None


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two folds' classifiers and their cohort."""
    made = make_classified(tmp_path_factory.mktemp("scored"))
    for fold in (0, 1):
        train_classifier.main(made.train_flags(made.folder / f"run{fold}", fold=fold))
    return made


def models_of(run) -> list:
    """Return the paths of the two models."""
    return [run.folder / f"run{fold}" / "model.pt" for fold in (0, 1)]


def test_runs_are_scored_on_the_folds_that_they_held_out(run, tmp_path):
    score_classifier.main(run.score_flags(models_of(run), tmp_path))
    scores = read_table(tmp_path / "scores.csv", "classifier_scores")
    splits = pd.read_csv(run.cohort.splits).set_index("patient_id")["part"]
    assert (splits[scores["patient_id"]].to_numpy() == "fold" + scores["fold"].astype(str)).all()
    assert len(scores) == 8
    assert scores["probability"].between(0, 1).all()
    assert set(scores["data_kind"]) == {"phantom"}
    summary = read_table(tmp_path / "summary.csv", "classifier_summary")
    pooled = summary[summary["fold"].isna() & (summary["measure"] == "auroc")]
    assert pooled["subject"].tolist() == ["classifier", "diameter", "difference"]
    diameter = pooled.set_index("subject").loc["diameter"]
    assert diameter["value"] == 1.0, "the label of these phantoms is their diameter"
    assert len(read_table(tmp_path / "calibration.csv", "classifier_calibration")) == 10


def test_a_model_of_another_label_or_source_or_named_twice_is_refused(run, tmp_path):
    first, second = models_of(run)
    model = read_model(first, CLASSIFIER_FILE)
    for change, words in (
        ({"label_rule": "mean_without_3"}, "learned the label mean_without_3"),
        ({"data_kind": "scan"}, "was fitted on scan data, the shards hold phantom"),
    ):
        write_model(tmp_path / "other.pt", model | change, CLASSIFIER_FILE)
        with pytest.raises(InputError, match=words):
            score_classifier.main(run.score_flags([tmp_path / "other.pt", second], tmp_path))
    with pytest.raises(InputError, match="has two models"):
        score_classifier.main(run.score_flags([first, first], tmp_path))


def test_weights_of_a_segmentation_network_are_refused(run, tmp_path):
    path = tmp_path / "segmenting.pt"
    torch.save({"schema": "quorum-model", "schema_version": 3, "weights": {}}, path)
    with pytest.raises(InputError, match="holds a quorum-model of version 3"):
        score_classifier.main(run.score_flags([path], tmp_path))
