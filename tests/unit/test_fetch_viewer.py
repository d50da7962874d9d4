"""NiiVue's bundle: fetched once, checked, and one sentence when it can't be had."""

import hashlib
import io
import tarfile

import fetch_viewer
import pytest

from quorum.errors import InputError
from quorum.report import niivue


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A package whose bundle is a few bytes, in place of npm."""

    def write(content: bytes):
        path = tmp_path / "package.tgz"
        with tarfile.open(path, "w:gz") as members:
            entry = tarfile.TarInfo(niivue.MEMBER)
            entry.size = len(content)
            members.addfile(entry, io.BytesIO(content))
        monkeypatch.setattr(niivue, "pack", lambda folder: path)

    return write


def test_the_pinned_bundle_is_put_in_place_once(tmp_path, archive, monkeypatch):
    monkeypatch.setattr(niivue, "SHA256", hashlib.sha256(b"bundle").hexdigest())
    archive(b"bundle")
    out = tmp_path / "share" / "niivue.umd.js"
    fetch_viewer.main(["--out-bundle", str(out)])
    assert out.read_bytes() == b"bundle"
    # A second call needs no npm.
    monkeypatch.setattr(niivue, "pack", lambda folder: 1 / 0)
    fetch_viewer.main(["--out-bundle", str(out)])


def test_another_file_than_the_pinned_one_is_refused(tmp_path, archive):
    archive(b"something else")
    out = tmp_path / "niivue.umd.js"
    with pytest.raises(InputError, match="SHA-256"):
        fetch_viewer.main(["--out-bundle", str(out)])
    assert list(tmp_path.glob("*.js")) == []


def test_a_registry_that_does_not_answer_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    with pytest.raises(InputError, match="ECONNREFUSED"):
        fetch_viewer.main(["--out-bundle", str(tmp_path / "niivue.umd.js")])
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_is_named_only_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(niivue.sys, "prefix", str(tmp_path))
    assert niivue.installed_bundle() == ""
    path = niivue.bundle_path()
    path.parent.mkdir(parents=True)
    path.write_text("x")
    assert niivue.installed_bundle() == str(path)
