"""gains: what flips, threshold, temperature and post-processing do to nodules that chose none."""

import numpy as np
import pandas as pd
import pytest
import torch
from model_factory import make_cohort, tiny_settings
from predict_cubes import scored_gains

from quorum.evaluation import flip_sets
from quorum.gains import COLUMNS, measure_gains
from quorum.shards import open_shards
from quorum.stores import Store

ANSWER = {"temperature": 1.0, "threshold": 0.5, "postprocess": "component", "is_flipped": False}


def store_of(truth, bright):
    """Return nodules whose image is bright where a mask says so; all are covered."""
    count, *shape = truth.shape
    image = torch.from_numpy(np.where(bright, 400, -1000).astype(np.int16))
    box = torch.tensor([[[0, 0, 0], shape]] * count)
    return Store(
        nodule_id=[f"n{k}" for k in range(count)],
        image=image,
        readers=torch.from_numpy(truth.astype(np.uint8)),
        coverage=torch.ones(truth.shape, dtype=torch.uint8),
        staple=None,
        reference=torch.from_numpy(truth),
        box=box,
        num_readers=torch.ones(count, dtype=torch.int64),
    )


def gains_of(store, predict, answer, **settings):
    """Return the rows by step."""
    whole = {"settings": tiny_settings(**settings), "answer": {**ANSWER, **answer}}
    flips = flip_sets(whole["settings"]["flip_axes"])
    return measure_gains(predict, store, **whole, flips=flips).set_index("step")


@pytest.fixture
def nodules():
    """Two nodules: beside the second lies another bright thing of its size, far from the middle."""
    truth = np.zeros((2, 20, 40, 40), bool)
    truth[:, 8:12, 18:22, 18:22] = True
    bright = truth.copy()
    bright[1, 8:12, 18:22, 28:32] = True
    return store_of(truth, bright)


def test_a_step_that_helps_one_nodule_of_two_gains_half_of_what_it_gives(nodules):
    rows = gains_of(nodules, lambda x: 5 * x, {})
    assert list(rows.index) == ["temperature", "flips", "threshold", "component", "holes"]
    row = rows.loc["component"]
    # Two things of one size, one of them the nodule: a Dice of 2/3.
    assert row["is_chosen"]
    assert row["with_step"] == pytest.approx(1)
    assert row["without_step"] == pytest.approx((1 + 2 / 3) / 2)
    assert row["gain"] == pytest.approx(1 / 6)
    assert (row["num_nodules"], row["num_better"], row["num_worse"]) == (2, 1, 0)
    for step in ("flips", "holes", "threshold"):
        assert rows.loc[step, "gain"] == 0
        assert rows.loc[step, "is_chosen"] == (step == "threshold")
    assert set(rows["compared_with"].drop("temperature")) == {"consensus"}


def test_a_step_that_was_not_chosen_is_put_in(nodules):
    row = gains_of(nodules, lambda x: 5 * x, {"postprocess": "none"}).loc["component"]
    assert not row["is_chosen"]
    assert row["gain"] == pytest.approx(1 / 6)


def test_a_threshold_may_lose(nodules):
    # Half sure of all that is dark: a threshold below takes everything.
    row = gains_of(nodules, lambda x: x.clamp(min=-0.1), {"threshold": 0.45}).loc["threshold"]
    assert row["gain"] < 0
    assert row["num_worse"] == 2


def test_flips_take_away_what_one_pass_alone_sees(nodules):
    noise = torch.zeros(16, 32, 32)
    noise[8, 16, 2] = 30.0  # always at this place of what the network is given

    def predict(inputs):
        return 5 * inputs + noise

    rows = gains_of(nodules, predict, {"is_flipped": True, "postprocess": "none"})
    row = rows.loc["flips"]
    assert row["is_chosen"]
    assert row["gain"] > 0
    assert row["num_better"] == 2


def test_the_temperature_is_measured_by_the_cross_entropy(nodules):
    def wrong(inputs):
        return -6 * inputs

    row = gains_of(nodules, wrong, {"temperature": 3.0}).loc["temperature"]
    assert row["measure"] == "cross_entropy"
    assert row["is_chosen"]
    # Every voxel is wrong by a logit of 6, and of 2 when it is tempered.
    assert row["without_step"] == pytest.approx(np.log1p(np.exp(6)), rel=0.02)
    assert row["with_step"] == pytest.approx(np.log1p(np.exp(2)), rel=0.02)
    assert row["gain"] == pytest.approx(row["without_step"] - row["with_step"])
    assert pd.isna(row["num_better"])


def test_a_baseline_has_no_steps(tmp_path):
    cubes = open_shards(make_cohort(tmp_path).shards)
    model = {"settings": tiny_settings(method="ball")}
    found = scored_gains(model, {}, cubes=cubes, chosen=[0, 1], is_flipped=True)
    assert tuple(found.columns) == COLUMNS
    assert found.empty
