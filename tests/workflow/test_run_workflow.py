"""`make run` after a crash, beside a live run, and twice: with real processes on a small DAG."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import run_workflow
from workflow_copy import ROOT, call

from quorum.locks import live_jobs, live_runs

# Two steps; the second waits for a file, so that a test can stop in the middle of it.
SNAKEFILE = """\
import sys
sys.path.insert(0, "scripts")
from quorum.locks import record_owner


configfile: "config/config.yaml"


onstart:
    record_owner()


rule all:
    input:
        "results/write_report/index.html",


rule first:
    output:
        "results/first.txt",
    shell:
        "echo first > {output}"


rule second:
    input:
        "results/first.txt",
    output:
        "results/write_report/index.html",
    shell:
        "python scripts/step.py {output}"
"""
STEP = """\
import pathlib, sys, time
out = pathlib.Path(sys.argv[1])
out.write_text("half")
with open("starts.txt", "a") as stream:
    stream.write("start\\n")
while not pathlib.Path("go").exists():
    time.sleep(0.05)
out.write_text("whole")
"""


@pytest.fixture
def folder(tmp_path):
    """A project of two steps with this project's own starter; ends what it left running."""
    (tmp_path / "config").mkdir()
    config = {"pathvars": {"results": "results"}}
    (tmp_path / "config" / "config.yaml").write_text(json.dumps(config))
    shutil.copytree(
        ROOT / "scripts", tmp_path / "scripts", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / "scripts" / "step.py").write_text(STEP)
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    yield tmp_path
    for process in [*live_runs(tmp_path), *live_jobs(tmp_path)]:
        with contextlib.suppress(psutil.Error):
            process.kill()


