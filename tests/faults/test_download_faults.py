"""A faulty network between download_series and a real S3 server: the same files in the end.

A temporary fault ends with the content of the run without one; a permanent one ends in one
sentence, and the next run, on a sound network, with that content.
"""

import re
import subprocess
import sys
from pathlib import Path

import faulty_proxy as faults
import pytest
from dicom_factory import write_series
from download_inputs import Stand, content, strays, write_inputs
from s3_server import client, s3_server
from workflow_copy import ROOT

NUM_SERIES, NUM_FILES = 2, 4
STALL_S = 2.0  # where the fault is a stall
PATIENT_S = 20.0  # where it isn't: a busy machine may need seconds for an answer
Z_MM = [2.0 * index for index in range(NUM_FILES)]
UIDS = [f"1.2.826.0.1.3680043.8.498.6.{number + 1}" for number in range(NUM_SERIES)]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """Two series on a server behind a proxy, and the content of a run without fault."""
    folder = tmp_path_factory.mktemp("network")
    with s3_server(5761) as endpoint, faults.proxy(endpoint) as (proxy, address):
        stand = Stand(folder / "sound", endpoint)
        for uid in UIDS:
            stand.add(uid, write_files(folder / uid, uid))
        assert run(stand).returncode == 0
        yield proxy, address, stand, content(stand)


def write_files(folder: Path, uid: str) -> Path:
    write_series(folder, Z_MM, SeriesInstanceUID=uid)
    return folder


def run(stand: Stand, **changes) -> subprocess.CompletedProcess:
    changes = {"stall_s": PATIENT_S, "attempts": 3, **changes}
    words = [sys.executable, ROOT / "scripts" / "download_series.py"]
    words += write_inputs(stand, **changes)
    return subprocess.run([str(word) for word in words], capture_output=True, text=True)


def beside(stand: Stand, folder: Path, endpoint: str) -> Stand:
    """Return a stand of the same series with its own folder, reached through another endpoint."""
    other = Stand(folder, endpoint)
    other.rows = [dict(row) for row in stand.rows]
    return other


def flip(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 0xFF]) + body[middle + 1 :]


def drop_object(body: bytes) -> bytes:
    return re.sub(rb"<Contents>.*?</Contents>", b"", body, count=1, flags=re.S)


def double_object(body: bytes) -> bytes:
    return re.sub(rb"(<Contents>.*?</Contents>)", rb"\1\1", body, count=1, flags=re.S)


def more_objects(body: bytes) -> bytes:
    found = re.search(rb"<Contents>.*?</Contents>", body, flags=re.S).group(0)
    other = re.sub(rb"(<Key>[^<]*/)[^<]*(</Key>)", rb"\1stray.dcm\2", found)
    return body.replace(found, found + other, 1)


def other_size(body: bytes) -> bytes:
    return re.sub(rb"<Size>\d+</Size>", b"<Size>17</Size>", body, count=1)


def escaping_key(body: bytes) -> bytes:
    return re.sub(rb"(<Key>[^<]*/)[^<]*(</Key>)", rb"\1..\2", body, count=1)


