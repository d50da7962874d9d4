"""Copies of the project, Snakemake in them, and what a dry-run announces: for tests."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("Snakefile", "Makefile", "config", "envs", "scripts", "workflow")
# Four patients in two shards, a network of few channels for few steps.
TINY = """\
select_nodules: {num_patients: 4}
plan_shards: {num_shards: 2}
split_patients: {test_fraction: 0.0, num_folds: 3}
train_model:
  network: {channels: [4, 8], strides: [2]}
  max_steps: 4
  validate_every_steps: 2
  checkpoint_every_steps: 2
  schedule: {warmup_steps: 1}
predict_cubes: {click_offsets_mm: [0, 4], flips: false}
compare_experiments: {bootstrap_resamples: 100}
experiments: [ball, unet3d]
"""


def copy_project(folder: Path) -> Path:
    """Copy what a run needs into `folder`, without results, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    ignore = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, folder / part, symlinks=True, ignore=ignore)
        else:
            shutil.copy2(ROOT / part, folder / part)
    return folder


def call(folder: Path, *words, **variables) -> subprocess.CompletedProcess:
    """Run a program of this environment in `folder` and return what it printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )


def snakemake(folder: Path, *flags, **variables) -> subprocess.CompletedProcess:
    """Run Snakemake in `folder`."""
    return call(folder, sys.executable, "-m", "snakemake", *flags, **variables)


def tiny(folder: Path, *flags, **variables) -> subprocess.CompletedProcess:
    """Run Snakemake on the tiny configuration of `folder`."""
    # Not last: --configfile would take the targets that may follow for more files.
    base = ("--configfile", "config/tiny.yaml", "--cores", "2")
    return snakemake(folder, *base, *flags, **variables)


def planned_jobs(result: subprocess.CompletedProcess) -> set:
    """Return the jobs that a dry-run announces, as `rule` or `rule:shard`."""
    assert result.returncode == 0, result.stdout
    jobs, rule = set(), None
    for line in result.stdout.splitlines():
        words = line.split()
        if line.startswith(("rule ", "checkpoint ", "localrule ", "localcheckpoint ")):
            rule = words[1].rstrip(":")
            jobs.add(rule)
        elif line.startswith("    wildcards: "):
            jobs.discard(rule)
            jobs.add(f"{rule}:{line.split(': ', 1)[1].split('=', 1)[1].split(',')[0]}")
    return jobs - {"all"}


@contextlib.contextmanager
def only_worker(path: Path):
    """Let one of pytest's parallel workers at a time pass."""
    with open(path, "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def failed_logs(folder: Path) -> str:
    """Return the ends of the logs that hold an error."""
    ends = []
    for path in sorted(folder.glob("results/logs/**/*.log")):
        text = path.read_text(errors="replace")
        if "Error" in text or "error:" in text:
            ends.append(f"\n--- {path}\n{text[-1500:]}")
    return "".join(ends)
