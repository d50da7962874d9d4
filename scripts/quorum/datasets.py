"""The register of public collections, config/datasets.yaml, and their series in the index."""

from pathlib import Path

import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq

from quorum.closed_schema import SCHEMAS, check_against, load_yaml, nearest_phrase
from quorum.errors import InputError
from quorum.idc_index import check_columns

BYTES_PER_MB = 1_000_000  # idc_index.sql divides by 1000000
COLUMNS = {
    "SeriesInstanceUID": "series_uid",
    "StudyInstanceUID": "study_uid",
    "PatientID": "patient_id",
    "Modality": "modality",
    "instanceCount": "num_instances",
    "series_size_MB": "num_bytes",
    "license_short_name": "license",
    "source_DOI": "doi",
    "aws_bucket": "bucket",
    "crdc_series_uuid": "crdc_series_uuid",
    "series_aws_url": "url",
}


def read_register(path) -> dict:
    """Return the register's entries by name, checked against their schema."""
    register = load_yaml(path)
    check_against(register, load_yaml(SCHEMAS / "datasets.schema.yaml"), str(path))
    return register


def dataset_entry(register: dict, name: str) -> dict:
    """Return one entry, or raise an InputError that names the nearest one."""
    if name not in register:
        raise InputError(
            f"the dataset {name!r} is not in config/datasets.yaml",
            nearest_phrase(name, sorted(register)),
            "correct the name, or add an entry",
        )
    return register[name]


def collection_series(index: Path, collection: str, modality: str) -> pd.DataFrame:
    """Return the series of a collection, as the index has them, sorted by patient and UID.

    Raises
    ------
    InputError
        When the index lacks a column or the collection, or has none of that modality.
    """
    check_columns(index, [*COLUMNS, "collection_id"])
    wanted = [("collection_id", "=", collection), ("Modality", "=", modality)]
    series = pq.read_table(index, columns=list(COLUMNS), filters=wanted).to_pandas()
    if series.empty:
        known = pc.unique(pq.read_table(index, columns=["collection_id"])["collection_id"])
        names = sorted(name for name in known.to_pylist() if name)
        near = nearest_phrase(collection, names)
        raise InputError(
            f"the index holds no {modality} series of the collection {collection!r}",
            near if len(near) < 100 else "a collection_id of that index",
            "correct collection or modality in config/datasets.yaml",
        )
    series = series.rename(columns=COLUMNS)
    series["num_bytes"] = (series["num_bytes"] * BYTES_PER_MB).round().astype("int64")
    return series.sort_values(["patient_id", "series_uid"], ignore_index=True)
