"""A probabilistic network through the rules: trained on drawn readers, its outlines kept."""

import h5py
import numpy as np
import pytest
import yaml
from model_factory import make_cohort, tiny_settings
from predict_cubes import main as predict
from train_model import main as train

from quorum.sampling import num_samples

NETWORK = {"name": "prob_unet", "channels": [4, 8], "latent_channels": [4], "num_samples": 3}
LOSSES = {"dice": 0.0, "cross_entropy": 1.0}


@pytest.fixture(scope="module")
def predictions(tmp_path_factory):
    """Two predictions of one tiny run: offset 0 alone, and the same again with another offset."""
    cohort = make_cohort(tmp_path_factory.mktemp("cohort"))
    settings = {**tiny_settings(target="random_reader", losses=LOSSES), "network": NETWORK}
    plan = cohort.folder / "tiny.yaml"
    whole = {"name": "tiny", "consensus": "majority", "settings": settings}
    plan.write_text(yaml.safe_dump(whole))
    out = cohort.folder / "run"
    assert train(cohort.train_flags(plan, out)) == 0
    found = []
    for offsets in ((0,), (0, 4)):
        predict(cohort.predict_flags(plan, out, offsets=offsets))
        with h5py.File(out / "predictions.h5") as file:
            found.append({name: file[name][:] for name in ("samples", "inside_crop")})
    return found


def test_outlines_lie_in_the_crop_of_the_first_click(predictions):
    samples, boxes = predictions[0]["samples"], predictions[0]["inside_crop"][:, 0]
    assert samples.shape == (4, 3, 20, 40, 40)
    assert samples.dtype == np.uint8
    assert set(np.unique(samples)) <= {0, 1}
    for masks, (z0, y0, x0, z1, y1, x1) in zip(samples.copy(), boxes, strict=True):
        masks[:, z0:z1, y0:y1, x0:x1] = 0
        assert not masks.any()


def test_outlines_are_functions_of_nodule_and_seed(predictions):
    np.testing.assert_array_equal(predictions[0]["samples"], predictions[1]["samples"])


def test_other_models_draw_none():
    assert num_samples({"settings": tiny_settings()}) == 0
    assert num_samples({"settings": {"method": "ball", "network": NETWORK}}) == 0
    assert num_samples({"settings": {"method": "network", "network": NETWORK}}) == 3
