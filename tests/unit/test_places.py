"""Where a crop lies: the middle of the series is 0, its ends are 1, a flip mirrors the chest."""

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from model_factory import make_cohort, tiny_settings
from predict_cubes import main as predict
from train_model import main as train

from quorum.batches import cut_batch, plain_draw
from quorum.errors import InputError
from quorum.places import add_places, crop_places, cube_places
from quorum.plans import make_plan
from quorum.predictions import open_predictions
from quorum.shards import open_shards
from quorum.stores import load_store
from quorum.tables import write_table

SLICES = pd.DataFrame({"series_uid": ["a"] * 3 + ["b"] * 2, "z_mm": [-300, -200, -100, 0, 50]})


def test_places_of_cubes_by_hand():
    found = cube_places(
        [[0, 0, -200], [100, -200, -100], [0, 0, 0]], "aab", slices=SLICES, spacing_mm=1.0
    )
    np.testing.assert_allclose(found[:, 0], [[0, 0, 0], [1, -1, 0.5], [-1, 0, 0]])
    np.testing.assert_allclose(found[:, 1, 0], [0.01, 0.01, 0.04])
    np.testing.assert_allclose(found[:, 1, 1:], 0.005)


def test_a_series_without_slices():
    with pytest.raises(InputError, match="series c"):
        cube_places([[0, 0, 0]], "c", slices=SLICES, spacing_mm=1.0)


def test_a_moved_crop_moves_its_place_and_a_flipped_one_mirrors_it():
    place = torch.tensor([[[0.2, 0.3, -0.4], [0.01, 0.02, 0.02]]])
    draw = plain_draw([0, 0, 0], [[2, 4, 4], [4, 4, 4], [2, 4, 4]])
    draw.is_flipped[2, 2] = True
    found = crop_places(place, (20, 40, 40), draw, (16, 32, 32))
    expected = [[0.2, 0.3, -0.4], [0.22, 0.3, -0.4], [0.2, 0.3, 0.4]]
    torch.testing.assert_close(found, torch.tensor(expected))


@pytest.fixture
def slices(tmp_path):
    """The slices of the cohort's series, as a file."""
    uids = [f"1.3.6.1.{k}" for k in range(12) for _ in range(2)]
    frame = pd.DataFrame({"series_uid": uids, "slice_index": [0, 1] * 12})
    path = tmp_path / "slices.parquet"
    write_table(frame.assign(z_mm=[-100.0, 100.0] * 12), path, "slices", {})
    return path


def test_inputs_hold_the_place_where_the_plan_says_so(tmp_path, slices):
    cubes = open_shards(make_cohort(tmp_path).shards)
    for inputs, channels in (("image", 1), ("position", 4)):
        settings = tiny_settings(inputs=inputs)
        add_places(cubes, settings, [str(slices)])
        store = load_store(cubes, [0, 1])
        found = cut_batch(store, plain_draw([1], [[2, 4, 4]]), (16, 32, 32), settings)[0]
        assert found.shape == (1, channels, 16, 32, 32)
    assert not found[:, 1:].any()
    moved = cut_batch(store, plain_draw([1], [[4, 4, 4]]), (16, 32, 32), settings)[0]
    torch.testing.assert_close(moved[0, 1], torch.full((16, 32, 32), 0.02))


def test_a_plan_with_the_position_needs_the_table_and_a_network_that_needs_it_is_told_so(tmp_path):
    cubes = open_shards(make_cohort(tmp_path).shards)
    with pytest.raises(InputError, match="--slices"):
        add_places(cubes, tiny_settings(inputs="position"), None)
    network = {"name": "position_unet"}
    changes = tiny_settings()
    changes["network"] = network
    with pytest.raises(InputError, match="inputs: position"):
        make_plan("tiny", changes, "majority")


def test_a_network_that_is_told_its_place_trains_and_predicts(tmp_path, slices):
    cohort, plan, out = make_cohort(tmp_path), tmp_path / "tiny.yaml", tmp_path / "run"
    network = {"name": "position_unet", "channels": [4, 8], "width": 4}
    settings = {**tiny_settings(inputs="position", max_steps=3), "network": network}
    whole = {"name": "tiny", "consensus": "majority", "settings": settings}
    plan.write_text(yaml.safe_dump(whole))
    assert train([*cohort.train_flags(plan, out), "--slices", str(slices)]) == 0
    predict([*cohort.predict_flags(plan, out), "--slices", str(slices)])
    with open_predictions(out / "predictions.h5") as found:
        assert found["probability"][:].max() > 0
    with pytest.raises(InputError, match="--slices"):
        predict(cohort.predict_flags(plan, out))
