"""Checkpoints: atomic, keyed, torn ones left aside; a killed run goes on exactly."""

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import torch
from model_factory import make_cohort
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from quorum.checkpoints import (
    differences,
    list_checkpoints,
    load_newest,
    open_folder,
    refuse_other_run,
    remove_folder,
    run_key,
    save_checkpoint,
)
from quorum.errors import InputError

PARTS = {"plan": {"name": "tiny"}, "run": [0, 5, 0]}


def test_the_newest_two_are_kept_and_the_newest_is_loaded(tmp_path):
    folder = open_folder(tmp_path, PARTS)
    assert load_newest(folder) is None
    for step in (2, 9, 10):
        save_checkpoint(folder, step, {"step": step, "weights": {"a": torch.full((3,), step)}})
    assert [path.name[:12] for path in list_checkpoints(folder)] == ["step00000010", "step00000009"]
    assert load_newest(folder)["step"] == 10
    assert not list(folder.glob("*.tmp*"))


def test_the_later_one_of_a_step_takes_the_place_of_the_one_before_its_validation(tmp_path):
    folder = open_folder(tmp_path, PARTS)
    for step, dice in ((1, None), (1, 0.1), (2, None), (2, 0.2), (3, None), (3, 0.3)):
        save_checkpoint(folder, step, {"step": step, "dice": dice})
        assert load_newest(folder) == {"step": step, "dice": dice}
    steps = [path.name[:12] for path in list_checkpoints(folder)]
    assert steps == ["step00000003", "step00000002"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_torn_checkpoint_falls_back_to_the_one_before(tmp_path, damage, caplog):
    folder = open_folder(tmp_path, PARTS)
    for step in (1, 2):
        save_checkpoint(folder, step, {"step": step, "values": torch.arange(1000)})
    newest = list_checkpoints(folder)[0]
    content = bytearray(newest.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    newest.write_bytes({"cut": content[:-10], "flipped": content, "empty": b""}[damage])
    assert load_newest(folder)["step"] == 1
    assert newest.name in caplog.text


def test_another_plan_has_another_folder_and_is_refused_when_named(tmp_path):
    other = {**PARTS, "plan": {"name": "other"}}
    assert run_key(PARTS) != run_key(other)
    folder = open_folder(tmp_path, PARTS)
    save_checkpoint(folder, 1, {"step": 1})
    assert load_newest(open_folder(tmp_path, other)) is None
    refuse_other_run(folder, PARTS)
    with pytest.raises(InputError, match=r"another run: plan\.name was tiny and is other;"):
        refuse_other_run(folder, other)
    assert differences({"a": {"b": [1], "c": 2}, "d": 3}, {"a": {"b": [2], "c": 2}}) == [
        "a.b was [1] and is [2]",
        "d was 3 and is None",
    ]
    with pytest.raises(InputError, match=r"key\.json"):
        refuse_other_run(tmp_path / "nowhere", PARTS)


def test_removal_leaves_other_runs_alone(tmp_path):
    mine, other = open_folder(tmp_path, PARTS), open_folder(tmp_path, {"plan": 1})
    remove_folder(mine)
    assert not mine.exists()
    assert other.exists()
    remove_folder(other)
    assert not tmp_path.exists()


def start(root, flags, log):
    """Start train_model in a group of its own, in a shell as its rule does."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = shlex.join([sys.executable, str(root / "scripts" / "train_model.py"), *flags])
    line = f"set -euo pipefail; trap '' TERM; {command} 2>&1 | tee {log.name}.tee"
    return subprocess.Popen(
        ["bash", "-c", line],
        stdout=log,
        stderr=log,
        env=environment,
        cwd=f"{log.name}.d",
        start_new_session=True,
    )


def wait_for_step(folder, step, process):
    """Wait until a checkpoint of at least this step is there."""
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        names = sorted(path.name for path in folder.glob("*/step*.pt"))
        if names and int(names[-1][4:12]) >= step:
            return
        time.sleep(0.005)
    raise AssertionError(f"no checkpoint of step {step}; the process ended with {process.poll()}")


def run_interrupted(root, flags, out, interruptions):
    """Start a run again and again, each time ended by a signal after a step; return the codes."""
    codes = []
    for number, (step, number_of_signal) in enumerate([*interruptions, (None, None)]):
        path = out / f"run{number}.log"
        (out / f"run{number}.log.d").mkdir(parents=True)
        with open(path, "w") as log:
            process = start(root, flags, log)
            if step is not None:
                wait_for_step(out / "checkpoints", step, process)
                os.killpg(process.pid, number_of_signal)
            codes.append(process.wait(timeout=180))
        assert not any((out / f"run{number}.log.d").iterdir()), "something was left in the cwd"
    return codes


def test_worker_processes_outlive_the_signal_to_the_job_s_group(root, tmp_path):
    cohort = make_cohort(tmp_path)
    plan, out = cohort.plan(max_steps=200, checkpoint_every_steps=3), tmp_path / "streamed"
    flags = [*cohort.train_flags(plan, out), "--loading", "workers"]
    assert run_interrupted(root, flags, out, [(6, signal.SIGTERM)]) == [75, 0]
    assert "ended by SIGTERM" in (out / "run0.log").read_text()
    assert "going on after step" in (out / "run1.log").read_text()


@pytest.mark.slow
def test_a_run_killed_at_random_moments_is_the_undisturbed_one(root, tmp_path):
    seed = int(os.environ.get("QUORUM_KILL_SEED", time.time_ns() % 10**6))
    print(f"QUORUM_KILL_SEED={seed}")
    generator, cohort = random.Random(seed), make_cohort(tmp_path)
    changes = {"intensity": {"max_shift_hu": 50.0, "max_scale": 0.1, "noise_hu": 20.0}}
    changes["elastic"] = {"max_displacement_vox": 2.0, "grid_vox": 8}
    plan = cohort.plan(max_steps=300, validate_every_steps=50, checkpoint_every_steps=7, **changes)
    calm, hit = tmp_path / "calm", tmp_path / "hit"
    assert run_interrupted(root, cohort.train_flags(plan, calm), calm, []) == [0]
    hit.mkdir()
    flags = [*cohort.train_flags(plan, hit), "--out-tensorboard", str(hit / "board")]
    codes = []
    for number in range(40):
        (hit / f"log{number}.d").mkdir()
        with open(hit / f"log{number}", "w") as log:
            process = start(root, flags, log)
            try:
                # Importing takes seconds: most kills shall fall into the training after it.
                codes.append(process.wait(timeout=generator.uniform(0, 14)))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                codes.append(process.wait(timeout=60))
        if codes[-1] == 0:
            break
    assert codes[-1] == 0
    assert set(codes[:-1]) == {-signal.SIGKILL}
    logs = "".join(path.read_text() for path in sorted(hit.glob("log*")) if path.is_file())
    assert "going on after step" in logs
    assert_same_run(calm, hit)


@pytest.mark.slow
def test_two_processes_killed_and_told_to_end_are_the_undisturbed_ones(root, tmp_path):
    cohort = make_cohort(tmp_path)
    plan = cohort.plan(max_steps=160, validate_every_steps=40, checkpoint_every_steps=3)
    calm, hit = tmp_path / "calm", tmp_path / "hit"
    flags = [*cohort.train_flags(plan, calm), "--devices", "2"]
    assert run_interrupted(root, flags, calm, []) == [0]
    flags = [*cohort.train_flags(plan, hit), "--devices", "2"]
    codes = run_interrupted(root, flags, hit, [(20, signal.SIGKILL), (60, signal.SIGTERM)])
    assert codes == [-signal.SIGKILL, 75, 0]
    assert_same_run(calm, hit)


def assert_same_run(*folders):
    """Fail unless two runs have one history, timings apart, and the same weights."""
    histories = [pd.read_csv(folder / "history.csv") for folder in folders]
    pd.testing.assert_frame_equal(*(h.drop(columns="duration_s") for h in histories))
    models = [torch.load(folder / "model.pt", weights_only=True) for folder in folders]
    for name, weights in models[0]["weights"].items():
        assert torch.equal(weights, models[1]["weights"][name]), name


def test_a_run_killed_and_resumed_is_the_undisturbed_one(root, tmp_path):
    cohort = make_cohort(tmp_path)
    plan = cohort.plan(max_steps=160, validate_every_steps=40, checkpoint_every_steps=3)
    calm, hit = tmp_path / "calm", tmp_path / "hit"
    assert run_interrupted(root, cohort.train_flags(plan, calm), calm, []) == [0]
    interruptions = [(20, signal.SIGKILL), (60, signal.SIGTERM)]
    flags = [*cohort.train_flags(plan, hit), "--out-tensorboard", str(hit / "board")]
    codes = run_interrupted(root, flags, hit, interruptions)
    assert codes == [-signal.SIGKILL, 75, 0]
    assert "going on after step" in (hit / "run1.log").read_text()
    assert "going on after step" in (hit / "run2.log").read_text()
    histories = [pd.read_csv(folder / "history.csv") for folder in (calm, hit)]
    pd.testing.assert_frame_equal(*(h.drop(columns="duration_s") for h in histories))
    assert histories[0]["step"].tolist() == list(range(1, 161))
    assert histories[0]["validation_dice"].count() == 4
    models = [torch.load(folder / "model.pt", weights_only=True) for folder in (calm, hit)]
    assert models[0]["threshold"] == models[1]["threshold"]
    for name, weights in models[0]["weights"].items():
        assert torch.equal(weights, models[1]["weights"][name]), name
    assert not (hit / "checkpoints").exists()
    # TensorBoard's files hold each step once, whatever was written before the kills.
    board = EventAccumulator(str(hit / "board"), size_guidance={"scalars": 0}).Reload()
    written = [(event.step, event.value) for event in board.Scalars("loss")]
    assert [step for step, _ in written] == list(range(1, 161))
    assert [value for _, value in written] == pytest.approx(histories[1]["loss"].tolist())
    assert [event.step for event in board.Scalars("validation_dice")] == [40, 80, 120, 160]
    digests = [json.loads((f / "record.json").read_text())["data_sha256"] for f in (calm, hit)]
    assert digests[0] == digests[1]