# Name -> (fault, how many answers it spoils, whether it spoils listings).
TEMPORARY = {
    "reset before the first byte": (faults.reset(0.0), 6, False),
    "reset in the middle of a file": (faults.reset(0.5), 6, False),
    "closed in the middle of a file": (faults.close(0.5), 6, False),
    "stall before the first byte": (faults.stall(0.0), 2, False),
    "stall in the middle of a file": (faults.stall(0.5), 2, False),
    "403 for a while": (faults.status("403 Forbidden", "AccessDenied"), 6, False),
    "404 for a while": (faults.status("404 Not Found", "NoSuchKey"), 6, False),
    "500 burst": (faults.status("500 Internal Server Error", "InternalError"), 10, False),
    "503 burst": (faults.status("503 Slow Down", "SlowDown"), 10, False),
    "throttled to 4 kB/s": (faults.throttle(4000), 8, False),
    "body cut short, length told right": (faults.change(lambda body: body[:-100]), 4, False),
    "body with one byte changed": (faults.change(flip), 4, False),
    "body of zero bytes": (faults.change(lambda body: b""), 4, False),
    "body of another object": (faults.change(lambda body: b"DICM" * 300), 4, False),
    "length told too long": (faults.wrong_length(500), 4, False),
    "length told too short": (faults.wrong_length(-500), 4, False),
    "slow headers": (faults.slow_head(0.5), 8, False),
    "page in place of an object": (faults.html, 6, False),
    "no HTTP at all": (faults.garbage, 6, False),
    "listing reset": (faults.reset(0.5), 5, True),
    "listing stalls": (faults.stall(0.5), 1, True),
    "listing 503": (faults.status("503 Slow Down", "SlowDown"), 4, True),
    "listing is a page": (faults.html, 2, True),
    "listing lacks an object": (faults.change(drop_object), 2, True),
    "listing has one object too many": (faults.change(more_objects), 2, True),
    "listing names one object twice": (faults.change(double_object), 2, True),
    "listing tells another size": (faults.change(other_size), 2, True),
}
FOR_EVER = 10_000
# Name -> (fault, whether it spoils listings, words of the sentence).
PERMANENT = {
    "403": (faults.status("403 Forbidden", "AccessDenied"), False, "AccessDenied"),
    "404": (faults.status("404 Not Found", "NoSuchKey"), False, "NoSuchKey"),
    "one byte always changed": (faults.change(flip), False, "another MD5"),
    "listing always a page": (faults.html, True, "no listing of"),
    "listing always lacks an object": (faults.change(drop_object), True, "lists 3 files"),
    "listing always names an escaping key": (faults.change(escaping_key), True, "a file '..'"),
}


@pytest.mark.parametrize("name", TEMPORARY)
def test_a_temporary_fault_ends_with_the_same_content(network, tmp_path, name):
    proxy, address, sound, expected = network
    stand = beside(sound, tmp_path, address)
    fault, times, listing = TEMPORARY[name]
    proxy.spoil(fault, times=times, listing=listing)
    result = run(stand, attempts=8, stall_s=STALL_S if "stall" in name else PATIENT_S)
    num_hits = proxy.hits
    assert num_hits, "the fault was never met"
    proxy.spoil(None, times=0)
    assert result.returncode == 0, result.stderr
    assert content(stand) == expected
    assert strays(stand) == []
    print(f"fault table: {name} | {num_hits} answers | {seen(result)} | equal")


def seen(result) -> str:
    """Return the reasons that a run gave, for the fault table (pytest -rP)."""
    found = re.findall(r"\((.*)\); again in|^(error: .*)", result.stderr, flags=re.M)
    reasons = dict.fromkeys("".join(pair)[:160] for pair in found)
    return "; ".join(reasons) or "s5cmd tried again by itself"


@pytest.mark.parametrize("name", PERMANENT)
def test_a_permanent_fault_ends_in_one_sentence_and_mends(network, tmp_path, name):
    proxy, address, sound, expected = network
    stand = beside(sound, tmp_path, address)
    fault, listing, words = PERMANENT[name]
    proxy.spoil(fault, times=FOR_EVER, listing=listing)
    result = run(stand, attempts=1)
    proxy.spoil(None, times=0)
    check_sentence(result, words)
    told = seen(result)
    assert not (tmp_path / "results" / "shard00").exists()
    result = run(stand)
    assert result.returncode == 0, result.stderr
    assert content(stand) == expected
    assert strays(stand) == []
    print(f"fault table: always {name} | {told} | the next run equal")


def check_sentence(result, words: str):
    assert result.returncode == 1, result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.stderr
    for part in (words, "expected", "to mend it"):
        assert part in errors[0], errors[0]
    assert "Traceback" not in result.stderr


