"""Every network of the catalogue through the scripts: trained in bf16, and predicting."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from model_factory import make_cohort
from needs import require
from predict_cubes import main as predict
from test_network_catalogue import learning_crop, network_of
from train_model import main as train

from quorum.closed_schema import load_yaml, merge
from quorum.models import read_model
from quorum.networks import network_names
from quorum.predictions import open_predictions
from quorum.settings import experiment_settings
from quorum.speed import Speed

# Their gradients are compared in `make test` (transfuse's were wrong), all others' in test-full.
QUICK = ("segresnet", "transfuse", "unet3d")
# position_unet needs a table of slices too: tests/unit/test_places.py takes it through the scripts.
OTHERS = [name for name in network_names() if name != "position_unet"]


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Two small shards of cubes that hold the catalogue's largest crop, and a split."""
    return make_cohort(tmp_path_factory.mktemp("cohort"), shape=(32, 64, 64))


def soil_memory():
    """Leave large numbers in the memory that the next tensors get."""
    for exponent in range(10, 23, 2):
        torch.full((1 << exponent,), 1e30)


def gradients(network, image, direction, *, precision):
    """Return the gradients of the answer's sum along a direction, by parameter."""
    for parameter in network.parameters():
        parameter.grad = None
    soil_memory()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
        answer = network(image)
    (answer.float() * direction).sum().backward()
    return {k: p.grad.clone() for k, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("is_channels_last", [True, False])
@pytest.mark.parametrize(
    "name",
    [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in network_names()],
)
def test_gradients_in_bf16_are_those_of_fp32_but_for_rounding(name, is_channels_last):
    """On crops so small that kernels are longer than the deepest levels."""
    crop_vox = learning_crop(name)
    network, num_inputs = network_of(name, crop_vox)
    speed = Speed("cpu", "bf16", is_channels_last, is_compiled=False)
    network = network.to(memory_format=speed.layout()).eval()
    speed.guard(network)
    image = torch.randn(2, num_inputs, *crop_vox).contiguous(memory_format=speed.layout())
    direction = torch.randn(network(image).shape)
    expected = gradients(network, image, direction, precision="fp32")
    largest = max(float(value.abs().max()) for value in expected.values())
    for _ in range(2):
        found = gradients(network, image, direction, precision="bf16")
        for key, value in expected.items():
            error = float((found[key] - value).abs().max())
            assert error <= 4 * float(value.abs().max()) + 0.2 * largest, key


def test_only_a_kernel_longer_than_its_input_leaves_bf16():
    network = torch.nn.Conv3d(1, 1, 3, padding=2, dilation=2)
    Speed("cpu", "bf16", is_channels_last=True, is_compiled=False).guard(network)
    kinds = {}
    for side in (4, 5):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            kinds[side] = network(torch.randn(1, 1, 8, 8, side)).dtype
    assert kinds == {4: torch.float32, 5: torch.bfloat16}


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
