"""What a cluster does to a run: jobs ended, too small, too long; daemons that go and come."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from slurm_cluster import wait_for
from slurm_runs import cluster, submit, submit_words, wait_for_state  # noqa: F401
from workflow.conftest import tiny_copy, tiny_run  # noqa: F401
from workflow_copy import call

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]
ACCEPTED = "results/accept_cubes/accepted.csv"
TRAINED = "results/train_model/unet3d/fold0_seed0/model.pt"
LONG = "train_model={max_steps: 600, checkpoint_every_steps: 20, validate_every_steps: 300}"


@contextlib.contextmanager
def submitting(folder, *flags, **variables):
    """Run `submit` while the block runs; end it, by SIGINT, when it still runs then."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", **variables}
    with open(folder / "submit.txt", "w") as stream:
        words = [str(word) for word in (*submit_words(), *flags)]
        process = subprocess.Popen(
            words, cwd=folder, env=environment, stdout=stream, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.wait(timeout=120)


def ended_well(process, folder, timeout_s=400):
    """Wait for the end of a run and check that all went well in it."""
    assert process.wait(timeout=timeout_s) == 0, (folder / "submit.txt").read_text()[-4000:]


def active(cluster) -> list:  # noqa: F811
    """Return the jobs that wait or run."""
    return [job for job in cluster.jobs() if job[2] in ("PENDING", "RUNNING", "COMPLETING")]


@pytest.fixture
def unchecked(tiny_copy):  # noqa: F811
    """A tiny run whose cubes are to be checked again: one short job."""
    for rule in ("check_cubes", "accept_cubes"):
        shutil.rmtree(tiny_copy / "results" / rule)
    return tiny_copy


@pytest.fixture
def untrained(tiny_copy):  # noqa: F811
    """A tiny run whose network is to be trained again."""
    shutil.rmtree(tiny_copy / "results" / "train_model" / "unet3d")
    return tiny_copy


def wait_for_checkpoint(folder):
    """Return when the training has written a checkpoint."""
    place = folder / "results" / ".checkpoints"
    wait_for(lambda: any(place.rglob("*.pt")), 180, "no checkpoint was written")


def test_a_cancelled_job_starts_again(cluster, unchecked):  # noqa: F811
    with submitting(unchecked, ACCEPTED) as process:
        job = wait_for_state(cluster, "RUNNING")
        cluster.run("scancel", job)
        ended_well(process, unchecked)
    assert (unchecked / ACCEPTED).is_file()
    assert (unchecked / "submit.txt").read_text().count("has been submitted") == 2


def test_a_job_over_its_memory_starts_again_with_more(cluster, unchecked):  # noqa: F811
    request = ("--set-resources", "check_cubes:mem_mb=300*attempt*attempt")
    with submitting(unchecked, ACCEPTED, *request) as process:
        ended_well(process, unchecked)
    text = (unchecked / "submit.txt").read_text()
    assert "mem_mb=300," in text
    assert "mem_mb=1200," in text
    assert "OUT_OF_ME" in text or "FAILED" in text


def test_training_resumes_after_it_was_ended(cluster, untrained):  # noqa: F811
    with submitting(untrained, TRAINED, "--config", LONG) as process:
        job = wait_for_state(cluster, "RUNNING", 180)
        wait_for_checkpoint(untrained)
        cluster.run("scancel", job)
        ended_well(process, untrained)
    log = untrained / "results" / "logs" / "train_model" / "unet3d" / "fold0_seed0.log"
    assert "going on after step" in log.read_text()


def test_a_job_over_its_time_starts_again_and_a_cancelled_run_leaves_none(
    cluster,  # noqa: F811
    untrained,
):
    endless = LONG.replace("600", "1000000")
    limits = ("--set-resources", "train_model:runtime=attempt")
    with submitting(untrained, TRAINED, *limits, "--config", endless) as process:
        first = wait_for_state(cluster, "RUNNING", 180)
        wait_for_state(cluster, "TIMEOUT", 240)
        wait_for(lambda: any(job[0] != first for job in active(cluster)), 120, "no second attempt")
        process.send_signal(signal.SIGINT)
        process.wait(timeout=120)
        wait_for(lambda: not active(cluster), 60, "a job is left")
    assert "runtime=2" in (untrained / "submit.txt").read_text()


def test_the_controller_may_go_and_come(cluster, unchecked):  # noqa: F811
    with submitting(unchecked, ACCEPTED) as process:
        wait_for_state(cluster, "RUNNING")
        cluster.kill("slurmctld")
        time.sleep(5)
        cluster.start_controller()
        ended_well(process, unchecked)
    assert (unchecked / ACCEPTED).is_file()


def test_a_second_start_is_refused_while_the_first_runs(cluster, untrained):  # noqa: F811
    with submitting(untrained, TRAINED, "--config", LONG.replace("600", "1000000")):
        wait_for_state(cluster, "RUNNING", 180)
        second = call(untrained, sys.executable, "scripts/run_workflow.py", "--wait-s", "1")
        assert second.returncode != 0
        assert "Snakemake is at work in" in second.stdout
        direct = submit(untrained, ACCEPTED)
        assert direct.returncode != 0
        assert "lock" in direct.stdout.lower()
    wait_for(lambda: not active(cluster), 60, "a job is left")


def test_a_lost_job_is_refused_until_it_has_ended(cluster, untrained):  # noqa: F811
    """The head node's Snakemake is killed: its job goes on, and nobody may start beside it."""
    with submitting(untrained, TRAINED, "--config", LONG.replace("600", "1000000")) as process:
        job = wait_for_state(cluster, "RUNNING", 180)
        process.kill()
        process.wait()
    shutil.rmtree(untrained / ".snakemake" / "locks", ignore_errors=True)
    result = submit(untrained, ACCEPTED, "--forcerun", "check_cubes")
    assert result.returncode != 0
    assert f"scancel {job}" in result.stdout
    cluster.run("scancel", job)
    wait_for(lambda: not active(cluster), 60, "a job is left")
