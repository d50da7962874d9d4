"""What one step of training does, checked by hand; which checkpoint belongs to which run."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import h5py
import pytest
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment
from model_factory import tiny_settings
from terminations import told_to_end
from train_model import main

from quorum import fitting, losses, trainers, training
from quorum.batches import draw_batch
from quorum.errors import InputError
from quorum.files import sha256_file
from quorum.models import read_model
from quorum.plans import nodules_of, run_parts
from quorum.records import git_state
from quorum.shards import open_shards
from quorum.stores import load_store
from quorum.tables import read_table
from quorum.training import make_network

# Nothing drawn but the order; the rate stays as it is.
PLAIN = {
    "flip_axes": [],
    "max_shift_vox": [0, 0, 0],
    "network": {"dropout": 0.0},
    "schedule": {"name": "constant", "warmup_steps": 0},
}
# The first step of Nesterov's momentum 0.99 is 1.99 times the gradient.
STEEP = {"name": "sgd", "learning_rate": 1.0, "weight_decay": 0.0}
FIRST_STEP = 1.99


def train(cohort, out, **changes) -> dict:
    """Return the weights of a run that is validated after its last step alone."""
    settings = {**PLAIN, "ema_decay": 0.0, **changes}
    settings["validate_every_steps"] = settings["max_steps"]
    plan = cohort.plan(out.name, **settings)
    assert main(cohort.train_flags(plan, out)) == 0
    return read_model(out / "model.pt")["weights"]


def first_weights() -> dict:
    """Return the weights that every run starts from."""
    return make_network(tiny_settings(**PLAIN), 0).state_dict()


def moved_by(weights: dict) -> float:
    """Return how far all weights together are from where they started."""
    first = first_weights()
    return float(sum((weights[k] - first[k]).double().square().sum() for k in first)) ** 0.5


def test_the_kept_weights_are_the_average_of_those_of_every_step(cohort, tmp_path):
    start = first_weights()
    one = train(cohort, tmp_path / "one", max_steps=1)
    two = train(cohort, tmp_path / "two", max_steps=2)
    kept = train(cohort, tmp_path / "average", max_steps=2, ema_decay=0.9)
    for name, value in kept.items():
        # The decay of step k is (1 + k) / (10 + k) as long as that is below 0.9.
        average = 0.1 * start[name] + 0.9 * one[name]
        average = 2 / 11 * average + 9 / 11 * two[name]
        assert torch.allclose(value, average, atol=1e-6), name
    assert any(not torch.equal(value, two[name]) for name, value in kept.items())


def test_a_gradient_is_clipped_to_its_bound(cohort, tmp_path):
    shared = {"max_steps": 1, "optimizer": STEEP}
    free = train(cohort, tmp_path / "free", max_gradient_norm=None, **shared)
    clipped = train(cohort, tmp_path / "clipped", max_gradient_norm=0.01, **shared)
    assert moved_by(free) > 10 * FIRST_STEP * 0.01
    assert moved_by(clipped) == pytest.approx(FIRST_STEP * 0.01, rel=1e-3)


def test_two_batches_that_are_accumulated_are_one_of_twice_their_size(cohort, tmp_path):
    # The loss is a mean over nodules, so that halves count alike.
    shared = {"max_steps": 1, "losses": {"dice": 1.0, "cross_entropy": 0.0}, "optimizer": STEEP}
    whole = train(cohort, tmp_path / "whole", batch_size=4, **shared)
    halves = train(cohort, tmp_path / "halves", batch_size=2, accumulate_batches=2, **shared)
    assert moved_by(whole) > 0.01
    for name, value in whole.items():
        assert torch.allclose(value, halves[name], atol=1e-5), name


def test_a_loss_that_is_no_number_names_its_nodules_and_the_checkpoint(
    cohort, tmp_path, monkeypatch
):
    calls, loss = [], losses.network_loss

    def fail_at_fifth(*args, **options):
        calls.append(1)
        return loss(*args, **options) * (float("nan") if len(calls) == 5 else 1)

    monkeypatch.setattr("quorum.training.network_loss", fail_at_fifth)
    plan = cohort.plan("broken", checkpoint_every_steps=2, max_steps=6)
    with pytest.raises(InputError, match="the loss became nan at step 5 on the nodules") as caught:
        main(cohort.train_flags(plan, tmp_path))
    cubes = open_shards(cohort.shards)
    parts = run_parts(0, 5)
    chosen = nodules_of(cubes, read_table(cohort.splits, "splits"), parts["train"])
    store, settings = load_store(cubes, chosen), tiny_settings()
    draw = draw_batch(store, settings, tuple(settings["crop_vox"]), seed=0, number=4)
    names = sorted(store.nodule_id[k] for k in draw.cube.tolist())
    assert f"on the nodules {', '.join(names)};" in str(caught.value)
    path = Path(re.search(r"last good checkpoint: (\S+)\)", str(caught.value))[1])
    assert path.is_file()
    assert path.name.startswith("step00000004-")


@pytest.mark.parametrize("what", ["code", "data"])
def test_other_code_or_data_is_another_run(cohort, tmp_path, monkeypatch, what):
    plan = cohort.plan("keyed")
    with told_to_end(1):
        assert main(cohort.train_flags(plan, tmp_path)) == fitting.EXIT_TEMPORARY
    folder = next((tmp_path / "checkpoints").iterdir())
    flags = cohort.train_flags(plan, tmp_path / "second")
    if what == "code":
        monkeypatch.setattr(fitting, "code_digest", lambda *_: "another")
    else:
        other = tmp_path / "shard00.h5"
        shutil.copyfile(cohort.shards[0], other)
        with h5py.File(other, "r+") as file:
            file["image"][...] = file["image"][...] + 1
        flags[flags.index(cohort.shards[0])] = str(other)
    with pytest.raises(InputError, match=f"another run: .*{what} was"):
        main([*flags, "--resume", str(folder)])
    assert main(flags) == 0, "without --resume it is a run of its own"


def test_the_record_names_the_split_and_the_cubes(cohort, tmp_path):
    main(cohort.train_flags(cohort.plan("recorded", max_steps=1), tmp_path))
    made_by = json.loads((tmp_path / "record.json").read_text())["made_by"]
    found = made_by["input_sha256"]
    assert found["splits:splits.csv"] == sha256_file(cohort.splits)
    assert found["shards:shard00.h5"] == sha256_file(cohort.shards[0])
    assert found["shards:shard01.h5"] == sha256_file(cohort.shards[1])


def test_energy_of_all_sessions_is_added_up(cohort, tmp_path, monkeypatch):
    class Meter:
        def __init__(self, device):
            assert device == ("cuda" if torch.cuda.is_available() else "cpu")

        def spent_j(self):
            return 3.0

    saved = []

    def note(folder, step, state):
        saved.append(state["energy_j"])
        return save(folder, step, state)

    save = training.save_checkpoint
    monkeypatch.setattr(training, "EnergyMeter", Meter)
    monkeypatch.setattr(training, "save_checkpoint", note)
    plan = cohort.plan("energy")
    with told_to_end(1):
        assert main(cohort.train_flags(plan, tmp_path)) == fitting.EXIT_TEMPORARY
    in_first = len(saved)
    assert main(cohort.train_flags(plan, tmp_path)) == 0
    assert len(saved) > in_first > 0
    assert saved == [3.0 * (k + 1) for k in range(len(saved))]
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["energy_j"] == saved[-1]


def test_git_tells_the_commit_and_whether_files_differ(tmp_path, git):
    assert git_state(tmp_path) is None
    git("init", "-q")
    (tmp_path / "file").write_text("one\n")
    git("add", "file")
    git("commit", "-q", "-m", "one")
    commit = git("rev-parse", "HEAD")
    assert git_state(tmp_path) == {"commit": commit, "is_changed": False}
    (tmp_path / "file").write_text("two\n")
    assert git_state(tmp_path) == {"commit": commit, "is_changed": True}


@pytest.fixture
def git(tmp_path):
    """Call git in the test's folder, as somebody; return what it printed."""
    who = ("-c", "user.name=Test", "-c", "user.email=test@example.org")

    def call(*words):
        command = ["git", "-C", str(tmp_path), *who, *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    return call


def test_processes_look_for_dead_parameters_only_where_a_network_has_some():
    assert trainers.choose_strategy("unet3d", 1) == "auto"
    for name, has_dead in (("unet3d", False), ("unetr", True), ("unetplusplus", True)):
        strategy = trainers.choose_strategy(name, 2)
        assert strategy._ddp_kwargs["find_unused_parameters"] is has_dead, name


@pytest.mark.parametrize(
    ("is_slurm", "num_tasks", "kind"),
    [
        (False, "4", LightningEnvironment),
        (True, "1", LightningEnvironment),
        (True, "4", SLURMEnvironment),
    ],
)
def test_several_tasks_of_slurm_are_processes_and_one_starts_its_own(
    monkeypatch, is_slurm, num_tasks, kind
):
    monkeypatch.setattr(SLURMEnvironment, "detect", staticmethod(lambda: is_slurm))
    monkeypatch.setenv("SLURM_NTASKS", num_tasks)
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", num_tasks)
    found = trainers.choose_environment()
    assert type(found) is kind
    assert not getattr(found, "auto_requeue", False)
