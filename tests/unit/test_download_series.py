"""One shard from a loopback server: complete or not at all, and every bad input in a sentence."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from argparse import Namespace

import download_series
import pandas as pd
import pytest
from dicom_factory import edit, write_series
from download_inputs import SHARD, Stand, content, strays, write_inputs
from s3_server import client, s3_server
from workflow_copy import ROOT

from quorum.completeness import check_listing, doubled_instance, inspect_file
from quorum.download_flags import begin_listing
from quorum.errors import InputError
from quorum.shard_download import bytes_of_others
from quorum.tables import read_table
from quorum.transfer_locks import only_job
from quorum.transfer_progress import Progress, time_left
from quorum.transfer_s3 import (
    Bucket,
    StoredObject,
    TransferError,
    fetch_objects,
    series_prefix,
    start_listing,
)

# Damaged headers are meant: a line for each would hide what failed.
pytestmark = pytest.mark.filterwarnings("ignore:::pydicom")

UID = "1.2.826.0.1.3680043.8.498.5"
Z_MM = [0.0, 2.5, 5.0]


@pytest.fixture(scope="module")
def endpoint():
    with s3_server(5771) as address:
        yield address


@pytest.fixture
def stand(endpoint, tmp_path, monkeypatch):
    """Two series on the server, of this test alone."""
    monkeypatch.setattr("quorum.download.FIRST_PAUSE_S", 0.01)
    stand = Stand(tmp_path / "work", endpoint)
    for number in range(2):
        uid = f"{UID}.{time.monotonic_ns()}.{number + 1}"
        write_series(tmp_path / "source" / uid, Z_MM, SeriesInstanceUID=uid)
        stand.add(uid, tmp_path / "source" / uid)
    return stand


def run(stand, **changes):
    download_series.main(write_inputs(stand, **{"attempts": 1, "stall_s": 5, **changes}))


def test_a_shard_comes_whole_with_manifest_and_index(stand):
    run(stand)
    assert len(content(stand)) == 6
    assert strays(stand) == []
    assert not (stand.folder / "results" / ".partial").exists()
    manifest = read_table(stand.folder / "results" / f"{SHARD}.manifest.csv", "manifest")
    assert sorted(manifest["z_mm"])[::2] == Z_MM
    assert manifest["sop_instance_uid"].is_unique
    files = read_table(stand.folder / "results" / f"{SHARD}.csv", "files")
    assert set(files["data_kind"]) == {"scan"}
    assert (files["series_uid"] == files["source_series_uid"]).all()
    assert files["num_bytes"].sum() == sum(row["num_bytes"] for row in stand.rows)
    assert all((ROOT / path).is_file() for path in files["path"])


def test_an_empty_shard_is_an_empty_folder(endpoint, tmp_path):
    stand = Stand(tmp_path, endpoint)
    run(stand)
    assert content(stand) == {}
    assert (tmp_path / "results" / SHARD).is_dir()


def test_a_second_run_fetches_nothing(stand, monkeypatch):
    run(stand)
    before = content(stand)
    os.replace(stand.folder / "results" / SHARD, stand.folder / "kept")
    partial = stand.folder / "results" / ".partial" / SHARD
    partial.parent.mkdir()
    os.replace(stand.folder / "kept", partial)
    monkeypatch.setattr("quorum.download.fetch_pending", None)
    run(stand)
    assert content(stand) == before


def test_a_verified_file_that_was_damaged_since_is_fetched_again(stand, monkeypatch):
    run(stand)
    before = content(stand)
    partial = stand.folder / "results" / ".partial" / SHARD
    partial.parent.mkdir()
    os.replace(stand.folder / "results" / SHARD, partial)
    path = sorted(partial.rglob("*.dcm"))[2]
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    fetched = []

    def note(bucket, places, **more):
        fetched.extend(place for _, place in places)
        return fetch_objects(bucket, places, **more)

    monkeypatch.setattr("quorum.download.fetch_objects", note)
    run(stand)
    assert content(stand) == before
    assert [(place.parent.name, place.name) for place in fetched] == [(path.parent.name, path.name)]


def test_a_job_whose_run_has_died_leaves_its_series_for_the_next(stand, monkeypatch):
    class Dead:
        def is_running(self):
            return False

    monkeypatch.setattr("quorum.shard_download.starting_run", Dead)
    with pytest.raises(InputError, match="the run that started this job has died"):
        run(stand)
    assert not (stand.folder / "results" / SHARD).exists()
    assert not (stand.folder / "results" / f"{SHARD}.csv").exists()
    monkeypatch.setattr("quorum.shard_download.starting_run", lambda: None)
    monkeypatch.setattr("quorum.download.fetch_pending", None)
    run(stand)
    assert len(content(stand)) == 6


def test_its_child_dies_with_a_killed_job_and_the_next_one_goes_on(stand):
    words = [sys.executable, ROOT / "scripts" / "download_series.py", *write_inputs(stand)]
    for wait_s in (0.9, 1.3, 1.7):
        process = subprocess.Popen(
            [str(word) for word in words], stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(wait_s)
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(0.2)
        left = subprocess.run(["pgrep", "-f", str(stand.folder)], capture_output=True, text=True)
        assert left.stdout == ""
    run(stand)
    assert len(content(stand)) == 6
    assert strays(stand) == []


def test_a_table_that_a_killed_job_half_wrote_is_removed(stand):
    left = stand.folder / "results" / f".{SHARD}.manifest.csv.1234.tmp.csv"
    left.parent.mkdir(parents=True)
    left.write_text("series_uid,")
    run(stand)
    assert strays(stand) == []


def test_a_series_that_the_index_lacks(stand):
    flags = write_inputs(stand)
    path = stand.folder / "series.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(InputError, match=r"1 series of .* are not in the index"):
        download_series.main(flags)


@pytest.mark.parametrize("uid", ["../../etc", "1..2", "1.02", "", "1" * 65, "1.2/3"])
def test_a_uid_that_is_none_is_no_path(endpoint, tmp_path, uid):
    write_series(tmp_path / "source", Z_MM)
    stand = Stand(tmp_path / "work", endpoint)
    stand.add(uid or "x", tmp_path / "source")
    with pytest.raises(InputError, match="as a UID"):
        run(stand)
    made = {path.name for path in (tmp_path / "work").rglob("*")}
    assert "etc" not in made
    assert not list((tmp_path / "work").rglob("*.dcm"))


@pytest.mark.parametrize("place", ["../..", "a b", "x'; rm -rf y", ""])
def test_a_place_that_is_none_is_refused(stand, place):
    row = stand.rows[0]
    row["crdc_series_uuid"] = place or "-"
    with pytest.raises(InputError, match="as the place of the series"):
        run(stand)


def test_a_listing_is_begun_only_where_the_tables_allow_it(tmp_path):
    args = Namespace(source="idc", plan=tmp_path / "p.csv", series=tmp_path / "s.csv")
    assert begin_listing(args) is None
    args.plan.write_text("series_uid\n1.2\n")
    args.series.write_text("series_uid,bucket,crdc_series_uuid\n1.2,public,x'; rm -rf y\n")
    assert begin_listing(args) is None
    args.source = "tcia"
    assert begin_listing(args) is None


def test_an_unknown_bucket(stand):
    for row in stand.rows:
        row["bucket"] = "no-such-bucket"
    with pytest.raises(InputError, match="NoSuchBucket"):
        run(stand)


def test_files_or_bytes_that_the_index_does_not_tell(stand):
    stand.rows[0]["num_bytes"] += 1
    with pytest.raises(InputError, match=r"lists \d+ bytes and the index"):
        run(stand)
    stand.rows[0]["num_bytes"] -= 1
    stand.rows[0]["num_instances"] += 1
    with pytest.raises(InputError, match="lists 3 files and the index 4"):
        run(stand)


@pytest.mark.parametrize(
    ("content_of", "words"),
    [
        (lambda data: b"", "0 bytes"),
        (lambda data: b"<html>no</html>", "no readable DICOM"),
        (lambda data: data[:300], "no readable DICOM"),
    ],
    ids=["empty", "page", "cut in the header"],
)
def test_an_object_that_is_no_dicom(stand, endpoint, tmp_path, content_of, words):
    row = stand.rows[0]
    path = sorted((tmp_path / "source" / row["series_uid"]).glob("*.dcm"))[0]
    data = content_of(path.read_bytes())
    row["num_bytes"] += len(data) - path.stat().st_size
    key = f"{row['crdc_series_uuid']}/{path.name}"
    client(endpoint).put_object(Bucket=row["bucket"], Key=key, Body=data, ACL="public-read")
    with pytest.raises(InputError, match=words):
        run(stand)
    done = stand.folder / "results" / ".partial" / SHARD
    assert [folder.name for folder in done.iterdir()] == [stand.rows[1]["series_uid"]]


def test_a_header_that_claims_a_giant_takes_no_memory(tmp_path):
    path = write_series(tmp_path, [0.0], SeriesInstanceUID=UID)[0]
    edit(path, Rows=65535, Columns=65535, NumberOfFrames=10000)
    record = inspect_file(path, StoredObject(path.name, path.stat().st_size, ""), UID)
    assert record.z_mm == 0.0
    data = bytearray(path.read_bytes())
    place = data.index(b"\x20\x00\x32\x00")  # ImagePositionPatient, in little endian
    data[place + 6 : place + 8] = (65534).to_bytes(2, "little")
    path.write_bytes(bytes(data))
    with pytest.raises(TransferError, match=r"no readable DICOM|another series"):
        inspect_file(path, StoredObject(path.name, len(data), ""), UID)


def test_a_bucket_that_answers_with_a_page_has_no_listing(tmp_path):
    from page_server import page_server

    with page_server() as address:
        listing = start_listing(Bucket(address, 2, 3.0), ["s3://b/k/"]).result()["s3://b/k/"]
    assert isinstance(listing, TransferError)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(words, check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@needs_root
def test_a_disk_that_fills_ends_in_one_sentence(stand, small_disk, monkeypatch):
    monkeypatch.setattr("quorum.shard_download.refuse_full_disk", lambda partial, num_bytes: None)
    (small_disk / "filler").write_bytes(bytes((1 << 20) - 12_000))
    changes = {
        "partial": small_disk / ".partial",
        "out_folder": small_disk / SHARD,
        "attempts": 9,
    }
    with pytest.raises(InputError, match="the disk filled up"):
        run(stand, **changes)
    (small_disk / "filler").unlink()
    run(stand, **changes)
    assert len(list((small_disk / SHARD).rglob("*.dcm"))) == 6


@needs_root
def test_too_little_free_space_is_told_before_the_first_byte(stand, small_disk):
    (small_disk / "filler").write_bytes(bytes((1 << 20) - 20_000))
    with pytest.raises(InputError, match="GB are to come"):
        run(stand, partial=small_disk / ".partial", out_folder=small_disk / SHARD)
    assert not list(small_disk.rglob("*.dcm"))


@needs_root
def test_a_folder_without_write_permission(stand, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(InputError, match="can't be written"):
        run(stand, partial=small_disk / ".partial", out_folder=small_disk / SHARD)


def test_permission_by_its_number(stand, monkeypatch):
    def refuse(*words, **more):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("quorum.shard_download.fetch", refuse)
    with pytest.raises(InputError, match="can't be written"):
        run(stand)


def test_two_jobs_on_one_shard_take_turns(tmp_path):
    words = (
        "import sys, time; sys.path.insert(0, 'scripts'); from pathlib import Path;"
        " from quorum.transfer_locks import only_job\n"
        f"with only_job(Path({str(tmp_path / 'x.lock')!r})): print('in', flush=True); time.sleep(1)"
    )
    with subprocess.Popen([sys.executable, "-c", words], cwd=ROOT, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"in\n"
        start = time.monotonic()
        with only_job(tmp_path / "x.lock"):
            assert other.wait(5) == 0
            assert time.monotonic() > start
    assert not (tmp_path / "x.lock").exists()


def test_progress_tells_done_speed_and_time_left():
    others = iter([10_000_000_000, 13_000_000_000])
    progress = Progress(
        "shard01", 4_000_000, all_bytes=40_000_000_000, bytes_of_others=lambda: next(others)
    )
    progress.skip(1_000_000)
    progress.came = 2_000_000
    line = progress.line(progress.start + 10.0)
    assert line.startswith("shard01: 3 of 4 MB, 0.2 MB/s, about 5 s left")
    # The others brought 3 GB in these 10 s.
    assert line.endswith("in all 13.0 of 40.0 GB, about 90 s left")
    assert time_left(0, 1.0) == "done"
    assert time_left(5, 0.0) == "time left unknown"
    assert time_left(7200 * 10, 10.0) == "about 2 h left"


def test_what_other_shards_have_on_the_way_counts_in_all(tmp_path):
    partial, table = tmp_path / ".partial", tmp_path / "shard00.csv"
    here = {"1.2": 1, "1.3": 10, "shard00/1.4": 100, "shard01/1.5": 1000, "shard02/1.6": 10_000}
    for folder, size in {**here, "rider_lung_ct/1.7": 100_000}.items():
        (partial / folder).mkdir(parents=True)
        (partial / folder / "0.dcm").write_bytes(bytes(size))
    for name in ("shard00", "shard02", "shard03"):
        (tmp_path / f"{name}.csv").write_text("num_bytes\n1000000\n1000000\n")
    # Its own are 1.2 and shard00; shard02 has its table, and is about to be moved beside it.
    assert bytes_of_others(table, partial, {"1.2"}) == 4_000_000 + 1010


def test_listings_are_held_against_the_index():
    stored = [StoredObject("s3://b/k/1.dcm", 5, ""), StoredObject("s3://b/k/2.dcm", 6, "")]
    check_listing(stored, num_instances=2, num_bytes=11)
    for num_instances, num_bytes in ((1, 11), (2, 12), (3, 11)):
        with pytest.raises(TransferError):
            check_listing(stored, num_instances=num_instances, num_bytes=num_bytes)
    with pytest.raises(TransferError, match="one name"):
        check_listing([stored[0]] * 2, num_instances=2, num_bytes=10)


def test_the_real_index_gives_places_and_whole_bytes(tmp_path):
    from annotation_factory import real_tables

    series = read_table(real_tables()["series"], "series")
    prefixes = {series_prefix(row) for row in series.itertuples(index=False)}
    assert len(prefixes) == 1018
    urls = set(series["url"])
    assert {f"{prefix}*" for prefix in prefixes} == urls


def test_no_two_records_are_one_instance():
    table = pd.DataFrame({"name": ["a", "b"], "sop_instance_uid": ["1.2", "1.2"]})
    assert "are one instance" in doubled_instance(list(table.itertuples(index=False)))
    assert doubled_instance(list(table.head(1).itertuples(index=False))) == ""


def test_s5cmd_that_is_not_there(stand, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="s5cmd is not on the PATH"):
        run(stand)
