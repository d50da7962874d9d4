"""The plan of a run: jobs from a dry-run's table, schedules with known answers, its costs."""

from collections import Counter

import pandas as pd
import plan_run
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_tables import fill_rows
from plan_run import (
    PHANTOM_MB,
    PREDICTION_MB,
    costs_of_work,
    items_per_job,
    job_seconds,
    peak_disk_gb,
    print_plan,
    read_local_rules,
)

from quorum.disk_space import CUBE_MB
from quorum.schedule import (
    GROUPED,
    START_S,
    count_jobs,
    read_config,
    simulate,
    submitted,
    work_of_step,
)
from quorum.settings import ROOT, experiment_settings
from quorum.tables import write_table

TABLE = """\
Building DAG of jobs...
Job stats:
job                count
---------------  -------
list_series            1
check_series           3
extract_cubes          3
train_model            5
all                    1
total                 13

"""
COUNTS = Counter(list_series=1, check_series=3, extract_cubes=3, train_model=5)
ON_CLUSTER = COUNTS - Counter(list_series=1)
SECONDS = dict.fromkeys(COUNTS, 100.0) | {"simulate_series": 0.0, "download_series": 0.0}


def test_jobs_are_counted_from_the_table():
    assert count_jobs(TABLE) == COUNTS
    assert count_jobs("Nothing to be done\n") == Counter()


def test_a_shard_is_one_job_and_small_rules_stay():
    assert submitted(COUNTS, {"list_series"}) == 3 + 5


def test_a_schedule_by_hand():
    """Shards of 220 s with their start, then trainings of 120 s."""
    shard, training = 200 + START_S, 100 + START_S
    assert simulate(ON_CLUSTER, SECONDS, 1) == 3 * shard + 5 * training
    assert simulate(ON_CLUSTER, SECONDS, 3) == shard + 2 * training
    assert simulate(ON_CLUSTER, SECONDS, 100) == shard + training


def test_a_rule_of_no_stage_is_scheduled_too():
    more = ON_CLUSTER + Counter(explain_predictions=2)
    seconds = SECONDS | {"explain_predictions": 50.0}
    assert simulate(more, seconds, 1) - simulate(ON_CLUSTER, seconds, 1) == 2 * (50 + START_S)


@given(st.integers(1, 50))
def test_more_nodes_never_take_longer(num_nodes):
    assert simulate(ON_CLUSTER, SECONDS, num_nodes + 1) <= simulate(ON_CLUSTER, SECONDS, num_nodes)


def test_a_job_costs_its_items():
    rows = [
        ("extract_cubes", "nodule", 0.1),
        ("train_model", "step", 0.3),
        ("train_model", "job", 5),
    ]
    costs = pd.DataFrame(rows, columns=["rule", "item", "cpu_s_per_item"])
    assert job_seconds("train_model", costs, {"train_model": 10}) == pytest.approx(3)
    assert job_seconds("extract_cubes", costs, {"extract_cubes": 28}) == pytest.approx(2.8)
    assert job_seconds("write_report", costs, {}) == 0.0


def test_a_step_costs_in_proportion_to_its_multiplications():
    defaults = read_config([])["train_model"]
    base = defaults | {"network": {**defaults["network"], "channels": [8, 16, 32, 64]}}
    double = base | {"batch_size": 2 * base["batch_size"]}
    wide = base | {"network": {**base["network"], "channels": [16, 32, 64, 128]}}
    assert work_of_step(double) == 2 * work_of_step(base)
    assert work_of_step(wide) == 4 * work_of_step(base)


def test_a_run_like_the_measured_one_costs_what_that_one_did():
    config = read_config([])
    config["experiments"] = ["unet3d"]
    row = {"rule": "train_model", "item": "step", "data_kind": "phantom", "cpu_s_per_item": 0.3}
    costs, items = costs_of_work(pd.DataFrame([row])), items_per_job(config)
    steps = experiment_settings(config, "unet3d")["max_steps"]
    assert job_seconds("train_model", costs, items) == pytest.approx(0.3 * steps)


def test_items_of_the_whole_collection(tmp_path):
    config = read_config(["--configfile", str(ROOT / "config" / "lidc.yaml")])
    config["pathvars"]["results"] = str(tmp_path)
    items = items_per_job(config)
    assert items["extract_cubes"] * 32 == 897
    assert items["predict_cubes"] * 5 == 897


