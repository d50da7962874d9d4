"""Live runs, jobs they left behind, and stale locks are told apart by real processes."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time

import pytest

from quorum import locks
from quorum.errors import InputError


@contextlib.contextmanager
def process(folder, *words):
    """Run a program in `folder` until the block ends; it sleeps, whatever its name."""
    child = subprocess.Popen([sys.executable, *words], cwd=folder)
    try:
        time.sleep(0.3)
        yield child
    finally:
        child.kill()
        child.wait()


@pytest.fixture
def folder(tmp_path):
    """A folder with a program of Snakemake's name and one script; both only sleep."""
    (tmp_path / "scripts").mkdir()
    for name in ("snakemake", "scripts/extract_cubes.py", "scripts/run_workflow.py", "other.py"):
        (tmp_path / name).write_text("import time\ntime.sleep(60)\n")
    return tmp_path


def test_an_idle_folder_has_no_runs(folder):
    assert locks.live_runs(folder) == []
    assert locks.live_jobs(folder) == []
    locks.refuse_live_run(folder)


def test_a_live_run_is_refused_with_its_process(folder):
    with process(folder, "snakemake", "--cores", "2") as child:
        assert [run.pid for run in locks.live_runs(folder)] == [child.pid]
        with pytest.raises(InputError, match=f"process {child.pid}"):
            locks.refuse_live_run(folder)
    locks.refuse_live_run(folder)


def test_a_dry_run_is_no_run(folder):
    with process(folder, "snakemake", "-n"):
        assert locks.live_runs(folder) == []


def test_a_run_in_another_folder_is_none_of_ours(folder, tmp_path_factory):
    with process(folder, "snakemake", "--cores", "2"):
        assert locks.live_runs(tmp_path_factory.mktemp("other")) == []


def test_a_job_left_behind_is_seen_and_a_helper_is_not_one(folder):
    with (
        process(folder, "scripts/extract_cubes.py", "--seed", "1") as job,
        process(folder, "scripts/run_workflow.py"),
        process(folder, "other.py"),
    ):
        assert [found.pid for found in locks.live_jobs(folder)] == [job.pid]


@pytest.mark.parametrize(
    ("words", "script"),
    [
        (["python", "scripts/a.py"], "a.py"),
        (["/x/python3.12", "-u", "/y/scripts/a.py"], "a.py"),
        (["vim", "scripts/a.py"], None),
        (["python", "-m", "pytest", "scripts/a.py"], None),
        (["python"], None),
        ([], None),
    ],
)
def test_command_lines_that_run_a_script(words, script):
    assert locks.job_script(words) == script


def test_a_lock_of_another_machine_is_refused(folder):
    (folder / locks.LOCKS).mkdir(parents=True)
    (folder / locks.LOCKS / "0.output.lock").write_text("results/a\n")
    locks.record_owner(folder)
    assert json.loads((folder / locks.OWNER).read_text())["pid"] == os.getpid()
    locks.refuse_live_run(folder)
    owner = locks.read_owner(folder) | {"host": f"not-{socket.gethostname()}"}
    (folder / locks.OWNER).write_text(json.dumps(owner))
    with pytest.raises(InputError, match="not-"):
        locks.refuse_live_run(folder)
    (folder / locks.LOCKS / "0.output.lock").unlink()
    locks.refuse_live_run(folder)


def test_a_torn_owner_is_no_owner(folder):
    (folder / locks.OWNER).parent.mkdir(parents=True)
    (folder / locks.OWNER).write_text('{"host": "a')
    assert locks.read_owner(folder) is None


def test_the_snakemake_of_one_job_is_no_run():
    run = ["/venv/bin/python3", "/venv/bin/snakemake", "--workflow-profile", "slurm"]
    assert locks.is_snakemake(run)
    assert not locks.is_snakemake([*run, "-n"])
    assert not locks.is_snakemake(["python3", "-m", "snakemake", "--target-jobs", "check_cubes:"])
