"""Who is working in this folder: a live Snakemake, a job it left behind, or only a stale lock.

Snakemake's locks name files, not their owner, so a lock alone doesn't tell a live run from a dead
one. The owner is written down when a run starts (`record_owner`) and looked up in the process
table. Read when Snakemake reads the Snakefile: nothing here imports more than psutil.
"""

import contextlib
import json
import os
import socket
from pathlib import Path

import psutil

from quorum.errors import InputError

LOCKS = Path(".snakemake", "locks")
OWNER = Path(".snakemake", "owner.json")
# Scripts that a person starts and that write no results.
HELPERS = {"run_workflow.py", "clean_results.py", "describe_config.py"}
HELPERS |= {"summarize_benchmarks.py", "plan_run.py", "show_status.py", "fetch_viewer.py"}
HELPERS |= {"predict_series.py", "score_series.py"}
HELPERS |= {"export_model.py", "export_dicom_seg.py", "export_nifti.py", "export_mlflow.py"}
# What Snakemake adds to the Snakemake of one job, on a node or in a process of its own.
JOB_FLAG = "--target-jobs"
DRY = {"-n", "--dry-run", "--dryrun", "--unlock", "--lint", "--list-rules", "--summary"}


def record_owner(folder="."):
    """Write down host and process of the run that starts in `folder`."""
    process = psutil.Process()
    owner = {"host": socket.gethostname(), "pid": process.pid, "created": process.create_time()}
    path = Path(folder, OWNER)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(owner) + "\n")


def read_owner(folder=".") -> dict | None:
    """Return what `record_owner` wrote, or None when there is nothing readable."""
    try:
        return json.loads(Path(folder, OWNER).read_text())
    except (OSError, ValueError):
        return None


def is_locked(folder=".") -> bool:
    """Tell whether Snakemake left a lock in `folder`."""
    return any(Path(folder, LOCKS).glob("*.lock"))


def processes_in(folder) -> list:
    """Return the processes that work in `folder`, except this one and its ancestors."""
    folder = os.path.realpath(folder)
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        # A process may end, or belong to somebody else, while it is looked at.
        with contextlib.suppress(psutil.Error):
            if process.pid not in own and os.path.realpath(process.cwd()) == folder:
                found.append((process, process.cmdline()))
    return found


def live_runs(folder=".") -> list:
    """Return the processes of Snakemake that build something in `folder`."""
    return [process for process, words in processes_in(folder) if is_snakemake(words)]


def live_jobs(folder=".") -> list:
    """Return the processes that run one of this project's scripts in `folder`."""
    return [process for process, words in processes_in(folder) if job_script(words)]


def is_snakemake(words: list) -> bool:
    """Tell whether a command line is a Snakemake that writes results, and no single job of one."""
    heads = [os.path.basename(word) for word in words[:3]]
    if not heads or not heads[0].startswith(("python", "snakemake")):
        return False
    return "snakemake" in heads and not (DRY | {JOB_FLAG}).intersection(words)


def job_script(words: list) -> str | None:
    """Return the script that a command line runs, such as `extract_cubes.py`; else None."""
    if not words or not os.path.basename(words[0]).startswith("python"):
        return None
    for word in words[1:3]:
        path = Path(word)
        if path.parent.name == "scripts" and path.suffix == ".py" and path.name not in HELPERS:
            return path.name
    return None


def refuse_live_run(folder="."):
    """Raise an InputError when a run works in `folder`, on this machine or on another.

    A lock without a live owner is no reason to refuse; see `is_locked`.
    """
    runs = live_runs(folder)
    if runs:
        pids = ", ".join(str(process.pid) for process in runs)
        raise InputError(
            f"Snakemake is at work in {os.path.realpath(folder)} (process {pids})",
            "one run at a time in one folder",
            f"wait until it has ended, or end it with: kill -INT {pids.replace(',', '')}",
        )
    owner = read_owner(folder)
    if is_locked(folder) and owner and owner["host"] != socket.gethostname():
        raise InputError(
            f"a run on the machine {owner['host']} holds the lock of {os.path.realpath(folder)}",
            "one run at a time in one folder",
            "wait until it has ended; if it is dead, remove the lock with: snakemake --unlock",
        )
