"""The whole pipeline on four patients: its outputs, and what a change makes run again."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from workflow_copy import planned_jobs, tiny

SHARDS = ("shard00", "shard01")
MODELS = {
    f"{rule}:{experiment}"
    for rule in ("train_model", "predict_cubes", "score_predictions")
    for experiment in ("ball", "unet3d")
}
SCORES = {"score_predictions:ball", "score_predictions:unet3d"}
TRAININGS = {"train_model:ball", "train_model:unet3d"}
PLANS = {"plan_experiment:ball", "plan_experiment:unet3d"}
SERIES = {
    f"{rule}:{shard}"
    for rule in ("simulate_series", "check_series", "extract_cubes")
    for shard in SHARDS
}
CHECKS = {"check_cubes", "accept_cubes"}
PAGES = {"write_cards", "write_summary", "write_report"}
COMPARED = {"compare_experiments", "compare_papers:papers", "describe_splits"} | PAGES
# What follows new scores, and what follows new predictions.
ENDS = COMPARED | {"compare_with_readers"}
PREDICTED = ENDS | {"explain_predictions:unet3d"}
TRAINED = PREDICTED | {"list_runs"}


def results_of(folder: Path) -> list:
    """Return the files of a results folder, apart from logs and benchmarks."""
    results = folder / "results"
    others = ("logs", "benchmarks")
    return [
        path
        for path in sorted(results.rglob("*"))
        if path.is_file() and path.relative_to(results).parts[0] not in others
    ]


def dry_run(folder: Path, *flags) -> set:
    """Return the jobs that would run in `folder`."""
    return planned_jobs(tiny(folder, "-n", *flags))


def add_a_constant(path: Path):
    """Change a file's code without changing what it does."""
    path.write_text(path.read_text() + "\nNEVER_USED = 1\n")


def test_every_rule_left_its_log_and_its_benchmark(tiny_run):
    for folder in ("logs", "benchmarks"):
        found = {path.name for path in (tiny_run / "results" / folder).iterdir()}
        assert {"list_series", "extract_cubes", "train_model", "write_report"} <= found


def test_nothing_is_left_that_no_rule_declares(tiny_run):
    stray = [
        path
        for path in results_of(tiny_run)
        if path.name.startswith(".") or ".tmp" in path.name or path.suffix in (".dcm", ".ckpt")
    ]
    # Snakemake's own mark of a folder that is an output.
    assert {path.name for path in stray} <= {".snakemake_timestamp"}
    assert [path for path in tiny_run.glob("results/.checkpoints/**/*") if path.is_file()] == []


def test_each_table_names_what_made_it(tiny_run):
    # The report's copies, for a reader to download, are no tables of the pipeline.
    tables = [p for p in results_of(tiny_run) if p.suffix == ".csv" and "assets" not in p.parts]
    assert len(tables) > 15
    for path in tables:
        notes = json.loads(path.with_name(f"{path.name}-metadata.json").read_text())
        assert notes["made_by"]["script"] == path.relative_to(tiny_run / "results").parts[0]
        assert [column["name"] for column in notes["columns"]] == list(pd.read_csv(path, nrows=0))


def test_the_results_belong_to_their_source(tiny_run):
    owner = json.loads((tiny_run / "results" / "source.json").read_text())
    assert owner["kind"] == "phantom"


def test_all_scores_are_marked_as_the_phantoms(tiny_run):
    paths = sorted((tiny_run / "results" / "score_predictions").rglob("*.csv"))
    assert {path.parent.name for path in paths} == {"ball", "unet3d"}
    for path in paths:
        assert set(pd.read_csv(path)["data_kind"]) == {"phantom"}


def test_no_nodule_is_lost(tiny_run):
    results = tiny_run / "results"
    selected = set(pd.read_csv(results / "select_nodules" / "nodules.csv")["nodule_id"])
    planned = [
        pd.read_csv(path)["nodule_id"] for path in (results / "plan_shards").glob("shard[0-9]*.csv")
    ]
    assert sorted(pd.concat(planned)) == sorted(selected)
    volumes = set(pd.read_csv(results / "check_cubes" / "volumes.csv")["nodule_id"])
    dropped = [
        pd.read_csv(path)["nodule_id"] for path in (results / "extract_cubes").glob("*.dropped.csv")
    ]
    assert volumes | set(pd.concat(dropped)) == selected
    assert len(selected) > 0


def test_the_report_opens_without_network_and_says_what_it_is(tiny_run):
    folder = tiny_run / "results" / "write_report"
    page = (folder / "index.html").read_text()
    assert re.search("phantom", page, re.I)
    loaded = re.findall(r'<(?:script|img|link|iframe)[^>]*?(?:src|href)="([^"]+)"', page)
    for target in loaded:
        assert not re.match(r"(https?:)?//", target), target
        if not target.startswith("data:"):
            assert (folder / target).exists(), target


