"""The profiles without a cluster: a comment above each entry, few jobs, GPUs that are seen."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from plan_run import read_local_rules
from slurm_runs import PROFILE, fresh_project, submit
from workflow.conftest import project  # noqa: F401
from workflow_copy import ROOT, snakemake

from quorum.schedule import count_jobs, submitted
from quorum.settings import load_yaml
from quorum.tables import read_table

PROFILES = sorted((ROOT / "workflow" / "profiles").glob("*/config.yaml"))
COMMON = ROOT / "workflow" / "rules" / "common.smk"


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.parent.name)
def test_a_comment_stands_above_each_entry(path):
    blocks = path.read_text().split("\n\n")
    for block in blocks:
        if re.search(r"^[a-z-]+:", block, re.M):
            assert block.startswith("#"), block


def test_the_whole_collection_submits_few_jobs(project, tmp_path):  # noqa: F811
    """32 shards, 5 folds, one experiment: by the profile's groups and the local rules."""
    config = "source={kind: local, root: " + str(tmp_path) + "}"
    flags = ["-n", "--workflow-profile", PROFILE, "--configfile", "config/lidc.yaml", "--config"]
    result = snakemake(project, *flags, config, "experiments=[unet3d]", "seeds=[0]")
    counts = count_jobs(result.stdout)
    assert counts["extract_cubes"] == 32
    assert counts["train_model"] == 5
    assert submitted(counts, read_local_rules(COMMON)) < 120


def test_a_shards_rules_are_one_group():
    groups = load_yaml(ROOT / PROFILE / "config.yaml")["groups"]
    assert set(groups.values()) == {"{shard}"}
    assert {"check_series", "extract_cubes", "download_series"} <= set(groups)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["train_model:gpu=4"], "--devices 4 --nodes 1"),
        (["train_model:gpu=0", "train_model:gres=gpu:a100:2"], "--devices 2 --nodes 1"),
        (
            ["train_model:mpi=srun", "train_model:nodes=2", "train_model:tasks=8"],
            "--devices 4 --nodes 2",
        ),
        (["train_model:gpu=0"], "--devices 1 --nodes 1"),
    ],
)
def test_training_sees_the_gpus_that_its_job_asks_for(project, flags, words):  # noqa: F811
    target = "results/train_model/unet3d/fold0_seed0/model.pt"
    base = ("-n", "--printshellcmds", "--workflow-profile", PROFILE, target)
    result = snakemake(project, *base, "--set-resources", *flags)
    assert result.returncode == 0, result.stdout
    assert words in result.stdout
    is_spread = "srun --nodes=2 --ntasks-per-node=4" in result.stdout
    assert is_spread == ("mpi" in flags[0])


def rules_with_resources() -> dict:
    """Return the text of each rule of the workflow."""
    pattern = r"^(?:rule|checkpoint) (\w+):\n(.*?)(?=^rule|^checkpoint|\Z)"
    texts = (path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    return {rule: body for text in texts for rule, body in re.findall(pattern, text, re.M | re.S)}


def test_the_clouds_profiles_name_the_rules_that_can_use_a_gpu():
    """Kubernetes' plugin ends a rule that names `gpu` without a maker, be it 0."""
    can = {rule for rule, body in rules_with_resources().items() if " gpu=" in body}
    assert "train_model" in can
    for name in ("slurm", "kubernetes"):
        named = load_yaml(ROOT / "workflow" / "profiles" / name / "config.yaml")["set-resources"]
        assert set(named) == can
        assert name == "slurm" or all(named[rule]["gpu_manufacturer"] == "nvidia" for rule in can)
    text = (ROOT / "workflow" / "profiles" / "googlebatch" / "config.yaml").read_text()
    assert set(re.findall(r"^#   (\w+):\n#     nvidia_gpu: ", text, re.M)) == can


def test_a_retry_asks_for_more():
    """Every job of a cluster grows; the small rules of the head node needn't."""
    local = read_local_rules(COMMON)
    for rule, body in rules_with_resources().items():
        if rule not in local:
            assert re.search(r"mem_mb=grows\(\d+\)", body), rule
            assert re.search(r"runtime=grows\(\d+\)", body), rule


def test_what_rules_ask_for_is_what_was_measured_and_a_margin():
    """Memory 1.5 times, and 400 MB for Snakemake's own processes in a job; time ten times."""
    measured = read_table(ROOT / "workflow" / "profiles" / "costs.csv", "costs")
    largest = measured.groupby("rule")[["max_wall_s", "max_memory_mb"]].max()
    local, rules = read_local_rules(COMMON), rules_with_resources()
    assert {"extract_cubes", "train_model", "write_report"} <= set(largest.index)
    for rule in sorted(set(largest.index) & set(rules)):
        asked = {
            name: int(re.search(rf"{name}=(?:grows\()?(\d+)", rules[rule]).group(1))
            for name in ("mem_mb", "runtime")
        }
        own_mb = 0 if rule in local else 400
        assert asked["mem_mb"] >= 1.5 * largest.loc[rule, "max_memory_mb"] + own_mb, rule
        assert asked["runtime"] * 60 >= 10 * largest.loc[rule, "max_wall_s"], rule


def test_every_rule_of_the_default_run_was_measured(project):  # noqa: F811
    """Else `make plan` counts 0 s for it."""
    counts = count_jobs(snakemake(project, "-n").stdout)
    measured = read_table(ROOT / "workflow" / "profiles" / "costs.csv", "costs")
    assert len(counts) > 30
    assert set(counts) <= set(measured["rule"])


def test_files_of_the_repository_are_local_inputs():
    """With a bucket as default storage, an input of another kind is looked for there."""
    found = 0
    for rule, body in rules_with_resources().items():
        inputs = re.search(r"^    input:\n(.*?)^    \w", body, re.M | re.S)
        for match in re.finditer(r'"config/', inputs.group(1) if inputs else ""):
            assert re.search(r"local\(\s*(expand\(\s*)?$", inputs.group(1)[: match.start()]), rule
            found += 1
    assert found


def test_without_slurm_one_sentence_says_so(tmp_path):
    folder = fresh_project(tmp_path / "project")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "sh", "env", "uname", "which"):
        (programs / name).symlink_to(shutil.which(name))
    result = submit(folder, PATH=f"{Path(sys.executable).parent}:{programs}")
    assert result.returncode != 0
    assert "error: the SLURM command sbatch is not on this machine" in result.stdout, result.stdout
