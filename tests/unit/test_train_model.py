"""train_model: what a run writes, what it learns, and what it refuses."""

import json
import math
from itertools import pairwise
from pathlib import Path

import h5py
import pandas as pd
import pytest
import torch
from model_factory import tiny_settings
from train_model import main

from quorum.errors import InputError
from quorum.models import read_model
from quorum.optimizers import learning_rate
from quorum.tables import read_table


def test_a_network_run_writes_model_history_and_record(cohort, tmp_path):
    plan = cohort.plan("written")
    assert main(cohort.train_flags(plan, tmp_path)) == 0
    history = read_table(tmp_path / "history.csv", "history")
    assert history["step"].tolist() == [1, 2, 3, 4, 5, 6]
    assert history["validation_dice"].notna().tolist() == [False, False, True] * 2
    assert history["epoch"].tolist() == [0] * 6  # 12 visits of 12 nodules
    assert set(history["data_kind"]) == {"phantom"}
    model = read_model(tmp_path / "model.pt")
    assert (model["experiment"], model["fold"], model["data_kind"]) == ("written", 0, "phantom")
    assert 0.2 <= model["threshold"] <= 0.8
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["num_parameters"] == sum(w.numel() for w in model["weights"].values())
    assert record["hardware"]["threads"] == 1
    assert record["made_by"]["versions"]["torch"]
    assert not (tmp_path / "checkpoints").exists()


def test_the_seed_alone_changes_the_run(cohort, tmp_path):
    plan, losses = cohort.plan("seeded", max_steps=2), []
    for number, seed in enumerate([0, 0, 1]):
        out = tmp_path / str(number)
        main(cohort.train_flags(plan, out, seed=seed))
        losses.append(pd.read_csv(out / "history.csv")["loss"].tolist())
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


@pytest.mark.parametrize(
    "changes",
    [
        {"target": "per_reader"},
        {"target": "random_reader", "inputs": "coverage"},
        {"target": "staple", "accumulate_batches": 2},
        {"target": "soft", "optimizer": {"name": "sgd"}, "ema_decay": 0.0},
        {"training_crop_vox": [8, 16, 16], "max_gradient_norm": None},
    ],
)
def test_every_choice_trains(cohort, tmp_path, changes):
    plan = cohort.plan("choices", max_steps=2, **changes)
    assert main(cohort.train_flags(plan, tmp_path)) == 0
    assert pd.read_csv(tmp_path / "history.csv")["loss"].notna().all()


def test_a_network_learns_balls(cohort, tmp_path):
    settings = {"max_steps": 80, "validate_every_steps": 40, "ema_decay": 0.0, "batch_size": 4}
    changes = {"network": {"channels": [8, 16], "dropout": 0.0}, **settings}
    plan = cohort.plan("learns", optimizer={"learning_rate": 0.01}, **changes)
    main(cohort.train_flags(plan, tmp_path))
    assert read_model(tmp_path / "model.pt")["validation_dice"] > 0.8


def test_it_stops_early_when_nothing_gets_better(cohort, tmp_path):
    slow = {"learning_rate": 1e-12}
    plan = cohort.plan(
        "early", patience_validations=2, max_steps=50, validate_every_steps=2, optimizer=slow
    )
    main(cohort.train_flags(plan, tmp_path))
    assert len(pd.read_csv(tmp_path / "history.csv")) == 6


def test_an_exploding_loss_names_step_nodules_and_checkpoint(cohort, tmp_path):
    plan = cohort.plan(
        "explodes", optimizer={"learning_rate": 1e30}, max_gradient_norm=None, max_steps=30
    )
    with pytest.raises(InputError) as caught:
        main(cohort.train_flags(plan, tmp_path))
    text = str(caught.value)
    assert "at step" in text
    assert "nodules" in text
    assert "last good checkpoint" in text
    assert not (tmp_path / "model.pt").exists()


def test_a_baseline_has_no_steps(cohort, tmp_path):
    plan = cohort.plan("ball", method="ball")
    board = tmp_path / "tensorboard"
    flags = [*cohort.train_flags(plan, tmp_path), "--out-tensorboard", str(board)]
    assert main(flags) == 0
    assert board.is_dir()
    assert len(read_table(tmp_path / "history.csv", "history")) == 0
    numbers = read_model(tmp_path / "model.pt")["numbers"]
    assert 6 < numbers["diameter_mm"] < 16
    assert numbers["training_dice"] > 0.3