def test_a_second_run_finds_nothing_to_do(tiny_run):
    assert dry_run(tiny_run) == set()


def test_touched_files_and_edited_comments_rerun_nothing(tiny_copy):
    for path in (tiny_copy / "scripts").rglob("*.py"):
        path.write_text("# A comment.\n" + path.read_text())
    for path in (tiny_copy / "workflow" / "rules").glob("*.smk"):
        path.write_text("# A comment.\n" + path.read_text())
    for path in (tiny_copy / "config").rglob("*.yaml"):
        path.touch()
    published = {"write_report"}  # config/published is an input of the report
    assert dry_run(tiny_copy) <= published


@pytest.mark.parametrize(
    ("script", "jobs"),
    [
        ("compare_experiments", {"compare_experiments"} | PAGES),
        ("split_patients", {"split_patients"} | CHECKS | MODELS | TRAINED),
        ("compare_readers", {"compare_readers", "summarize_agreement"} | SCORES | ENDS),
    ],
)
def test_changed_code_reruns_its_rule_and_what_follows(tiny_copy, script, jobs):
    add_a_constant(tiny_copy / "scripts" / f"{script}.py")
    assert dry_run(tiny_copy) == jobs


def test_a_changed_network_reruns_its_own_experiments_only(tiny_copy):
    networks = tiny_copy / "scripts" / "quorum" / "networks"
    add_a_constant(networks / "vnet.py")
    assert dry_run(tiny_copy) == set()
    add_a_constant(networks / "unet3d.py")
    jobs = dry_run(tiny_copy)
    assert {"train_model:unet3d", "predict_cubes:unet3d"} <= jobs
    assert not any(job.split(":")[0] in ("extract_cubes", "plan_experiment") for job in jobs)


@pytest.mark.parametrize(
    ("setting", "jobs"),
    [
        ("compare_experiments={seed: 5}", COMPARED),
        ("predict_cubes={seed: 5}", MODELS - TRAININGS | PREDICTED),
        ("train_model={batch_size: 2}", PLANS | MODELS | TRAINED),
        ("split_patients={seed: 5}", {"split_patients"} | CHECKS | MODELS | TRAINED),
        ("simulate_series={seed: 5}", SERIES | {"summarize_series"} | CHECKS | MODELS | TRAINED),
    ],
)
def test_a_changed_key_reruns_the_rules_of_its_block_and_what_follows(tiny_run, setting, jobs):
    assert dry_run(tiny_run, "--config", setting) == jobs


def test_a_changed_cohort_reruns_only_the_shards_whose_nodules_changed(tiny_copy):
    results = tiny_copy / "results"
    plans = {
        shard: pd.read_csv(results / "plan_shards" / f"{shard}.csv")["patient_id"]
        for shard in SHARDS
    }
    changed = max(SHARDS, key=lambda shard: plans[shard].nunique())
    kept = next(shard for shard in SHARDS if shard != changed)
    assert plans[changed].nunique() > 1
    assert plans[kept].nunique() > 0
    dropped = plans[changed].iloc[0]
    assert dropped not in set(plans[kept])
    patients = sorted(set(pd.concat(plans.values())) - {dropped})
    before = {shard: (results / "extract_cubes" / f"{shard}.h5").stat() for shard in SHARDS}
    targets = [f"results/extract_cubes/{shard}.h5" for shard in SHARDS]
    setting = f"select_nodules={{num_patients: null, patients: [{', '.join(patients)}]}}"
    result = tiny(tiny_copy, *targets, "--config", setting)
    assert result.returncode == 0, result.stdout[-4000:]
    after = {shard: (results / "extract_cubes" / f"{shard}.h5").stat() for shard in SHARDS}
    assert after[kept].st_mtime_ns == before[kept].st_mtime_ns
    assert after[changed].st_mtime_ns > before[changed].st_mtime_ns
    again = tiny(tiny_copy, "-n", *targets, "--config", setting)
    assert planned_jobs(again) == set()


def test_a_shard_that_fails_leaves_the_others_unharmed(tiny_copy):
    results = tiny_copy / "results"
    shutil.rmtree(results / "extract_cubes")
    (results / "plan_shards" / "shard01.csv").write_text("nodule_id\ntorn")
    targets = [f"results/extract_cubes/{shard}.h5" for shard in SHARDS]
    result = tiny(tiny_copy, "--keep-going", *targets)
    assert result.returncode != 0
    assert (results / "extract_cubes" / "shard00.h5").is_file()
    assert not (results / "extract_cubes" / "shard01.h5").exists()
    logs = [path.read_text() for path in (results / "logs").rglob("shard01.log")]
    errors = [line for log in logs for line in log.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, logs
    assert "shard01.csv" in errors[0]
    assert "to mend it" in errors[0]
