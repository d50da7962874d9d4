"""Fixtures of the tests on SLURM: a cluster of one node, and the tiny pipeline's run on it."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from needs import require
from slurm_cluster import MARK, missing_reason, start_cluster, wait_for
from workflow_copy import TINY, call, copy_project, failed_logs

PROFILE = "workflow/profiles/slurm"
# A job's state is looked at early, so that tests are short.
QUICK = ("--slurm-init-seconds-before-status-checks", "3", "--latency-wait", "5")
WITHOUT_ACCOUNTING = ("--slurm-no-account",)
WITH_ACCOUNTING = ("--slurm-status-command", "sacct")
ACCEPTED = "results/accept_cubes/accepted.csv"
TRAINED = "results/train_model/unet3d/fold0_seed0/model.pt"
TRAINING_LOG = "results/logs/train_model/unet3d/fold0_seed0.log"
# Less than Python and Snakemake hold from their start: SLURM measures in steps of time, and a job
# that is over its limit at its end alone can be gone before. The second attempt has enough.
TOO_LITTLE_MEMORY = ("--set-resources", "check_cubes:mem_mb=100*attempt**5")
ACTIVE = ("PENDING", "RUNNING", "COMPLETING")
# How long a test waits for what takes seconds on a machine with nothing else to do.
PATIENCE_S = 600


def submit(folder: Path, *flags, has_accounting: bool = False, **variables):
    """Run the tiny configuration through the project's own SLURM profile."""
    return call(folder, *submit_words(has_accounting), *flags, **variables)


def submit_words(has_accounting: bool = False) -> tuple:
    """Return the command line of `submit`."""
    words = ("snakemake", "--workflow-profile", PROFILE, "--configfile", "config/tiny.yaml")
    return (*words, *QUICK, *(WITH_ACCOUNTING if has_accounting else WITHOUT_ACCOUNTING))


def fresh_project(folder: Path) -> Path:
    """Return a copy of the project without results, with the tiny configuration."""
    copy_project(folder)
    (folder / "config" / "tiny.yaml").write_text(TINY)
    return folder


def wait_for_state(cluster, state: str, timeout_s: float = PATIENCE_S) -> str:
    """Return the id of the first job that SLURM shows in `state`."""
    found = []

    def is_there():
        found[:] = [job[0] for job in cluster.jobs() if job[2] == state]
        return bool(found)

    wait_for(is_there, timeout_s, f"no job got {state}")
    return found[0]


def training(max_steps: int) -> tuple:
    """Return the flags of a training of many short steps, with a checkpoint after each 10."""
    small = "training_crop_vox: [8, 16, 16], batch_size: 1"
    rhythm = f"checkpoint_every_steps: 10, validate_every_steps: {max_steps}"
    return ("--config", f"train_model={{max_steps: {max_steps}, {rhythm}, {small}}}")


@contextlib.contextmanager
def submitting(folder: Path, *flags, has_accounting: bool = False, **variables):
    """Run `submit` while the block runs; end it as Ctrl-C does where it still runs then."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", **variables}
    with open(folder / "submit.txt", "w") as stream:
        process = subprocess.Popen(
            [str(word) for word in (*submit_words(has_accounting), *flags)],
            cwd=folder,
            env=environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
            # A shell starts what runs in its background deaf to Ctrl-C, and so these tests too.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        try:
            yield process
        finally:
            interrupt(process)


def interrupt(process):
    """End a run as Ctrl-C does, where it still runs."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    process.wait(timeout=PATIENCE_S)


def end_well(process, folder: Path):
    """Wait for the end of a run and check that all went well in it."""
    code = process.wait(timeout=PATIENCE_S)
    assert code == 0, (folder / "submit.txt").read_text()[-4000:] + failed_logs(folder)


def submissions(folder: Path) -> list[str]:
    """Return the ids of the jobs that `submitting` has submitted."""
    text = (folder / "submit.txt").read_text()
    return re.findall(r"has been submitted with SLURM jobid (\w+)", text)


def active(cluster) -> list:
    """Return the jobs that wait or run."""
    return [job for job in cluster.jobs() if job[2] in ACTIVE]


def wait_until_idle(cluster):
    """Return when no job waits or runs; fail when one is left."""
    wait_for(lambda: not active(cluster), PATIENCE_S, "a job is left")


def wait_for_checkpoint(folder: Path):
    """Return when the training has written a checkpoint."""
    place = folder / "results" / ".checkpoints"
    wait_for(lambda: any(place.rglob("*.pt")), PATIENCE_S, "no checkpoint was written")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A running cluster of one node with a declared GPU."""
    reason = missing_reason()
    require(not reason, reason)
    with start_cluster(tmp_path_factory.mktemp(MARK)) as running:
        yield running


@pytest.fixture(scope="module")
def slurm_run(cluster, tmp_path_factory) -> Path:
    """A copy of the project in which the tiny configuration has run on the cluster; read-only."""
    folder = fresh_project(tmp_path_factory.mktemp("slurm_run") / "project")
    started = time.monotonic()
    result = submit(folder)
    assert result.returncode == 0, result.stdout[-6000:] + failed_logs(folder)
    (folder / "output.txt").write_text(result.stdout)
    (folder / "wall_s.txt").write_text(f"{time.monotonic() - started:.1f}\n")
    return folder
