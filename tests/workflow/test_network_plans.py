"""The configuration of ten networks plans them all, and nnU-Net beside them where asked for."""

import re

from workflow_copy import ROOT, planned_jobs, snakemake

from quorum.settings import load_yaml


def test_ten_networks_and_nnunet_are_planned_on_one_split(project, tmp_path):
    (tmp_path / "lidc-vois").mkdir()
    flags = ("-n", "--configfile", "config/networks.yaml", "--config")
    small = "train_nnunet={schedules: [small], inputs: [cubes, native]}"
    result = snakemake(project, *flags, small, QUORUM_REAL_DATA=str(tmp_path))
    jobs = planned_jobs(result)
    names = load_yaml(ROOT / "config" / "networks.yaml")["experiments"]
    assert len([job for job in jobs if job.startswith("train_model:")]) == len(names)
    assert len([job for job in jobs if job.startswith("score_predictions:")]) == len(names) + 2
    found = [job for job in jobs if job.startswith("train_nnunet:")]
    assert sorted(job.split(":")[1] for job in found) == ["nnunet_native_small", "nnunet_small"]
    report = result.stdout.split("rule write_report:")[1].split("output:")[0]
    for name in ("nnunet_small", "nnunet_native_small"):
        for path in ("train_nnunet/{}/fold0_seed0.h5", "score_predictions/{}/fold0_seed0.csv"):
            assert path.format(name) in report
    assert "compare_networks" not in {job.split(":")[0] for job in jobs}


def test_ten_networks_are_of_ten_kinds():
    names = load_yaml(ROOT / "config" / "networks.yaml")["experiments"]
    networks = set()
    for name in names:
        diff = load_yaml(ROOT / "config" / "experiments" / f"{name}.yaml")
        if diff.get("method", "network") == "network":
            networks.add(diff.get("network", {"name": "unet3d"})["name"])
    assert len(networks) >= 10
    budget = load_yaml(ROOT / "config" / "networks.yaml")["train_model"]["max_steps"]
    first = (ROOT / "config" / "networks.yaml").read_text().split("source:")[0]
    assert re.search(rf"\b{budget} steps", first), "the budget is said at the top"
