"""Run Snakemake in this folder, also after a crash, and print the report's path.

Reads: what an earlier run left in .snakemake (locks, owner) and the process table.
Writes: what `snakemake --cores all --rerun-incomplete` writes.
Method: a live run is refused; a lock whose owner is dead is cleared; a job that a killed run left
behind may still be writing, so it is waited for. All other flags go to Snakemake as they are.
"""

import argparse
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import yaml

from quorum.command import LOG, make_parser, run_command
from quorum.errors import InputError
from quorum.locks import LOCKS, is_locked, live_jobs, refuse_live_run
from quorum.settings import load_yaml, merge

PROGRESS_EVERY_S = 10.0
POLL_EVERY_S = 0.5


def main(argv=None):
    """Clear what a crash left, run Snakemake, and print where the report is."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--wait-s",
        type=float,
        default=600.0,
        help="how long to wait for a job that a killed run left behind [s] (default: 600)",
    )
    args, extra = parser.parse_known_args(argv)
    with only_starter():
        refuse_live_run()
        wait_for_jobs(args.wait_s)
        if is_locked():
            LOG.info("clearing the lock of a run that has died")
            shutil.rmtree(LOCKS)
        status = run_snakemake([*cores_flags(extra), "--rerun-incomplete", *extra])
    if status == 0:
        show_report(results_folder(extra))
    return status


@contextmanager
def only_starter():
    """Hold a lock that the kernel frees when this process dies.

    Raises
    ------
    InputError
        When another `make run` holds it.
    """
    path = Path(".snakemake", "run_workflow.lock")
    path.parent.mkdir(exist_ok=True)
    with open(path, "a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"another `make run` is at work in {os.getcwd()}",
                "one run at a time in one folder",
                "wait until it has ended",
            ) from error
        yield


def wait_for_jobs(wait_s: float):
    """Wait until no job of an earlier run is left in this folder.

    Raises
    ------
    InputError
        When one is still there after `wait_s` seconds.
    """
    start = last = time.monotonic()
    while jobs := live_jobs():
        pids = " ".join(str(job.pid) for job in jobs)
        if time.monotonic() - start >= wait_s:
            raise InputError(
                f"a job of an earlier run is still writing in {os.getcwd()} (process {pids})",
                f"that it ends within {wait_s:.0f} s",
                f"wait until it has ended, or end it with: kill {pids}",
            )
        if time.monotonic() - last >= PROGRESS_EVERY_S or last == start:
            last = time.monotonic()
            LOG.info("waiting for a job that an earlier run left behind (process %s)", pids)
        time.sleep(POLL_EVERY_S)


def cores_flags(extra: list) -> list:
    """Return `--cores all`, but nothing for a profile or an executor: those bound their own jobs.

    Parameters
    ----------
    extra : list of str
        Flags of Snakemake.
    """
    names = ("--workflow-profile", "--profile", "--executor", "-e")
    has_own = any(word.split("=")[0] in names for word in extra)
    return [] if has_own else ["--cores", "all"]


def run_snakemake(flags: list) -> int:
    """Run Snakemake to its end and return its exit status.

    An interrupt from the keyboard reaches Snakemake by itself, so this process only waits for it
    to end its jobs; a SIGTERM, which reaches this process alone, is passed on.
    """
    child = subprocess.Popen([sys.executable, "-m", "snakemake", *flags])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: child.send_signal(number))
    return child.wait()


def results_folder(extra: list) -> Path:
    """Return the results folder that Snakemake's flags give.

    Parameters
    ----------
    extra : list of str
        Flags of Snakemake; `--configfile` and `--config` may move the folder.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--configfile", "--configfiles", nargs="+", default=[])
    parser.add_argument("--config", "-C", nargs="+", default=[])
    args, _ = parser.parse_known_args(extra)
    config = load_yaml("config/config.yaml")
    for path in args.configfile:
        config = merge(config, load_yaml(path) or {})
    for pair in args.config:
        key, _, value = pair.partition("=")
        config = merge(config, {key: yaml.safe_load(value)})
    return Path(config["pathvars"]["results"])


def show_report(results: Path):
    """Print the report's path, where there is one."""
    page = results / "write_report" / "index.html"
    if page.is_file():
        print(f"report: {page.resolve()}")


if __name__ == "__main__":
    run_command(main)
