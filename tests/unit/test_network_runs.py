"""Every network of the catalogue through the scripts: trained in bf16, and predicting."""

import json
import shutil
import signal

import numpy as np
import pytest
import torch
import yaml
from model_factory import make_cohort
from needs import require
from predict_cubes import main as predict
from train_model import main as train

from quorum.closed_schema import load_yaml, merge
from quorum.models import read_model
from quorum.networks import network_names
from quorum.predictions import open_predictions
from quorum.settings import experiment_settings

# Needs a table of slices too: tests/unit/test_places.py takes it through the scripts.
OTHERS = [name for name in network_names() if name != "position_unet"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Two small shards of cubes that hold the catalogue's largest crop, and a split."""
    return make_cohort(tmp_path_factory.mktemp("cohort"), shape=(32, 64, 64))


@pytest.fixture(autouse=True)
def keep_sigterm():
    """Give SIGTERM back to pytest."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, handler)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_an_experiment_of_each_network_trains_in_bf16_and_predicts(cohort, tmp_path, root, name):
    config = load_yaml(root / "config" / "config.yaml")
    few = {"max_steps": 2, "validate_every_steps": 2, "batch_size": 2, "flip_axes": []}
    fast = {"precision": "bf16", "is_channels_last": "auto", "is_compiled": False}
    settings = merge(experiment_settings(config, name), {**few, "speed": fast})
    plan = tmp_path / "plan.yaml"
    whole = {"name": name, "consensus": "majority", "settings": settings}
    plan.write_text(yaml.safe_dump(whole))
    assert train(cohort.train_flags(plan, tmp_path)) == 0
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["plan"]["settings"]["network"]["name"] == name
    assert record["speed"]["precision"] == "bf16"
    weights = read_model(tmp_path / "model.pt")["weights"].values()
    assert all(torch.isfinite(value).all() for value in weights if value.is_floating_point())
    predict(cohort.predict_flags(plan, tmp_path, offsets=(0,)))
    with open_predictions(tmp_path / "predictions.h5") as found:
        shares = found["probability"][:]
    assert len(shares) == 4
    assert np.isfinite(shares).all()
    assert 0 < shares.max() <= 1
    assert shares.min() >= 0


@pytest.mark.slow
def test_a_compiled_network_learns_what_a_plain_one_learns(tmp_path):
    require(shutil.which("g++") is not None, "torch.compile needs a C++ compiler (g++)")
    cohort, weights = make_cohort(tmp_path), []
    for is_compiled in (False, True):
        out = tmp_path / str(is_compiled)
        speed = {"precision": "fp32", "is_compiled": is_compiled}
        changes = {"max_steps": 2, "validate_every_steps": 2, "network": {"dropout": 0.0}}
        plan = cohort.plan("compiled", speed=speed, is_deterministic=False, **changes)
        assert train(cohort.train_flags(plan, out)) == 0
        record = json.loads((out / "record.json").read_text())
        assert record["speed"]["is_compiled"] is is_compiled
        weights.append(read_model(out / "model.pt")["weights"])
    assert weights[0].keys() == weights[1].keys()
    for name, value in weights[0].items():
        if not name.endswith("conv.bias"):  # Adam steps on the rounding of what has no gradient
            assert torch.allclose(value, weights[1][name], atol=1e-3), name
