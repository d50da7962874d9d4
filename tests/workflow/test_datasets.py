"""A collection that nobody registered yet: one entry, and Snakemake lists and downloads it."""

import pandas as pd
import pytest
import yaml
from dicom_factory import write_series
from s3_server import put_series, s3_server
from workflow_copy import planned_jobs, snakemake

from quorum.sharding import shard_name, shard_of
from quorum.tables import read_table

NAME, BUCKET, NUM_SHARDS = "new_ct", "another-bucket", 3
ENTRY = {
    "title": "New CT",
    "source": "Imaging Data Commons",
    "collection": "new_ct_of_somebody",
    "modality": "CT",
    "release": "made here",
    "licence": "CC BY 4.0",
    "citation": "Nobody, 2026.",
    "doi": "10.1/new",
    "paper": None,
    "num_series": 6,
    "size_gb": 0.1,
    "fetched_by": "download_dataset",
    "purpose": "a test",
    "num_shards": NUM_SHARDS,
}


def series_of_each_shard() -> list:
    """Return the UIDs of two series a shard."""
    uids = [f"1.2.826.0.1.3680043.8.498.6.{number}" for number in range(1, 100)]
    parts = [[uid for uid in uids if shard_of(uid, NUM_SHARDS) == k] for k in range(NUM_SHARDS)]
    return [uid for part in parts for uid in part[:2]]


def index_row(uid: str, paths: list) -> dict:
    """Return a series' row of the index, by its columns."""
    size, key = sum(path.stat().st_size for path in paths), uid.replace(".", "-")
    return {
        "collection_id": ENTRY["collection"],
        "SeriesInstanceUID": uid,
        "StudyInstanceUID": f"{uid}.1",
        "PatientID": f"P{uid[-2:]}",
        "Modality": "CT",
        "instanceCount": len(paths),
        "series_size_MB": size / 1e6,
        "license_short_name": ENTRY["licence"],
        "source_DOI": ENTRY["doi"],
        "aws_bucket": BUCKET,
        "crdc_series_uuid": key,
        "series_aws_url": f"s3://{BUCKET}/{key}/*",
    }


@pytest.fixture
def collection(project, tmp_path):
    """A project with one more entry in its register, and a server with that collection."""
    register = project / "config" / "datasets.yaml"
    register.write_text(register.read_text() + yaml.safe_dump({NAME: ENTRY}))
    rows = []
    with s3_server(5785) as endpoint:
        for uid in series_of_each_shard():
            paths = write_series(tmp_path / "source" / uid, [0.0, 1.0], SeriesInstanceUID=uid)
            rows.append(index_row(uid, paths))
            put_series(endpoint, tmp_path / "source" / uid, rows[-1]["crdc_series_uuid"], BUCKET)
        pd.DataFrame(rows).to_parquet(tmp_path / "index.parquet")
        source = {"endpoint": endpoint, "index": str(tmp_path / "index.parquet")}
        source["concurrent_shards"] = 1
        (project / "config" / "new.yaml").write_text(yaml.safe_dump({"source": source}))
        yield project


def test_a_new_entry_is_listed_and_downloaded_one_part_at_a_time(collection):
    folder = collection / "results" / "download_dataset" / NAME
    names = [shard_name(number) for number in range(NUM_SHARDS)]
    targets = [f"results/download_dataset/{NAME}/{name}.csv" for name in names]
    flags = ("--cores", "3", "--configfile", "config/new.yaml")
    result = snakemake(collection, *targets, *flags)
    assert result.returncode == 0, result.stdout[-4000:]
    manifests = pd.concat(read_table(folder / f"{n}.manifest.csv", "manifest") for n in names)
    assert sorted(set(manifests["series_uid"])) == sorted(series_of_each_shard())
    assert len(manifests) == len(list(folder.rglob("*.dcm"))) == 12
    lines = [line.split()[0] for line in result.stdout.splitlines() if line.strip()]
    told = [word for word in lines if word in ("localrule", "Finished")]
    # Three cores were free: a download starts when the one before has ended, `concurrent_shards`.
    assert told[-2 * NUM_SHARDS :] == ["localrule", "Finished"] * NUM_SHARDS


@pytest.mark.parametrize("keep_dicom", ["true", "false"])
def test_every_download_counts_whether_its_images_are_kept_or_not(project, keep_dicom):
    settings = f"source={{kind: idc, keep_dicom: {keep_dicom}}}"
    (project / "config" / "few.yaml").write_text("plan_shards: {num_shards: 1}\n")
    flags = ("--configfile", "config/few.yaml", "--config", settings)
    result = snakemake(project, "-n", "results/download_series/shard00.csv", *flags)
    assert {"download_series:shard00"} <= planned_jobs(result)
    block = result.stdout.split("rule download_series:")[1].split("\n\n")[0]
    assert "downloads=1" in block
