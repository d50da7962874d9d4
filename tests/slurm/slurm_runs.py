"""Fixtures of the tests on SLURM: a cluster of one node, and the tiny pipeline's run on it."""

import time
from pathlib import Path

import pytest
from conftest import require
from slurm_cluster import MARK, missing_reason, start_cluster, wait_for
from workflow_copy import TINY, call, copy_project, failed_logs

PROFILE = "workflow/profiles/slurm"
# A job's state is looked at early, so that tests are short.
QUICK = ("--slurm-init-seconds-before-status-checks", "3", "--latency-wait", "5")
WITHOUT_ACCOUNTING = ("--slurm-status-command", "squeue", "--slurm-no-account")


def submit(folder: Path, *flags, accounting: bool = False, **variables):
    """Run the tiny configuration through the project's own SLURM profile."""
    return call(folder, *submit_words(accounting), *flags, **variables)


def submit_words(accounting: bool = False) -> tuple:
    """Return the command line of `submit`."""
    words = ("snakemake", "--workflow-profile", PROFILE, "--configfile", "config/tiny.yaml")
    return (*words, *QUICK, *(() if accounting else WITHOUT_ACCOUNTING))


def fresh_project(folder: Path) -> Path:
    """Return a copy of the project without results, with the tiny configuration."""
    copy_project(folder)
    (folder / "config" / "tiny.yaml").write_text(TINY)
    return folder


def wait_for_state(cluster, state: str, timeout_s: float = 90) -> str:
    """Return the id of the first job that SLURM shows in `state`."""
    found = []

    def is_there():
        found[:] = [job[0] for job in cluster.jobs() if job[2] == state]
        return bool(found)

    wait_for(is_there, timeout_s, f"no job got {state}")
    return found[0]


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
