"""Registered collections: each is as the pinned index has it, and a new one needs no code."""

import list_dataset
import pandas as pd
import pytest
from workflow_copy import ROOT

from quorum.datasets import collection_series, dataset_entry, read_register
from quorum.errors import InputError
from quorum.idc_index import index_path
from quorum.tables import read_table

REGISTER = ROOT / "config" / "datasets.yaml"
NAMES = sorted(read_register(REGISTER))


def run(tmp_path, name, *, datasets=REGISTER, index=None):
    flags = ["--datasets", datasets, "--dataset", name, "--out-series", tmp_path / f"{name}.csv"]
    flags += ["--index", index] if index else []
    list_dataset.main([str(flag) for flag in flags])
    return read_table(tmp_path / f"{name}.csv", "dataset_series")


def test_the_register_names_the_collections():
    assert NAMES == ["lidc_idri", "nsclc_radiomics", "rider_lung_ct", "upenn_gbm"]
    assert next(iter(read_register(REGISTER))) == "lidc_idri"


def test_every_entry_names_the_release_that_the_environment_pins():
    pins = (ROOT / "envs" / "constraints.txt").read_text().splitlines()
    pinned = [pin.replace("==", " ") for pin in pins if pin.startswith("idc-index-data==")]
    releases = {entry["release"] for entry in read_register(REGISTER).values()}
    assert [*releases] == pinned


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_is_as_the_pinned_index_has_it(tmp_path, name):
    entry = read_register(REGISTER)[name]
    series = run(tmp_path, name)
    assert len(series) == entry["num_series"]
    assert series["num_bytes"].sum() / 1e9 == pytest.approx(entry["size_gb"], abs=0.06)
    assert set(series["license"]) == {entry["licence"]}
    assert {doi.lower() for doi in series["doi"]} == {entry["doi"]}
    assert series["series_uid"].is_unique


def test_another_collection_is_one_entry(tmp_path):
    text = REGISTER.read_text()
    start = text.index("upenn_gbm:")
    new = text[start:].replace("upenn_gbm", "rider_pet").replace("modality: MR", "modality: CT")
    new = new.replace("collection: rider_pet", "collection: rider_lung_ct")
    (tmp_path / "datasets.yaml").write_text(text + new)
    assert len(run(tmp_path, "rider_pet", datasets=tmp_path / "datasets.yaml")) == 561


def test_unknown_names_are_told():
    with pytest.raises(InputError, match="'rider_lung_ct', the nearest valid name"):
        dataset_entry(read_register(REGISTER), "rider_lung")
    with pytest.raises(InputError, match=r"the collection 'lidc_idry'.*'lidc_idri'"):
        collection_series(index_path(), "lidc_idry", "CT")


def test_a_register_with_an_unknown_key_is_told(tmp_path):
    path = tmp_path / "datasets.yaml"
    path.write_text(REGISTER.read_text().replace("  licence:", "  license:", 1))
    with pytest.raises(InputError, match="unknown key 'license'"):
        read_register(path)


def test_an_index_that_lacks_a_column(tmp_path):
    path = tmp_path / "index.parquet"
    pd.DataFrame({"collection_id": ["x"]}).to_parquet(path)
    with pytest.raises(InputError, match="lacks the columns Modality, PatientID"):
        run(tmp_path, "lidc_idri", index=path)
    path.write_bytes(b"<html>")
    with pytest.raises(InputError, match="can't be read"):
        run(tmp_path, "lidc_idri", index=path)
