"""Runs reach an MLflow store once, with their settings, history and record."""

import importlib.util
import json

import export_mlflow
import pytest
from model_factory import make_cohort
from needs import require
from train_model import main as train

from quorum.errors import InputError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the folder of one short run."""
    require(importlib.util.find_spec("mlflow") is not None, "MLflow (`make env-export`)")
    cohort = make_cohort(tmp_path_factory.mktemp("cohort"))
    out = tmp_path_factory.mktemp("run")
    train(cohort.train_flags(cohort.plan("kept", max_steps=2), out))
    return out


def stored_runs(store: str) -> list:
    """Return the runs of a store."""
    client, experiment = export_mlflow.open_store(store)
    return client.search_runs([experiment])


def test_a_run_is_written_once_with_all_that_it_is(run, tmp_path):
    store = f"sqlite:///{tmp_path}/store/mlflow.db"
    for _ in range(2):
        export_mlflow.main(["--runs", str(run), "--store", store])
    (found,) = stored_runs(store)
    record = json.loads((run / "record.json").read_text())
    assert found.info.run_name == "kept/fold0_seed0"
    assert found.data.tags["data_kind"] == record["data_kind"]
    steps = record["plan"]["settings"]["max_steps"]
    assert found.data.params["max_steps"] == str(steps) == "2"
    assert found.data.params["network.name"] == record["plan"]["settings"]["network"]["name"]
    assert found.data.metrics["loss"] > 0
    copies = list((tmp_path / "store" / "artifacts").rglob("record.json"))
    assert [path.read_bytes() for path in copies] == [(run / "record.json").read_bytes()]


def test_a_folder_without_a_run_is_refused(run, tmp_path):
    store = f"sqlite:///{tmp_path}/mlflow.db"
    with pytest.raises(InputError, match=r"holds no record\.json"):
        export_mlflow.main(["--runs", str(tmp_path), "--store", store])
    assert not stored_runs(store)
