"""Maps of a classifier: the exact class activation map, the script, what is refused."""

import explain_classifier
import numpy as np
import pandas as pd
import pytest
import score_classifier
import torch
import train_classifier
from classifier_inputs import RULE, SETTINGS, make_classified
from model_factory import SHAPE

from quorum.classifying import make_classifier
from quorum.errors import InputError
from quorum.explaining import explain_crop, plain_head
from quorum.explanation_files import read_explanations
from quorum.tables import read_table

CROP = tuple(SETTINGS["crop_vox"])


def test_the_class_activation_map_is_exact():
    network = make_classifier(SETTINGS, 0).eval()
    inputs = torch.randn(1, 1, *CROP)
    assert plain_head(network, inputs) == "head"
    found = explain_crop(
        network, inputs, np.ones(CROP, bool), methods=("cam", "grad_cam"), patch_vox=(8, 8, 8)
    )
    with torch.no_grad():
        evidence = (network(inputs) - network.head.bias)[0, 0].numpy()
        logit = float(network.logit(inputs) - network.head.bias)
    assert evidence.mean() == pytest.approx(logit, abs=1e-5)
    assert np.allclose(found["cam"], np.maximum(evidence, 0), atol=1e-5)
    assert found["grad_cam"].shape == CROP


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A classifier, scored, with its cohort; everything that it held out is called suspicious."""
    made = make_classified(tmp_path_factory.mktemp("explained"))
    out = made.folder / "run"
    train_classifier.main(made.train_flags(out))
    score_classifier.main(made.score_flags([out / "model.pt"], out))
    scores = pd.read_csv(out / "scores.csv")
    scores.assign(threshold=0.0).to_csv(out / "scores.csv", index=False)
    return made, out


def test_a_run_is_explained_with_its_sanity_check(run):
    made, out = run
    explain_classifier.main(made.explain_flags(out))
    maps = read_explanations(out / "maps.h5")
    assert maps.experiment == f"classifier_{RULE}"
    assert maps.methods == ["grad_cam", "cam", "occlusion"]
    assert len(maps.nodule_id) == 2
    assert maps.data_kind == "phantom"
    margin = (np.array(SHAPE) - CROP) // 2
    for words, values in maps.of_nodule(maps.nodule_id[0]):
        assert values.shape == SHAPE, words
        assert 0 <= values.min() <= values.max() <= 1, words
        assert values[: margin[0]].max() == 0, f"{words}: outside of the crop"
    sanity = read_table(out / "sanity.csv", "explanation_sanity")
    rows = sanity[sanity["nodule_id"] == maps.nodule_id[0]]
    shares = rows.groupby("method")["randomised_share"].apply(sorted).to_dict()
    assert shares == {
        "cam": [0.25, 0.5, 0.75, 1.0], "grad_cam": [0.25, 0.5, 0.75, 1.0], "occlusion": [1.0],
    }  # fmt: skip


def test_only_nodules_that_were_called_suspicious_are_drawn():
    model = {"label_rule": RULE, "fold": 0, "seed": 0}
    rows = {"nodule_id": ["a", "b", "c"], "probability": [0.2, 0.7, 0.9], "threshold": 0.5}
    scores = pd.DataFrame(rows | model)
    chosen, num_other, num_scored = explain_classifier.choose_nodules(
        scores, model, count=5, seed=0
    )
    assert (sorted(chosen), num_other, num_scored) == (["b", "c"], 1, 3)


def test_scores_of_another_run_are_refused(run):
    made, out = run
    other = out / "other"
    other.mkdir()
    (other / "model.pt").write_bytes((out / "model.pt").read_bytes())
    pd.read_csv(out / "scores.csv").assign(seed=7).to_csv(other / "scores.csv", index=False)
    with pytest.raises(InputError, match="hold nothing of"):
        explain_classifier.main(made.explain_flags(other))
