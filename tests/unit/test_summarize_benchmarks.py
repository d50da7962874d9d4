"""Costs an item from benchmark files: known answers, the command line, a folder without any."""

import pytest
import summarize_benchmarks
from summarize_benchmarks import job_rows, summarize

from quorum.errors import InputError
from quorum.tables import read_table

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def write(path, *, wall_s, memory, cpu_s):
    """Write one benchmark file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{HEAD}{wall_s}\t0:00:01\t{memory}\t1\t1\t1\t0\t0\t50\t{cpu_s}\n")


def test_time_is_by_item_and_memory_the_largest(tmp_path):
    folder = tmp_path / "benchmarks" / "extract_cubes"
    write(folder / "shard00.tsv", wall_s=10, memory=300, cpu_s=6)
    write(folder / "shard01.tsv", wall_s=20, memory=500, cpu_s=12)
    jobs = job_rows(tmp_path)
    jobs["num_items"] = [2, 4]
    row = summarize(jobs.assign(data_kind="phantom")).iloc[0]
    assert row["item"] == "nodule"
    assert (row["cpu_s_per_item"], row["wall_s_per_item"]) == (3.0, 5.0)
    assert (row["max_wall_s"], row["max_memory_mb"]) == (20, 500)


def test_a_job_too_short_to_be_sampled_counts_as_zero(tmp_path):
    write(tmp_path / "benchmarks" / "accept_cubes" / "a.tsv", wall_s=0.1, memory="-", cpu_s="-")
    assert job_rows(tmp_path).iloc[0]["max_rss"] == 0


def test_the_command_line_writes_the_table(tmp_path, capsys):
    folder = tmp_path / "benchmarks" / "train_model"
    write(folder / "ball" / "fold0_seed0.tsv", wall_s=2, memory=500, cpu_s=1)
    write(folder / "unet3d" / "fold0_seed0.tsv", wall_s=200, memory=900, cpu_s=100)
    record = tmp_path / "train_model" / "unet3d" / "fold0_seed0" / "record.json"
    record.parent.mkdir(parents=True)
    record.write_text('{"num_steps": 50}')
    summarize_benchmarks.main(
        ["--results", str(tmp_path), "--out-costs", str(tmp_path / "costs.csv")]
    )
    costs = read_table(tmp_path / "costs.csv", "costs").set_index("experiment")
    assert costs.loc["unet3d", "item"] == "step"
    assert costs.loc["unet3d", "cpu_s_per_item"] == 2.0
    assert costs.loc["ball", "item"] == "job"
    assert set(costs["data_kind"]) == {"none"}
    assert "unet3d" in capsys.readouterr().out


def test_without_benchmarks_one_sentence_says_so(tmp_path):
    with pytest.raises(InputError, match="no benchmark lies below"):
        job_rows(tmp_path)


def test_runs_of_different_images_are_kept_apart(tmp_path):
    for kind, memory in (("phantom", 400), ("cut_out", 200)):
        run = tmp_path / kind
        write(run / "benchmarks" / "check_cubes" / "a.tsv", wall_s=1, memory=memory, cpu_s=1)
        (run / "check_series").mkdir()
        (run / "check_series" / "shard00.csv").write_text("series_uid,data_kind\n")
        (run / "check_series" / "shard01.csv").write_text(f"series_uid,data_kind\n1,{kind}\n")
    folders = [str(tmp_path / kind) for kind in ("phantom", "cut_out")]
    summarize_benchmarks.main(["--results", *folders, "--out-costs", str(tmp_path / "costs.csv")])
    costs = read_table(tmp_path / "costs.csv", "costs").set_index("data_kind")
    assert costs.loc["phantom", "max_memory_mb"] == 400
    assert costs.loc["cut_out", "max_memory_mb"] == 200
