"""Each configuration plans its whole DAG, without any profile."""

import re

from workflow_copy import planned_jobs, snakemake

BOTH = {"extract_cubes", "check_series", "train_model", "score_predictions", "write_report"}
CLASSIFIERS = {"train_classifier", "score_classifier", "explain_classifier"}


def test_the_default_plans_the_phantom_source(project):
    result = snakemake(project, "-n")
    rules = {job.split(":")[0] for job in planned_jobs(result)}
    assert BOTH | {"simulate_series"} <= rules
    assert "find_series" not in rules
    assert not rules & CLASSIFIERS
    assert not (project / "results").exists()


def test_the_sample_plans_the_local_source(project, tmp_path):
    (tmp_path / "lidc-vois").mkdir()
    flags = ("-n", "--configfile", "config/sample.yaml")
    rules = {
        job.split(":")[0]
        for job in planned_jobs(snakemake(project, *flags, QUORUM_REAL_DATA=str(tmp_path)))
    }
    assert BOTH | {"find_series"} <= rules
    assert "simulate_series" not in rules


def test_the_sample_without_its_folder_is_refused(project):
    result = snakemake(project, "-n", "--configfile", "config/sample.yaml", QUORUM_REAL_DATA="")
    assert result.returncode != 0
    assert "QUORUM_REAL_DATA, which is not set" in result.stdout


def test_a_label_plans_its_classifiers_and_their_maps(project):
    flags = ("-n", "write_report", "--config", "train_classifier={labels: [mean_without_3]}")
    jobs = planned_jobs(snakemake(project, *flags))
    assert {job.split(":")[0] for job in jobs} >= CLASSIFIERS
    assert any("mean_without_3" in job for job in jobs)


def test_an_unknown_label_is_refused(project):
    flags = ("-n", "--config", "train_classifier={labels: [median]}")
    result = snakemake(project, *flags)
    assert result.returncode != 0
    assert "train_classifier.labels" in result.stdout


def test_the_whole_collection_plans_one_job_a_shard(project, tmp_path):
    flags = ("-n", "--configfile", "config/lidc.yaml", "--config")
    result = snakemake(project, *flags, f"source={{kind: local, root: {tmp_path}}}")
    assert len([job for job in planned_jobs(result) if job.startswith("extract_cubes:")]) == 32
    assert re.search(r"^train_model +45$", result.stdout, re.M), "3 experiments, 5 folds, 3 seeds"


def test_reproducing_papers_ends_in_a_report_with_their_table(project):
    jobs = planned_jobs(snakemake(project, "-n", "reproduce_papers"))
    assert "compare_papers:reproduced" in jobs
    assert "compare_papers:papers" not in jobs
    assert "write_report" in {job.split(":")[0] for job in jobs}
    assert any(job.startswith("train_model:prob_unet") for job in jobs)
    made = project / "results" / "compare_papers"
    made.mkdir(parents=True)
    (made / "reproduced.csv").touch()
    (made / "reproduced.csv-metadata.json").touch()
    assert "compare_papers:papers" not in planned_jobs(snakemake(project, "-n"))


def test_every_rule_is_listed_with_its_docstring(project):
    result = snakemake(project, "--list-rules")
    assert result.returncode == 0, result.stdout
    for phrase in ("extract_cubes", "write_report"):
        assert phrase in result.stdout
