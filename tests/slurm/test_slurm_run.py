"""The tiny pipeline on a real SLURM of one node: to the report, and equal to the local run."""

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from slurm_runs import cluster, slurm_run  # noqa: F401
from workflow.conftest import tiny_run  # noqa: F401

pytestmark = pytest.mark.slow
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
