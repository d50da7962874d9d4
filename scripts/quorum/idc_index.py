"""idc-index-data's Parquet index of all series of the Imaging Data Commons."""

import importlib.util
from pathlib import Path

import pyarrow.parquet as pq

from quorum.errors import InputError


def index_path() -> Path:
    """Return idc-index-data's Parquet index, without importing the package.

    Raises
    ------
    InputError
        When the package, or the file, is not there.
    """
    spec = importlib.util.find_spec("idc_index_data")
    path = Path(spec.origin).with_name("idc_index.parquet") if spec and spec.origin else None
    if path is None or not path.is_file():
        raise InputError(
            "the index of the Imaging Data Commons was not found",
            "the package idc-index-data with its idc_index.parquet",
            "install it: pip install -r envs/requirements.txt",
        )
    return path


def check_columns(path, wanted: list):
    """Raise an InputError when an index is no Parquet or lacks a column."""
    try:
        present = pq.read_schema(path).names
    except (OSError, ValueError) as error:
        raise InputError(
            f"the index {path} can't be read ({str(error).splitlines()[0]})",
            "idc-index-data's idc_index.parquet",
            "install the package idc-index-data again, or correct source.index",
        ) from error
    lacking = sorted(set(wanted) - set(present))
    if lacking:
        raise InputError(
            f"the index {path} lacks the columns {', '.join(lacking)}",
            "idc-index-data in the version that envs/constraints.txt pins",
            "install that version, or correct source.index",
        )
