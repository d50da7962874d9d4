"""A part of another collection: RIDER Lung CT's own keys on a loopback server, with stand-ins."""

import download_dataset
import list_dataset
import pandas as pd
import pyarrow.parquet as pq
import pytest
from dicom_factory import write_series
from s3_server import put_series, s3_server
from workflow_copy import ROOT

from quorum.errors import InputError
from quorum.idc_index import index_path
from quorum.sharding import shard_of
from quorum.tables import read_table

REGISTER = ROOT / "config" / "datasets.yaml"
NUM_SHARDS = 12
PART = 3


@pytest.fixture(scope="module")
def rider(tmp_path_factory):
    """An index with two series of RIDER Lung CT of one part, and a server that holds them."""
    folder = tmp_path_factory.mktemp("rider")
    chosen = [("collection_id", "=", "rider_lung_ct"), ("Modality", "=", "CT")]
    index = pq.read_table(index_path(), filters=chosen).to_pandas()
    part = index["SeriesInstanceUID"].map(lambda uid: shard_of(uid, NUM_SHARDS) == PART)
    index = index[part].head(2).copy()
    with s3_server(5781) as endpoint:
        for row in index.itertuples():
            source = folder / "source" / row.crdc_series_uuid
            paths = write_series(source, [0.0, 1.0], SeriesInstanceUID=row.SeriesInstanceUID)
            put_series(endpoint, source, row.crdc_series_uuid, row.aws_bucket)
            index.loc[row.Index, "instanceCount"] = len(paths)
            size = sum(path.stat().st_size for path in paths)
            index.loc[row.Index, "series_size_MB"] = size / 1e6
        index.to_parquet(folder / "index.parquet")
        yield folder, endpoint, sorted(index["SeriesInstanceUID"])


def run(folder, endpoint, tmp_path, shard):
    base = ["--datasets", REGISTER, "--dataset", "rider_lung_ct"]
    flags = [*base, "--index", folder / "index.parquet", "--out-series", tmp_path / "series.csv"]
    list_dataset.main([str(flag) for flag in flags])
    flags = [*base, "--series", tmp_path / "series.csv", "--shard", shard, "--source", "idc"]
    flags += ["--endpoint", endpoint, "--partial", tmp_path / ".partial"]
    flags += ["--out-folder", tmp_path / shard, "--out-files", tmp_path / f"{shard}.csv"]
    flags += ["--out-manifest", tmp_path / f"{shard}.manifest.csv"]
    download_dataset.main([str(flag) for flag in flags])


def test_a_part_is_listed_and_fetched_by_its_entry_alone(rider, tmp_path):
    folder, endpoint, uids = rider
    run(folder, endpoint, tmp_path, f"shard{PART:02d}")
    found = sorted(path.name for path in (tmp_path / f"shard{PART:02d}").iterdir())
    assert found == uids
    manifest = read_table(tmp_path / f"shard{PART:02d}.manifest.csv", "manifest")
    assert pd.Series(uids).isin(manifest["series_uid"]).all()
    assert len(manifest) == 4


def test_a_part_without_series_is_an_empty_folder(rider, tmp_path):
    folder, endpoint, _ = rider
    run(folder, endpoint, tmp_path, "shard00")
    assert list((tmp_path / "shard00").iterdir()) == []


def test_a_part_that_is_not_there(rider, tmp_path):
    folder, endpoint, _ = rider
    with pytest.raises(InputError, match="rider_lung_ct has no shard12"):
        run(folder, endpoint, tmp_path, "shard12")
