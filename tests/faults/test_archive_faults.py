"""The second way, through the NBIA REST API: faults of the server and of its zips."""

import zipfile
from types import SimpleNamespace

import download_series
import pytest
from dicom_factory import write_series
from download_inputs import Stand, content, strays, write_inputs
from nbia_server import archive, make_zip

from quorum.errors import InputError
from quorum.transfer_nbia import fetch_archive

UID = "1.2.826.0.1.3680043.8.498.8"
PATIENT_FILES = 3


@pytest.fixture
def stand(tmp_path, monkeypatch):
    """One series in an archive, and the tables that name it."""
    monkeypatch.setattr("quorum.download.FIRST_PAUSE_S", 0.01)
    source = tmp_path / "source"
    write_series(source, [0.0, 1.0, 2.0], SeriesInstanceUID=UID)
    with archive() as server:
        stand = Stand(tmp_path / "work")
        stand.add(UID, source)
        stand.server, stand.endpoint = server, server.endpoint
        server.series[UID] = {path.name: path.read_bytes() for path in sorted(source.glob("*.dcm"))}
        yield stand


def run(stand, **changes):
    changes = {"source": "tcia", "attempts": 3, "stall_s": 1, **changes}
    download_series.main(write_inputs(stand, **changes))


def expected(stand) -> int:
    assert strays(stand) == []
    return len(content(stand))


def cut(body, uid):
    return body[: len(body) // 2]


def html(body, uid):
    return b"<html>down for maintenance</html>"


def without_hashes(body, uid):
    return body.replace(b"md5hashes.csv", b"md5hashes.tsv")


def one_byte(body, uid):
    place = body.index(b"DICM") + 3000
    return body[:place] + bytes([body[place] ^ 0xFF]) + body[place + 1 :]


TEMPORARY = {
    "500": lambda body, uid: 500,
    "503": lambda body, uid: 503,
    "a page": html,
    "zip cut in the middle": cut,
    "empty answer": lambda body, uid: b"",
    "one byte changed": one_byte,
    "no MD5 list": without_hashes,
}


@pytest.mark.parametrize("name", TEMPORARY)
def test_a_temporary_fault_of_the_archive_ends_with_all_files(stand, name):
    stand.server.spoil(TEMPORARY[name])
    run(stand)
    assert expected(stand) == PATIENT_FILES


def test_a_stalled_archive_is_asked_again(stand):
    stand.server.spoil(lambda body, uid: body, stall_s=5.0)
    run(stand, stall_s=0.5)
    assert expected(stand) == PATIENT_FILES


def test_the_archives_md5_is_held_against_every_file(stand):
    files = stand.server.series[UID]
    stand.server.spoil(lambda body, uid: make_zip(files, hashes=dict.fromkeys(files, "0" * 32)), 9)
    with pytest.raises(InputError, match="another MD5"):
        run(stand, attempts=1)


def test_a_member_that_leaves_the_folder_is_refused(stand, tmp_path):
    first = next(iter(stand.server.series[UID].values()))
    stand.server.spoil(lambda body, uid: make_zip({"../../escape.dcm": first}), 9)
    with pytest.raises(InputError, match=r"names a member '\.\./\.\./escape\.dcm'"):
        run(stand)
    assert not list(tmp_path.rglob("escape.dcm"))


def test_a_zip_that_grows_without_end_is_refused(stand, tmp_path):
    bomb = make_zip({"1-001.dcm": bytes(200 << 20)}, compression=zipfile.ZIP_DEFLATED)
    assert len(bomb) < 1 << 20
    stand.server.spoil(lambda body, uid: bomb, 9)
    with pytest.raises(InputError, match="unpacks to more than"):
        run(stand, attempts=1)
    assert sum(path.stat().st_size for path in (tmp_path / "work").rglob("*.dcm")) < 1 << 20


def test_an_answer_larger_than_the_series_is_ended(stand):
    stand.server.spoil(lambda body, uid: body + bytes(40 << 20), 9)
    with pytest.raises(InputError, match="larger than"):
        run(stand, attempts=1)


def test_a_series_that_the_archive_lacks_is_told(stand):
    stand.server.series = {}
    with pytest.raises(InputError, match="does not list the series"):
        run(stand, attempts=1)


def test_a_series_with_fewer_images_than_the_index_is_told(stand):
    stand.server.series[UID].popitem()
    with pytest.raises(InputError, match="2 images and the index says 3"):
        run(stand, attempts=1)


def test_a_series_with_other_bytes_than_the_index_is_told(stand):
    stand.rows[0]["num_bytes"] += 1
    with pytest.raises(InputError, match=r"lists \d+ bytes and the index"):
        run(stand, attempts=1)


def test_every_block_of_an_answer_may_tell_progress(stand, tmp_path, monkeypatch):
    monkeypatch.setattr("quorum.transfer_nbia.BLOCK_BYTES", 1000)
    row, ticks, folder = SimpleNamespace(**stand.rows[0]), [], tmp_path / "here"
    folder.mkdir()
    fetch_archive(stand.endpoint, row, folder, 5.0, tick=lambda: ticks.append(1))
    assert len(ticks) >= row.num_bytes // 1000