def test_only_what_is_missing_or_wrong_is_fetched_again(network, tmp_path):
    proxy, address, sound, expected = network
    stand = beside(sound, tmp_path, address)
    proxy.spoil(None, times=0)
    half = tmp_path / "results" / ".partial" / UIDS[0]
    half.mkdir(parents=True)
    files = sorted((sound.folder / "results" / "shard00" / UIDS[0]).glob("*.dcm"))
    for path in files[:3]:
        (half / path.name).write_bytes(path.read_bytes())
    (half / files[1].name).write_bytes(flip(files[1].read_bytes()))
    (half / f"{files[3].name}1234").write_bytes(b"half")
    (half / "stray.dcm").write_bytes(b"stray")
    result = run(stand)
    assert result.returncode == 0, result.stderr
    assert content(stand) == expected
    assert strays(stand) == []
    assert not list((tmp_path / "results" / "shard00").rglob("stray.dcm"))
    key = stand.rows[0]["crdc_series_uuid"]
    objects = [path.rsplit("/", 1)[1] for path in proxy.log if f"/{key}/1-" in path]
    assert set(objects) == {files[1].name, files[3].name}


def test_a_server_that_is_not_there_ends_in_one_sentence(network, tmp_path):
    stand = beside(network[2], tmp_path, "http://127.0.0.1:9")
    check_sentence(run(stand, attempts=1), "connection refused")


def test_a_host_that_nobody_knows_ends_in_one_sentence(network, tmp_path):
    stand = beside(network[2], tmp_path, "http://no-such-host.invalid")
    check_sentence(run(stand, attempts=1), "no-such-host.invalid")


def test_a_server_that_restarts_is_waited_for(network, tmp_path):
    proxy, _, sound, expected = network
    endpoint = f"http://{proxy.upstream[0]}:{proxy.upstream[1]}"
    with faults.proxy(endpoint) as (first, address):
        port = first.server_address[1]
        first.spoil(faults.throttle(20_000), times=FOR_EVER)
    stand = beside(sound, tmp_path, address)
    words = [sys.executable, ROOT / "scripts" / "download_series.py"]
    words += write_inputs(stand, stall_s=PATIENT_S, attempts=12)
    process = subprocess.Popen([str(word) for word in words], stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "again in" in line:
            break
    with faults.proxy(endpoint, port):
        process.communicate(timeout=240)
    assert process.returncode == 0
    assert content(stand) == expected


def test_an_object_of_another_series_is_told_and_mends(network, tmp_path):
    proxy, _, sound, expected = network
    row = sound.rows[0]
    endpoint = f"http://{proxy.upstream[0]}:{proxy.upstream[1]}"
    files = {
        number: sorted((sound.folder / "results" / "shard00" / uid).glob("*.dcm"))[0]
        for number, uid in enumerate(UIDS)
    }
    stand = beside(sound, tmp_path, endpoint)
    key = f"{row['crdc_series_uuid']}/{files[0].name}"
    put = {"Bucket": row["bucket"], "Key": key, "ACL": "public-read"}
    client(endpoint).put_object(**put, Body=files[1].read_bytes())
    check_sentence(run(stand, attempts=1), "belongs to another series")
    client(endpoint).put_object(**put, Body=files[0].read_bytes())
    assert run(stand).returncode == 0
    assert content(stand) == expected


def test_two_files_of_one_instance_are_told(network, tmp_path):
    proxy = network[0]
    endpoint = f"http://{proxy.upstream[0]}:{proxy.upstream[1]}"
    stand = Stand(tmp_path, endpoint)
    uid = f"{UIDS[0]}9"
    folder = write_files(tmp_path / "doubled", uid)
    paths = sorted(folder.glob("*.dcm"))
    paths[1].write_bytes(paths[0].read_bytes())
    stand.add(uid, folder)
    check_sentence(run(stand, attempts=1), "are one instance")
