"""Training on the readers' suspicion: labels, parts, the exact map, the script, what is refused."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
import train_classifier
from classifier_inputs import RULE, SETTINGS, make_classified

from quorum.classifying import (
    CLASSIFIER_FILE,
    check_settings,
    make_classifier,
    suspicion,
)
from quorum.errors import InputError
from quorum.models import read_model
from quorum.shards import open_shards
from quorum.suspicion import choose_threshold, diameter_probability, fit_diameter, read_targets
from quorum.tables import read_table


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained classifier and its cohort."""
    made = make_classified(tmp_path_factory.mktemp("classified"))
    train_classifier.main(made.train_flags(made.folder / "run"))
    return made


def test_a_run_is_trained_on_labels_of_its_own_folds(run):
    model = read_model(run.folder / "run" / "model.pt", CLASSIFIER_FILE)
    assert (model["label_rule"], model["fold"], model["data_kind"]) == (RULE, 0, "phantom")
    assert 0 <= model["threshold"] <= 1
    assert model["positive_weight"] == 1.0, "each patient has one nodule of each label"
    assert model["diameter"]["slope"] > 0
    history = read_table(run.folder / "run" / "history.csv", "classifier_history")
    assert history["step"].tolist() == [1, 2, 3, 4, 5, 6]
    assert history["validation_loss"].notna().tolist() == [False, False, True] * 2
    assert history["learning_rate"].iloc[-1] < history["learning_rate"].max()


def test_the_same_seed_gives_the_same_weights_and_another_others(run):
    for name, seed in (("again", 0), ("other", 1)):
        train_classifier.main(run.train_flags(run.folder / name, seed=seed))
    first, again, other = (
        read_model(run.folder / name / "model.pt", CLASSIFIER_FILE)["weights"]["head.weight"]
        for name in ("run", "again", "other")
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_logit_is_the_mean_of_the_map():
    network = make_classifier(SETTINGS, 0).eval()
    inputs = torch.randn(2, 1, 16, 24, 24)
    with torch.no_grad():
        whole, logit = network(inputs), network.logit(inputs)
    assert whole.shape == inputs.shape
    assert torch.allclose(whole.mean((1, 2, 3, 4)), logit, atol=1e-5)
    pooled = network.features(inputs).mean((2, 3, 4)) @ network.head.weight[0, :, 0, 0, 0]
    assert torch.allclose(pooled + network.head.bias, logit, atol=1e-5), "pooling, then linear"


@pytest.mark.slow
def test_a_learnable_label_is_learned(tmp_path):
    made = make_classified(tmp_path)
    more = {"max_steps": 60, "validate_every_steps": 10}
    train_classifier.main(made.train_flags(tmp_path / "run", **more))
    history = read_table(tmp_path / "run" / "history.csv", "classifier_history")
    assert history["validation_auroc"].max() == 1.0


def test_the_weight_of_the_classes_is_taken_off_again():
    assert suspicion(torch.tensor([np.log(3.0)]), 3.0) == pytest.approx([0.5])


def test_the_diameter_alone_is_a_rising_probability():
    diameter, targets = np.array([4.0, 6, 8, 10, 12, 14]), np.array([0, 0, 1, 0, 1, 1])
    probability = diameter_probability(diameter, fit_diameter(diameter, targets))
    assert (np.diff(probability) > 0).all()
    assert probability.mean() == pytest.approx(0.5, abs=1e-3), "a fit keeps the mean"


@pytest.mark.parametrize(
    ("probability", "targets", "expected"),
    [
        ([0.1, 0.2, 0.8, 0.9], [0, 0, 1, 1], 0.5),
        ([0.1, 0.2, 0.3, 0.4], [0, 1, 1, 1], 0.15),
        ([0.6, 0.7], [0, 0], 1.0),
    ],
)
def test_the_threshold_has_the_highest_accuracy(probability, targets, expected):
    chosen = choose_threshold(np.array(probability), np.array(targets))
    assert chosen == pytest.approx(expected)


def test_what_the_rule_drops_is_no_target(run):
    cubes = open_shards(run.cohort.shards)
    labels = read_table(run.labels, "malignancy_labels")
    labels.loc[0, "label"] = "dropped"
    assert sorted(set(read_targets(labels, RULE, cubes))) == [-1, 0, 1]


def test_labels_of_another_rule_or_cohort_are_refused(run, tmp_path):
    cubes, labels = open_shards(run.cohort.shards), read_table(run.labels, "malignancy_labels")
    with pytest.raises(InputError, match="no nodule has a label by the rule 'mean_without_3'"):
        read_targets(labels, "mean_without_3", cubes)
    with pytest.raises(InputError, match=r"1 in all.*has no label"):
        read_targets(labels.iloc[1:], RULE, cubes)
    with pytest.raises(InputError, match="no nodule has a label"):
        read_targets(labels.assign(label="dropped"), RULE, cubes)


def test_a_fold_of_one_label_is_refused(tmp_path):
    made = make_classified(tmp_path)
    labels = pd.read_csv(made.labels)
    splits = pd.read_csv(made.cohort.splits)
    patients = splits.loc[splits["part"] == "fold1", "patient_id"]
    labels.loc[labels["patient_id"].isin(patients), "label"] = "unsuspicious"
    labels.to_csv(made.labels, index=False)
    with pytest.raises(InputError, match="fold1 hold 0 suspicious nodules of 4"):
        train_classifier.main(made.train_flags(tmp_path / "run"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"crop_vox": [16, 22, 24]}, "multiples of 4 inside the cube"),
        ({"crop_vox": [48, 24, 24]}, "multiples of 4 inside the cube"),
        ({"strides": [2]}, "as many channels as strides"),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes, words):
    with pytest.raises(InputError, match=words):
        check_settings(SETTINGS | changes, (20, 40, 40))


def test_a_loss_that_is_no_number_is_refused(run, tmp_path):
    with pytest.raises(InputError, match=r"the loss became .* at step"):
        train_classifier.main(run.train_flags(tmp_path, learning_rate=1e30))


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"schema": "quorum-model", "schema_version": 3}, path)
    with pytest.raises(InputError, match="holds a quorum-model of version 3"):
        read_model(path, CLASSIFIER_FILE)
    path.write_text(json.dumps({}))
    with pytest.raises(InputError, match="can't be read"):
        read_model(path, CLASSIFIER_FILE)
