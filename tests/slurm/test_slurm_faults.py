"""What a cluster does to a run, in minutes: jobs ended, too small, requeued; refused starts."""

import re
import shutil
import subprocess
import sys

import pytest
from slurm_cluster import MEMORY_MB, wait_for
from slurm_runs import (
    ACCEPTED,
    PATIENCE_S,
    TOO_LITTLE_MEMORY,
    TRAINED,
    TRAINING_LOG,
    cluster,  # noqa: F401
    end_well,
    fresh_project,
    interrupt,
    submissions,
    submit,
    submitting,
    training,
    wait_for_checkpoint,
    wait_for_state,
    wait_until_idle,
)
from workflow.conftest import project, tiny_copy, tiny_run  # noqa: F401
from workflow_copy import TINY, call


@pytest.fixture
def unchecked(tiny_copy):  # noqa: F811
    """A tiny run whose cubes are to be checked again: one short job."""
    for rule in ("check_cubes", "accept_cubes"):
        shutil.rmtree(tiny_copy / "results" / rule)
    return tiny_copy


@pytest.fixture
def untrained(tiny_copy):  # noqa: F811
    """A tiny run whose network is to be trained again."""
    shutil.rmtree(tiny_copy / "results" / "train_model" / "unet3d")
    return tiny_copy


def test_a_cancelled_job_starts_again_and_daemons_may_go_and_come(
    cluster,  # noqa: F811
    unchecked,
):
    with submitting(unchecked, ACCEPTED) as process:
        first = wait_for_state(cluster, "RUNNING")
        cluster.run("scancel", first)
        second = wait_for_state(cluster, "RUNNING")
        cluster.end("slurmctld")
        cluster.kill("node1")
        cluster.start_controller()
        cluster.start_node("node1")
        end_well(process, unchecked)
    assert (unchecked / ACCEPTED).is_file()
    assert submissions(unchecked) == [first, second]


def test_a_job_over_its_memory_starts_again_with_more(cluster, unchecked):  # noqa: F811
    with submitting(unchecked, ACCEPTED, *TOO_LITTLE_MEMORY) as process:
        end_well(process, unchecked)
    first, _ = submissions(unchecked)
    # The step, or the batch step that starts it: SLURM ends whichever it measures first.
    assert re.search(rf"StepId={first}\.\w+ exceeded memory limit", cluster.log_of("node1"))
    text = (unchecked / "submit.txt").read_text()
    assert "mem_mb=100," in text
    assert "mem_mb=3200," in text


@pytest.mark.parametrize("how", ["requeued", pytest.param("preempted", marks=pytest.mark.slow)])
def test_a_training_that_slurm_queues_again_goes_on(cluster, untrained, how):  # noqa: F811
    with submitting(untrained, TRAINED, *training(120)) as process:
        job = wait_for_state(cluster, "RUNNING")
        assert "TresPerJob=gres:gpu:1" in cluster.run("scontrol", "show", "job", job).stdout
        wait_for_checkpoint(untrained)
        if how == "requeued":
            cluster.run("scontrol", "requeue", job)
        else:
            cluster.run("sbatch", "-p", "urgent", f"--mem={MEMORY_MB}", "--wrap=true", "-D", "/")
        end_well(process, untrained)
    assert "going on after step" in (untrained / TRAINING_LOG).read_text()
    assert submissions(untrained) == [job]


@pytest.mark.slow
def test_a_training_over_its_time_goes_on_in_a_longer_job(cluster, untrained):  # noqa: F811
    with submitting(untrained, TRAINED, *training(1000000)) as process:
        job = wait_for_state(cluster, "RUNNING")
        wait_for_checkpoint(untrained)
        cluster.run("scontrol", "update", f"JobId={job}", "TimeLimit=1")
        wait_for_state(cluster, "TIMEOUT")
        wait_for(lambda: len(submissions(untrained)) == 2, PATIENCE_S, "no second job")
        goes_on = "going on after step"
        wait_for(lambda: goes_on in (untrained / TRAINING_LOG).read_text(), PATIENCE_S, goes_on)
        interrupt(process)
        wait_until_idle(cluster)
    asked = re.findall(
        r"slurm_partition=gpu, runtime=(\d+)", (untrained / "submit.txt").read_text()
    )
    assert int(asked[1]) == 2 * int(asked[0])


@pytest.mark.slow
def test_jobs_of_one_rule_may_be_an_array(cluster, tiny_copy):  # noqa: F811
    scores = [f"results/score_predictions/{name}/fold0_seed0.csv" for name in ("ball", "unet3d")]
    shutil.rmtree(tiny_copy / "results" / "score_predictions")
    with submitting(tiny_copy, *scores, "--slurm-array-jobs", "all") as process:
        end_well(process, tiny_copy)
    assert all((tiny_copy / path).is_file() for path in scores)
    text = (tiny_copy / "submit.txt").read_text()
    assert "Submitted array job with Snakemake IDs" in text
    assert submissions(tiny_copy) == []


def test_a_second_start_is_refused_and_a_cancelled_run_leaves_no_job(
    cluster,  # noqa: F811
    untrained,
):
    with submitting(untrained, TRAINED, *training(1000000)) as process:
        wait_for_state(cluster, "RUNNING")
        wait_for_checkpoint(untrained)
        status = call(untrained, sys.executable, "scripts/show_status.py").stdout
        assert "running  1: train_model 1\n" in status
        assert "failed   0\n" in status
        assert "lost" not in status
        second = call(untrained, sys.executable, "scripts/run_workflow.py")
        assert second.returncode != 0
        assert f"Snakemake is at work in {untrained} (process {process.pid})" in second.stdout
        interrupt(process)
        wait_until_idle(cluster)
    assert process.returncode != 0
    assert not (untrained / TRAINED).is_file()


def test_a_job_that_a_dead_head_left_is_refused_until_it_has_ended(
    cluster,  # noqa: F811
    untrained,
):
    with submitting(untrained, TRAINED, *training(1000000)) as process:
        job = wait_for_state(cluster, "RUNNING")
        process.kill()
        process.wait()
    shutil.rmtree(untrained / ".snakemake" / "locks", ignore_errors=True)
    result = submit(untrained, TRAINED)
    assert result.returncode != 0
    assert f"scancel {job}" in result.stdout
    cluster.run("scancel", job)
    wait_until_idle(cluster)


def test_a_folder_that_a_node_does_not_see_is_refused(cluster, project):  # noqa: F811
    if subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("this machine gives no mount namespace")
    (project / "config" / "tiny.yaml").write_text(TINY)
    cluster.kill("node1")
    cluster.start_node("node1", hidden=project)
    try:
        wait_for(cluster.is_ready, 60, "the node did not come back")
        result = submit(project)
    finally:
        cluster.kill("node1")
        cluster.start_node("node1")
    assert result.returncode != 0
    assert f"error: a node does not see the folder {project}" in result.stdout
    assert "Traceback" not in result.stdout


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
