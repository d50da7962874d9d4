"""Two nodes on one machine: a training on both, and a node that dies."""

import shutil

import pytest
from needs import require
from slurm_cluster import MARK, missing_reason, start_cluster
from slurm_runs import (
    ACCEPTED,
    TRAINED,
    TRAINING_LOG,
    end_well,
    submissions,
    submitting,
    training,
    wait_for_state,
)
from workflow.conftest import tiny_copy, tiny_run  # noqa: F401

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def two_nodes(tmp_path_factory):
    """A cluster of two nodes, both on this machine."""
    reason = missing_reason()
    require(not reason, reason)
    with start_cluster(tmp_path_factory.mktemp(MARK), num_nodes=2) as running:
        yield running


def test_a_training_spans_two_nodes(two_nodes, tiny_copy):  # noqa: F811
    shutil.rmtree(tiny_copy / "results" / "train_model" / "unet3d")
    spread = ("mpi=srun", "nodes=2", "tasks=2", "gpu=0", "slurm_partition=cpu")
    flags = ["--set-resources", *(f"train_model:{value}" for value in spread)]
    flags += ["--set-threads", "train_model=1", *training(40)]
    # The nodes' names are known to SLURM alone here, so the first process' address is given.
    with submitting(tiny_copy, TRAINED, *flags, MASTER_ADDR="127.0.0.1") as process:
        end_well(process, tiny_copy)
    (job,) = submissions(tiny_copy)
    for node in two_nodes.nodes:
        assert f"launch task StepId={job}.0" in two_nodes.log_of(node)
    assert "MEMBER: 2/2" in (tiny_copy / TRAINING_LOG).read_text()
    assert (tiny_copy / TRAINED).is_file()


def test_a_job_of_a_dead_node_goes_to_another(two_nodes, tiny_copy):  # noqa: F811
    for rule in ("check_cubes", "accept_cubes"):
        shutil.rmtree(tiny_copy / "results" / rule)
    with submitting(tiny_copy, ACCEPTED) as process:
        job = wait_for_state(two_nodes, "RUNNING")
        first = two_nodes.run("squeue", "-h", "-j", job, "-o", "%N").stdout.strip()
        two_nodes.crash_node(first)
        end_well(process, tiny_copy)
    (other,) = set(two_nodes.nodes) - {first}
    assert submissions(tiny_copy) == [job]
    assert f"Launching batch job {job} " in two_nodes.log_of(first)
    assert f"Launching batch job {job} " in two_nodes.log_of(other)
