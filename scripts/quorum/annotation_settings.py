"""The configuration of marks: which source, where its files are, how they are grouped."""

import os
from pathlib import Path

from quorum.errors import InputError

VARIABLE = "$QUORUM_REAL_DATA"


def annotation_settings(config: dict) -> dict:
    """Return source, method, xml and diagnosis, the last two as expanded paths or None.

    Raises
    ------
    InputError
        When the XML is wanted and not named, a named file is missing or its variable unset, or
        readers are to be counted without the XML's sessions.
    """
    block = config["read_annotations"]
    settings = {
        "source": block["source"],
        "method": config["group_annotations"]["method"],
        "xml": expanded_path(block["xml"], "read_annotations.xml"),
        "diagnosis": expanded_path(
            config["label_malignancy"]["diagnosis"], "label_malignancy.diagnosis"
        ),
    }
    if settings["source"] == "xml" and not settings["xml"]:
        raise InputError(
            "read_annotations.source is xml and read_annotations.xml is empty",
            "the collection's XML: its zip, a tar of it, or a folder",
            "set read_annotations.xml to its path",
        )
    if settings["method"] == "by_reader" and settings["source"] != "xml":
        raise InputError(
            "group_annotations.method is by_reader and read_annotations.source is "
            f"{settings['source']}",
            "the XML's marks, the only ones that still have their reading session",
            "set read_annotations.source to xml, or group_annotations.method to pylidc",
        )
    return settings


def expanded_path(path, key: str):
    """Return a path with $QUORUM_REAL_DATA expanded, None for none.

    Raises
    ------
    InputError
        When the variable is not set, or nothing is at the path.
    """
    if path is None:
        return None
    if VARIABLE in path and not os.environ.get("QUORUM_REAL_DATA"):
        raise InputError(
            f"{key} names {VARIABLE}, which is not set",
            "the environment variable with the folder of real files",
            "export QUORUM_REAL_DATA=/path/to/folder",
        )
    path = path.replace(VARIABLE, os.environ.get("QUORUM_REAL_DATA", ""))
    if not Path(path).exists():
        raise InputError(
            f"{key} names {path!r}, where there is nothing",
            "a file or folder that exists",
            f"correct {key} in your config file",
        )
    return path