def start(folder, *flags) -> subprocess.Popen:
    """Start the starter in the background, in a session of its own."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        [sys.executable, "scripts/run_workflow.py", "--cores", "1", *flags],
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(folder, *flags):
    """Run the starter to its end."""
    return call(folder, sys.executable, "scripts/run_workflow.py", "--cores", "1", *flags)


def wait_until(condition, what: str):
    """Wait until `condition()` holds; the limit is only there for a broken test to end."""
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail(f"waited in vain for: {what}")


def num_starts(folder) -> int:
    """Return how often the second step was started."""
    path = folder / "starts.txt"
    return len(path.read_text().splitlines()) if path.exists() else 0


def kill_in_the_middle(folder, *, job_too: bool):
    """Start a run, wait until its second step is at work, and kill it with SIGKILL."""
    starter = start(folder)
    wait_until(lambda: num_starts(folder) == 1, "the second step")
    for process in live_runs(folder):
        process.kill()
    starter.kill()
    starter.wait()
    if job_too:
        for process in live_jobs(folder):
            process.kill()
        wait_until(lambda: not live_jobs(folder), "the job's end")
    wait_until(lambda: not live_runs(folder), "the run's end")


def test_a_run_prints_the_reports_path_and_a_second_one_does_nothing(folder):
    (folder / "go").touch()
    first = run(folder)
    assert first.returncode == 0, first.stdout
    page = folder / "results" / "write_report" / "index.html"
    assert first.stdout.splitlines()[-1] == f"report: {page}"
    before = page.stat().st_mtime_ns
    second = run(folder)
    assert second.returncode == 0, second.stdout
    assert "Nothing to be done" in second.stdout
    assert second.stdout.splitlines()[-1] == f"report: {page}"
    assert page.stat().st_mtime_ns == before
    assert num_starts(folder) == 1


def test_a_run_after_a_crash_clears_the_lock_and_goes_on(folder):
    kill_in_the_middle(folder, job_too=True)
    assert list((folder / ".snakemake" / "locks").glob("*.lock"))
    first = (folder / "results" / "first.txt").stat().st_mtime_ns
    (folder / "go").touch()
    result = run(folder)
    assert result.returncode == 0, result.stdout
    assert "clearing the lock of a run that has died" in result.stdout
    assert (folder / "results" / "write_report" / "index.html").read_text() == "whole"
    assert (folder / "results" / "first.txt").stat().st_mtime_ns == first
    assert num_starts(folder) == 2


def test_a_job_left_behind_is_waited_for_and_its_output_made_again(folder):
    kill_in_the_middle(folder, job_too=False)
    assert len(live_jobs(folder)) == 1
    starter = start(folder)
    time.sleep(1.5)
    assert starter.poll() is None
    assert num_starts(folder) == 1, "nothing may start beside a job that still writes"
    (folder / "go").touch()
    output, _ = starter.communicate()
    assert starter.returncode == 0, output
    assert "waiting for a job that an earlier run left behind" in output
    assert num_starts(folder) == 2
    assert (folder / "results" / "write_report" / "index.html").read_text() == "whole"


def test_a_job_that_does_not_end_is_one_sentence(folder):
    kill_in_the_middle(folder, job_too=False)
    pid = live_jobs(folder)[0].pid
    result = run(folder, "--wait-s", "0.2")
    assert result.returncode == 1
    assert f"error: a job of an earlier run is still writing in {folder}" in result.stdout
    assert f"kill {pid}" in result.stdout
    assert num_starts(folder) == 1


def test_a_live_run_is_refused_and_left_alone(folder):
    starter = start(folder)
    wait_until(lambda: num_starts(folder) == 1, "the second step")
    locks = sorted((folder / ".snakemake" / "locks").iterdir())
    assert locks
    result = run(folder)
    assert result.returncode == 1
    assert "error: another `make run` is at work" in result.stdout
    assert sorted((folder / ".snakemake" / "locks").iterdir()) == locks
    (folder / "go").touch()
    output, _ = starter.communicate()
    assert starter.returncode == 0, output
    assert num_starts(folder) == 1


def test_a_live_snakemake_that_was_started_by_hand_is_refused(folder):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with open(folder / "output.txt", "w") as stream:
        by_hand = subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--cores", "1"],
            cwd=folder,
            env={**os.environ, "PATH": path},
            stdout=stream,
            stderr=stream,
        )
        wait_until(lambda: num_starts(folder) == 1, "the second step")
        result = run(folder)
        assert result.returncode == 1
        assert f"error: Snakemake is at work in {folder} (process {by_hand.pid})" in result.stdout
        (folder / "go").touch()
        assert by_hand.wait() == 0


def test_a_termination_reaches_snakemake_and_leaves_no_lock(folder):
    starter = start(folder)
    wait_until(lambda: num_starts(folder) == 1, "the second step")
    starter.send_signal(signal.SIGTERM)
    (folder / "go").touch()
    starter.communicate()
    assert starter.returncode != 0
    wait_until(lambda: not live_runs(folder), "Snakemake's end")
    assert not list((folder / ".snakemake").glob("locks/*.lock"))


def test_a_failed_run_prints_no_report(folder):
    (folder / "scripts" / "step.py").write_text("raise SystemExit(3)\n")
    result = run(folder)
    assert result.returncode != 0
    assert "report: " not in result.stdout


@pytest.mark.parametrize(
    ("flags", "results"),
    [
        ([], "results"),
        (["-n", "--cores", "2"], "results"),
        (["--config", "pathvars={results: other}"], "other"),
        (["-C", "pathvars={results: /x/y}", "run_folds=[0]", "--cores", "2"], "/x/y"),
    ],
)
def test_the_results_folder_is_the_one_of_the_flags(flags, results, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert run_workflow.results_folder(flags) == Path(results)


def test_the_results_folder_of_a_config_file(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    (tmp_path / "own.yaml").write_text("pathvars: {results: mine}\n")
    flags = ["--configfile", str(tmp_path / "own.yaml"), "--cores", "1"]
    assert run_workflow.results_folder(flags) == Path("mine")


def test_a_profile_bounds_its_own_jobs():
    """`--cores all` would bound a whole cluster by this machine's cores."""
    assert run_workflow.cores_flags(["--configfile", "x.yaml"]) == ["--cores", "all"]
    for flags in (["--workflow-profile", "p"], ["--profile=p"], ["--executor", "slurm"]):
        assert run_workflow.cores_flags(flags) == []
