"""Waits for other processes: none lasts for ever, and each ends in one sentence."""

import multiprocessing
import subprocess
import sys
import time

import pytest
import torch
from model_factory import make_cohort, tiny_settings

from quorum import stores, waits, watched_process
from quorum.errors import InputError
from quorum.shards import open_shards
from quorum.step_batches import StepBatches
from quorum.stores import StreamedStore, load_store
from quorum.waits import lost_processes_told


@pytest.fixture(scope="module")
def cubes(tmp_path_factory):
    """Two small shards."""
    return open_shards(make_cohort(tmp_path_factory.mktemp("cohort")).shards)


def stall(*_):
    """Take longer than anybody waits."""
    time.sleep(3600)


def test_cubes_that_never_come_are_not_waited_for(cubes, monkeypatch):
    monkeypatch.setattr(waits, "CUBES_S", 0.5)
    monkeypatch.setattr(stores, "MIN_CUBES_FOR_WORKERS", 1)
    monkeypatch.setattr(stores.CubeReader, "__getitem__", stall)
    with pytest.raises(InputError, match=r"gave none \(DataLoader timed out after 0.5 seconds"):
        load_store(cubes, [0, 1], workers=1)
    for child in multiprocessing.active_children():
        child.join(timeout=30)  # it was killed; alone it would sleep for an hour
    assert not multiprocessing.active_children()


def test_neither_are_steps(cubes, monkeypatch):
    monkeypatch.setattr(waits, "CUBES_S", 0.5)
    monkeypatch.setattr(StepBatches, "__getitem__", stall)
    store = StreamedStore(cubes, [0, 1])
    steps = StepBatches(store, tiny_settings(), seed=0, ranks=(0, 1), first=0)
    with pytest.raises(InputError, match="gave none"), lost_processes_told():
        next(iter(steps.loader(1)))
    in_memory = StepBatches(load_store(cubes, [0]), tiny_settings(), seed=0, ranks=(0, 1), first=0)
    assert in_memory.loader(1).timeout == 0


def test_a_lost_process_is_told_and_any_other_error_left_as_it_is():
    for error in (
        torch.distributed.DistStoreError("Timed out after 1801 seconds waiting for clients"),
        RuntimeError("[/gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]"),
    ):
        expected = pytest.raises(InputError, match="another process of this run was lost")
        with expected, lost_processes_told():
            raise error
    with pytest.raises(RuntimeError, match="shape mismatch"), lost_processes_told():
        raise RuntimeError("shape mismatch")


def test_a_program_that_closed_its_output_and_stays_is_ended(monkeypatch):
    monkeypatch.setattr(watched_process, "END_S", 0.2)
    words = [sys.executable, "-c", "import time; time.sleep(60)"]
    process = subprocess.Popen(words, start_new_session=True)
    watched_process.end_group(process, at_once=False)
    assert process.returncode == -9
    done = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    done.wait(timeout=60)
    watched_process.end_group(done, at_once=False)
    assert done.returncode == 0