@pytest.fixture
def planned(tmp_path):
    """A configuration whose plan has shards of 1, 5 and 3 GB, and 10 nodules in 4 series each."""
    config = read_config(["--configfile", str(ROOT / "config" / "lidc.yaml")])
    config["pathvars"]["results"] = str(tmp_path)
    config["plan_shards"]["num_shards"] = 3
    config |= {"experiments": ["unet3d"], "run_folds": [0], "seeds": [0, 1]}
    config["predict_cubes"]["click_offsets_mm"] = [0, 8]
    rows = [
        {"shard": f"shard0{k}", "num_series": 4, "num_nodules": 10, "num_bytes": size * 10**9}
        for k, size in enumerate((1, 5, 3))
    ]
    made_by = {"script": "test"}
    (tmp_path / "plan_shards").mkdir()
    shards = fill_rows("shard_plan", rows)
    write_table(shards, tmp_path / "plan_shards" / "shards.csv", "shard_plan", made_by)
    return config


# 30 nodules' cubes; one of five folds predicted with two seeds and two clicks.
FILES_GB = 30 * (CUBE_MB + 0.2 * 2 * 2 * PREDICTION_MB) / 1e3


@pytest.mark.parametrize(
    ("source", "images_gb"),
    [
        ({"kind": "idc", "concurrent_shards": 1}, 5),
        ({"kind": "tcia", "concurrent_shards": 2}, 8),
        ({"kind": "idc", "concurrent_shards": 1, "keep_dicom": True}, 9),
        ({"kind": "phantom", "concurrent_shards": 1}, 12 * PHANTOM_MB / 1e3),
        ({"kind": "local", "concurrent_shards": 1}, 0),
    ],
)
def test_the_peak_is_that_of_the_images_that_lie_there_at_once(planned, source, images_gb):
    planned["source"] |= source
    assert peak_disk_gb(planned) == pytest.approx(images_gb + FILES_GB)


def test_without_a_plan_shards_are_of_one_size(planned, tmp_path):
    (tmp_path / "plan_shards" / "shards.csv").unlink()
    planned["source"]["concurrent_shards"] = 1
    one = peak_disk_gb(planned)
    planned["source"]["concurrent_shards"] = 3
    assert peak_disk_gb(planned) - one == pytest.approx(2 / 3 * 559 * 126 / 1e3)


def test_the_printed_plan(planned, capsys, monkeypatch):
    """Six trainings of half an hour and a report of 6 minutes, on the head node a list."""
    monkeypatch.chdir(ROOT)
    counts = Counter(list_series=1, extract_cubes=3, train_model=6, write_report=1)
    seconds = dict.fromkeys(SECONDS, 0.0) | {"train_model": 1800.0, "write_report": 360.0}
    print_plan(planned, counts=counts, seconds=seconds)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "train_model 6 jobs submitted 1800 s a job" in lines
    assert "extract_cubes 3 jobs grouped 0 s a job" in lines
    assert "list_series 1 jobs head node 0 s a job" in lines
    assert "jobs 11, submitted to a cluster 10" in lines
    assert "CPU hours 0.10, and 3.0 of training and prediction" in lines
    assert f"peak disk {8 + FILES_GB:.1f} GB" in lines  # two shards at once, by default
    assert "with 1 nodes 3.2 h (one job a node, no waiting in the queue)" in lines


def test_the_probabilities_of_nnunet_take_room_too(planned):
    without = peak_disk_gb(planned)
    planned["train_nnunet"] |= {"schedules": ["own"], "inputs": ["cubes", "native"]}
    more_gb = 30 * 0.2 * 2 * 2 * PREDICTION_MB / 1e3
    assert peak_disk_gb(planned) - without == pytest.approx(more_gb)


def test_rules_without_a_measurement_are_named(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    table = TABLE.replace("list_series ", "train_nnunet")
    monkeypatch.setattr(plan_run, "dry_run", lambda flags: table)
    row = {"rule": "train_model", "item": "step", "data_kind": "phantom"}
    rows = [row, {"rule": "extract_cubes"}, {"rule": "check_series"}]
    write_table(fill_rows("costs", rows), tmp_path / "costs.csv", "costs", {})
    plan_run.main(["--costs", str(tmp_path / "costs.csv")])
    assert "not measured     train_nnunet: 0 s in all of this" in capsys.readouterr().out


def test_a_run_with_nothing_to_do_has_a_plan_too(planned, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    print_plan(planned, counts=Counter(), seconds=dict.fromkeys(GROUPED, 1.0))
    assert "with   1 nodes   0.0 h" in capsys.readouterr().out


def test_the_head_nodes_rules_are_those_of_the_workflow():
    rules = read_local_rules(ROOT / "workflow" / "rules" / "common.smk")
    assert {"list_series", "plan_experiment", "accept_cubes"} <= rules
    assert not rules & {"extract_cubes", "train_model", "write_report"}
