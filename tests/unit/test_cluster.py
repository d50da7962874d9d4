"""What is asked of a cluster before the first submission: known answers of sinfo, bad requests."""

import math
import types

import pytest
from snakemake_interface_executor_plugins.settings import SharedFSUsage

from quorum import cluster
from quorum.cluster import Request, gpus_of, parse_limit, parse_nodes, refuse_request
from quorum.errors import InputError

SINFO = (
    "cpu*|64|256000|(null)|1-00:00:00\n"
    "cpu*|32|128000|(null)|1-00:00:00\n"
    "gpu|16|190000|gpu:a100:4(S:0-1)|infinite\n"
)
NODES = parse_nodes(SINFO)
SHARED = SharedFSUsage.all()


def request(**changes) -> Request:
    """Return a request that fits, but for what is given."""
    fitting = {
        "rule": "train_model",
        "partition": "gpu",
        "memory_mb": 3000,
        "runtime_min": 240,
        "threads": 2,
        "num_gpus": 1,
    }
    return Request(**(fitting | changes))


def test_nodes_are_read_as_sinfo_prints_them():
    assert [node.partition for node in NODES] == ["cpu", "cpu", "gpu"]
    assert [node.is_default for node in NODES] == [True, True, False]
    assert [node.num_gpus for node in NODES] == [0, 0, 4]
    assert [node.memory_mb for node in NODES] == [256000, 128000, 190000]
    assert NODES[0].limit_min == 1440
    assert math.isinf(NODES[2].limit_min)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("30:00", 30), ("2:00:00", 120), ("1-12:30:00", 2190), ("infinite", math.inf)],
)
def test_time_limits(text, minutes):
    assert parse_limit(text) == minutes


@pytest.mark.parametrize(
    ("gres", "count"),
    [("gpu:2", 2), ("gpu:a100:4", 4), ("gpu", 1), ("", 0), ("shard:3", 0), ("gpu:1g.5gb:2", 2)],
)
def test_gpus_by_gres(gres, count):
    assert gpus_of({"gres": gres}) == count
    assert gpus_of({"gres": gres, "gpu": 8}) == 8


def test_a_request_that_fits_passes():
    refuse_request(request(), NODES)
    refuse_request(request(partition=None, num_gpus=0), NODES)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"partition": "gpus"}, "unknown partition 'gpus'; expected one of: cpu, gpu"),
        ({"memory_mb": 200000}, "200000 MB of memory and the partition gpu gives at most 190000"),
        ({"partition": "cpu"}, "1 GPUs and the partition cpu gives at most 0"),
        ({"threads": 17}, "17 CPUs"),
        ({"partition": "cpu", "num_gpus": 0, "runtime_min": 1441}, "1441 minutes"),
    ],
)
def test_a_request_that_never_starts_is_refused_in_a_sentence(changes, words):
    with pytest.raises(InputError, match="workflow/profiles/slurm") as caught:
        refuse_request(request(**changes), NODES)
    assert words in str(caught.value)
    assert "train_model" in str(caught.value)


def test_no_partition_and_no_default_one_is_refused():
    with pytest.raises(InputError, match="has no partition"):
        refuse_request(request(partition=None), parse_nodes(SINFO.replace("*", "")))


def test_a_cluster_without_gpus_is_told_apart_from_a_partition_without():
    without = parse_nodes("cpu*|64|256000|(null)|infinite\n")
    with pytest.raises(InputError, match="no node has one"):
        refuse_request(request(partition="cpu"), without)


def test_jobs_of_an_earlier_run_are_refused_by_their_ids(tmp_path):
    text = f"12|{tmp_path}\n13_4|{tmp_path}\n99|/elsewhere\n"
    with pytest.raises(InputError, match=r"2 SLURM jobs .* scancel 12 13_4"):
        cluster.refuse_left_jobs(text, tmp_path)
    cluster.refuse_left_jobs(text, tmp_path / "other")
    cluster.refuse_left_jobs("", tmp_path)


def workflow_of(executor: str, *, opens_test_part: bool = False, shared=SHARED):
    """Return what is asked of Snakemake's workflow before anything is submitted."""
    return types.SimpleNamespace(
        executor_plugin=types.SimpleNamespace(name=executor),
        storage_settings=types.SimpleNamespace(shared_fs_usage=shared),
        globals={"config": {"compare_with_readers": {"opens_test_part": opens_test_part}}},
    )


def test_the_test_part_is_not_opened_where_looks_would_be_lost():
    lost = workflow_of("kubernetes", opens_test_part=True, shared=frozenset())
    with pytest.raises(InputError, match="a look at the test part would leave no trace"):
        cluster.refuse_bad_cluster(lost, "results")
    cluster.refuse_bad_cluster(workflow_of("kubernetes", shared=frozenset()), "results")
    cluster.refuse_bad_cluster(workflow_of("local", opens_test_part=True), "results")


def test_a_machine_without_slurm_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    workflow = workflow_of("slurm")
    with pytest.raises(InputError, match="sbatch is not on this machine"):
        cluster.refuse_bad_cluster(workflow, "results")


def test_another_executor_is_asked_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    workflow = workflow_of("local")
    cluster.refuse_bad_cluster(workflow, "results")


def test_a_cluster_that_does_not_answer_is_refused(monkeypatch, tmp_path):
    for name in cluster.COMMANDS:
        (tmp_path / name).write_text("#!/bin/sh\necho 'Unable to contact' >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    workflow = workflow_of("slurm")
    with pytest.raises(InputError, match="does not answer to squeue \\(Unable to contact\\)"):
        cluster.refuse_bad_cluster(workflow, "results")


def stand_in(folder, monkeypatch, **scripts):
    """Put commands of SLURM into `folder`, each a line of shell, and nothing else on PATH."""
    for name, line in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def test_a_cluster_without_accounting_is_refused_where_sacct_is_to_be_asked(monkeypatch, tmp_path):
    refusal = "echo 'Slurm accounting storage is disabled' >&2; exit 1"
    stand_in(tmp_path, monkeypatch, sacct=refusal, scontrol="echo 'MinJobAge = 300 sec'")
    with pytest.raises(InputError, match=r"storage is disabled.*slurm-status-command: squeue"):
        cluster.refuse_blind_status("sacct")
    cluster.refuse_blind_status("squeue")


def test_a_controller_that_forgets_ended_jobs_is_refused(monkeypatch, tmp_path):
    stand_in(tmp_path, monkeypatch, sacct="exit 0", scontrol="echo 'MinJobAge  = 60 sec'")
    with pytest.raises(InputError, match="SLURM forgets a job 60 s after its end"):
        cluster.refuse_blind_status("squeue")
    cluster.refuse_blind_status("sacct")