def test_folds_that_cannot_be_trained(cohort, tmp_path):
    plan = cohort.plan("folds")
    flags = cohort.train_flags(plan, tmp_path, fold=7)
    with pytest.raises(InputError, match="fold 7 of 5"):
        main(flags)
    splits = pd.read_csv(cohort.splits)
    alone = tmp_path / "splits.csv"
    splits.assign(part="fold0").to_csv(alone, index=False)
    flags = cohort.train_flags(plan, tmp_path)
    flags[flags.index("--splits") + 1] = str(alone)
    with pytest.raises(InputError, match="hold no nodule"):
        main(flags)
    splits.iloc[1:].to_csv(alone, index=False)
    with pytest.raises(InputError, match="TEST-0000"):
        main(flags)


def test_shards_that_cannot_be_read(cohort, tmp_path):
    plan = cohort.plan("shards")
    flags = cohort.train_flags(plan, tmp_path)
    place = flags.index("--shards") + 1
    for content in (None, b"not HDF5", Path(cohort.shards[0]).read_bytes()[:5000]):
        bad = tmp_path / "bad.h5"
        if content is not None:
            bad.write_bytes(content)
        flags[place] = str(bad)
        with pytest.raises(InputError, match=r"bad\.h5"):
            main(flags)
    with h5py.File(tmp_path / "bad.h5", "w") as file:
        file.attrs["schema"] = "another"
    with pytest.raises(InputError, match="another"):
        main(flags)


def test_a_crop_larger_than_the_cube(cohort, tmp_path):
    plan = cohort.plan("large", crop_vox=[32, 32, 32])
    with pytest.raises(InputError, match="larger than the cube"):
        main(cohort.train_flags(plan, tmp_path))


def test_the_learning_rate_warms_up_and_falls():
    for name in ("cosine", "polynomial"):
        settings = tiny_settings(max_steps=100, schedule={"name": name, "warmup_steps": 10})
        rates = [learning_rate(settings, step) for step in range(100)]
        highest = settings["optimizer"]["learning_rate"]
        assert max(rates) == rates[10] == pytest.approx(highest)
        assert all(a < b for a, b in pairwise(rates[:11]))
        assert all(a > b for a, b in pairwise(rates[10:]))
        assert 0 < rates[-1] < highest / 20
        # Half-way between the warm-up and the end.
        half = {"cosine": 0.5, "polynomial": 0.5**0.9}[name]
        assert rates[55] == pytest.approx(highest * half)
    settings["schedule"]["name"] = "constant"
    assert learning_rate(settings, 99) == highest


def test_files_that_are_no_model(tmp_path):
    path = tmp_path / "model.pt"
    with pytest.raises(InputError, match="can't be read"):
        read_model(path)
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="can't be read"):
        read_model(path)
    torch.save({"weights": torch.tensor(math.pi)}, path)
    with pytest.raises(InputError, match="no model"):
        read_model(path)


@pytest.mark.parametrize("name", ["dynunet", "unetplusplus"])
def test_a_network_that_offers_deep_supervision_is_trained_on_several_outputs(name):
    from quorum.losses import supervised_loss
    from quorum.networks import build_network

    channels = {"dynunet": [4, 8, 8, 8], "unetplusplus": [4, 4, 4, 4, 4, 4]}[name]
    block = {"name": name, "channels": channels, "deep_supervision": True}
    if name == "dynunet":
        block["strides"] = [[1, 1, 1], [2, 2, 2], [2, 2, 2], [1, 2, 2]]
    network, image = build_network(block, 1, 1), torch.randn(1, 1, 16, 32, 32)
    outputs = network.train()(image)
    assert len(outputs) > 1
    assert {output.shape for output in outputs} == {image.shape}
    target, counts = (image > 1).float(), torch.ones_like(image)
    supervised_loss({"dice": 1.0, "cross_entropy": 1.0}, outputs, target, counts).backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())
    answer = network.eval()(image)
    assert answer.shape == image.shape
    network.train()
    assert torch.allclose(network(image)[0], answer, atol=1e-4)  # the first output is the answer
