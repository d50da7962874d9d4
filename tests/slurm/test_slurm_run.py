"""The tiny pipeline on a real SLURM of one node: to the report, and equal to the local run."""

import h5py
import numpy as np
import pandas as pd
import pytest
from slurm_runs import cluster, slurm_run  # noqa: F401
from workflow.conftest import tiny_run  # noqa: F401

pytestmark = pytest.mark.slow
# Wall times and memory differ between any two runs.
CLOCKS = {"duration_s", "training_s", "training_s_mean", "minutes", "total_s", "longest_s"}
CLOCKS |= {"peak_memory_mb", "max_rss_mb", "energy_j", "total_duration_s"}
CLOCKS |= {"peak_memory_children_mb", "gpu_peak_memory_mb"}


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
    num_equal = 0
    for name in names:
        paths = [folder / "results" / name for folder in (slurm_run, tiny_run)]
        if paths[0].read_bytes() == paths[1].read_bytes():
            num_equal += 1
            continue
        mine, other = (pd.read_csv(path) for path in paths)
        if name.endswith("checklists.csv"):  # one of DOME's rows states how long training took
            mine, other = (table[table["topic"] != "Execution time"] for table in (mine, other))
        else:
            assert CLOCKS & set(mine.columns), name
        if name.endswith("times.csv"):  # the longest first
            mine, other = (table.sort_values("rule", ignore_index=True) for table in (mine, other))
        kept = [column for column in mine.columns if column not in CLOCKS]
        pd.testing.assert_frame_equal(mine[kept], other[kept], check_exact=True, obj=name)
    assert num_equal >= len(names) - 10


def test_its_shards_and_predictions_hold_what_the_local_runs_hold(slurm_run, tiny_run):  # noqa: F811
    names = sorted(p.relative_to(tiny_run) for p in (tiny_run / "results").rglob("*.h5"))
    assert len(names) >= 4
    for name in names:
        with h5py.File(slurm_run / name) as mine, h5py.File(tiny_run / name) as other:
            assert sorted(mine) == sorted(other)
            for dataset in mine:
                np.testing.assert_array_equal(mine[dataset][()], other[dataset][()], f"{name}")
