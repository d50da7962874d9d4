"""Two nodes on one machine: a training on both, a node that dies, and a cluster with accounting."""

import shutil

import pytest
from conftest import require
from slurm_cluster import MARK, missing_reason, start_cluster, wait_for
from slurm_runs import submit
from test_slurm_faults import ACCEPTED, TRAINED, ended_well, submitting
from workflow.conftest import tiny_copy, tiny_run  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("slurm")]


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
    flags = [f"train_model:{value}" for value in spread]
    # The nodes' names are known to SLURM alone here, so the first process' address is given.
    result = submit(
        tiny_copy,
        TRAINED,
        "--set-resources",
        *flags,
        "--set-threads",
        "train_model=1",
        MASTER_ADDR="127.0.0.1",
    )
    assert result.returncode == 0, result.stdout[-3000:]
    log = tiny_copy / "results" / "logs" / "train_model" / "unet3d" / "fold0_seed0.log"
    assert (
        "MEMBER: 2/2" in log.read_text()
        or '"nodes": [\n    2\n' in (tiny_copy / TRAINED).with_name("record.json").read_text()
    )


def test_a_job_of_a_dead_node_goes_to_another(two_nodes, tiny_copy):  # noqa: F811
    for rule in ("check_cubes", "accept_cubes"):
        shutil.rmtree(tiny_copy / "results" / rule)
    with submitting(tiny_copy, ACCEPTED) as process:
        node = []

        def has_started():
            node[:] = two_nodes.run("squeue", "-h", "-t", "R", "-o", "%N").stdout.split()
            return bool(node)

        wait_for(has_started, 90, "no job ran")
        two_nodes.kill(node[0])
        two_nodes.run("scontrol", "update", f"NodeName={node[0]}", "State=DOWN", "Reason=test")
        ended_well(process, tiny_copy)
    assert (tiny_copy / ACCEPTED).is_file()
    two_nodes.start_node(node[0])
    two_nodes.run("scontrol", "update", f"NodeName={node[0]}", "State=RESUME", check=False)
    wait_for(two_nodes.is_ready, 60, "the node did not come back")
