"""Files appear whole or not at all."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time

import pytest

from quorum import files
from quorum.errors import InputError


def test_the_file_appears_only_at_the_end(tmp_path):
    path = tmp_path / "folder" / "table.csv"
    with files.write_whole(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert path.read_text() == "whole"
    assert os.listdir(path.parent) == ["table.csv"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="in the middle"), files.write_whole(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("in the middle")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_a_folder_appears_whole_and_replaces_the_old_one(tmp_path):
    path = tmp_path / "assets"
    path.mkdir()
    (path / "stale.txt").write_text("stale")
    with files.write_whole_folder(path) as temporary:
        (temporary / "new.txt").write_text("new")
        assert (path / "stale.txt").exists()
    assert os.listdir(path) == ["new.txt"]
    assert os.listdir(tmp_path) == ["assets"]


def test_a_folder_that_fails_leaves_the_old_one(tmp_path):
    path = tmp_path / "assets"
    path.mkdir()
    (path / "old.txt").write_text("old")
    with pytest.raises(RuntimeError), files.write_whole_folder(path) as temporary:
        (temporary / "new.txt").write_text("new")
        raise RuntimeError
    assert os.listdir(path) == ["old.txt"]
    assert os.listdir(tmp_path) == ["assets"]


@pytest.mark.parametrize(
    ("number", "phrase"),
    [
        (errno.ENOSPC, "the disk filled up"),
        (errno.EDQUOT, "the disk filled up"),
        (errno.EACCES, "can't be written"),
        (errno.EROFS, "can't be written"),
    ],
)
def test_disk_trouble_becomes_one_sentence(tmp_path, number, phrase):
    path = tmp_path / "table.csv"
    with pytest.raises(InputError, match=phrase), files.write_whole(path) as temporary:
        temporary.write_text("half")
        raise OSError(number, os.strerror(number))
    assert os.listdir(tmp_path) == []


def test_a_really_full_disk(tmp_path):
    """/dev/full answers each write as a full disk does."""
    path = tmp_path / "table.csv"
    with pytest.raises(InputError, match="filled up"), files.write_whole(path) as temporary:
        os.symlink("/dev/full", temporary)
        with open(temporary, "w") as stream:
            stream.write("x" * 100)
    assert os.listdir(tmp_path) == []


def test_another_error_of_the_system_passes_through(tmp_path):
    with pytest.raises(FileNotFoundError), files.write_whole(tmp_path / "table.csv"):
        pass


def test_a_killed_writer_leaves_no_file_of_the_final_name(tmp_path, root):
    path = tmp_path / "table.csv"
    program = (
        "import sys, time\n"
        "from quorum.files import write_whole\n"
        "with write_whole(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root / "scripts")},
    )
    assert child.stdout.readline() == b"ready\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    time.sleep(0.1)
    assert not path.exists()


def test_digests_are_those_of_sha256(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 700_000)
    assert files.sha256_file(path) == hashlib.sha256(b"abc" * 700_000).hexdigest()
    # FIPS 180-4, appendix B.1.
    assert files.sha256_text("abc").startswith("ba7816bf8f01cfea")
