"""The tiny pipeline on a real SLURM of one node: to the report, and equal to the local run."""

import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from slurm_runs import cluster, fresh_project, slurm_run, submit  # noqa: F401
from workflow.conftest import tiny_run  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]
# Wall times and memory differ between any two runs: a column of the history, and three tables of
# the report that show nothing else or the history once more.
CLOCKS = ["duration_s"]
CLOCK_TABLES = {"histories.csv", "runs.csv", "times.csv"}


def tables(folder) -> list:
    """Return the paths of all tables below `results`, relative to it."""
    found = (folder / "results").rglob("*.csv")
    return sorted(str(path.relative_to(folder / "results")) for path in found)


def test_the_pipeline_runs_to_its_report(slurm_run):  # noqa: F811
    assert (slurm_run / "results" / "write_report" / "index.html").is_file()


def test_its_tables_are_those_of_the_local_run(slurm_run, tiny_run):  # noqa: F811
    names = tables(tiny_run)
    assert names == tables(slurm_run)
    assert len(names) > 20
    for name in names:
        here, there = slurm_run / "results" / name, tiny_run / "results" / name
        if Path(name).name in CLOCK_TABLES:
            assert name.startswith("write_report/assets"), name
        elif name.endswith("history.csv"):
            mine, other = (pd.read_csv(path).drop(columns=CLOCKS) for path in (here, there))
            pd.testing.assert_frame_equal(mine, other, check_exact=True)
        else:
            assert here.read_bytes() == there.read_bytes(), name


def test_its_shards_and_predictions_hold_what_the_local_runs_hold(slurm_run, tiny_run):  # noqa: F811
    names = sorted(p.relative_to(tiny_run) for p in (tiny_run / "results").rglob("*.h5"))
    assert len(names) == 4
    for name in names:
        with h5py.File(slurm_run / name) as mine, h5py.File(tiny_run / name) as other:
            assert sorted(mine) == sorted(other)
            for dataset in mine:
                np.testing.assert_array_equal(mine[dataset][()], other[dataset][()], f"{name}")


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--default-resources", "slurm_partition=nope"], "unknown partition 'nope'; expected one"),
        (["--set-resources", "check_cubes:mem_mb=9000000"], "9000000 MB of memory"),
        (
            ["--set-resources", "train_model:gpu=2", "train_model:slurm_partition=gpu"],
            "2 GPUs and the partition gpu gives at most 1",
        ),
    ],
)
def test_what_the_cluster_cant_run_is_refused_before_the_first_job(
    cluster,  # noqa: F811
    tmp_path,
    flags,
    words,
):
    folder = fresh_project(tmp_path / "project")
    before = len(cluster.jobs())
    result = submit(folder, *flags)
    assert result.returncode != 0
    assert words in result.stdout, result.stdout[-3000:]
    assert "Traceback" not in result.stdout
    assert len(cluster.jobs()) == before
    assert not (folder / "results" / "list_series").exists()


def test_without_slurm_one_sentence_says_so(tmp_path):
    folder = fresh_project(tmp_path / "project")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "sh", "env", "uname", "which"):
        (programs / name).symlink_to(shutil.which(name))
    result = submit(folder, PATH=f"{Path(sys.executable).parent}:{programs}")
    assert result.returncode != 0
    assert "error: the SLURM command sbatch is not on this machine" in result.stdout, result.stdout
