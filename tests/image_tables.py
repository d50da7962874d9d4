"""The tables that find_series and check_series read, for a series made by dicom_factory."""

from pathlib import Path

import numpy as np
import pandas as pd
from dicom_factory import SERIES_UID

from quorum.tables import load_schema, read_table, write_table

PIXEL_SPACING_MM = 0.7


def fill_rows(table: str, rows: list) -> pd.DataFrame:
    """Return rows as a frame of a table, with something harmless in the columns not given."""
    nothing = {"string": "x", "integer": 1, "number": 1.0, "boolean": False}
    filled = []
    for row in rows:
        full = {}
        for column in load_schema(table)["columns"]:
            default = None if column.get("nullable") else nothing.get(column["dtype"], [])
            full[column["name"]] = row.get(column["name"], default)
        filled.append(full)
    return pd.DataFrame(filled, columns=[c["name"] for c in load_schema(table)["columns"]])


def write_tables(folder: Path, z_by_series: dict) -> dict:
    """Write series.csv and slices.parquet; return the flags that name them.

    Parameters
    ----------
    folder : Path
    z_by_series : dict
        SeriesInstanceUID -> z of every slice of the annotated series, mm.
    """
    folder.mkdir(parents=True, exist_ok=True)
    series, slices = [], []
    for uid, z_values in z_by_series.items():
        z_values = sorted(set(z_values))
        series.append(
            {
                "series_uid": uid,
                "patient_id": "P1",
                "pixel_spacing_mm": PIXEL_SPACING_MM,
                "num_slices": len(z_values),
                "num_instances": len(z_values),
                "slice_spacing_mm": float(np.median(np.diff(z_values))),
            }
        )
        slices += [
            {"series_uid": uid, "slice_index": index, "z_mm": z_mm}
            for index, z_mm in enumerate(z_values)
        ]
    write_table(fill_rows("series", series), folder / "series.csv", "series", {})
    write_table(fill_rows("slices", slices), folder / "slices.parquet", "slices", {})
    return {"--series": folder / "series.csv", "--slices": folder / "slices.parquet"}


def nodule_row(nodule_id: str, low_z_mm: float, high_z_mm: float, uid: str = SERIES_UID) -> dict:
    """Return a nodule of the plan: rows and columns 3 to 6 of the series, between two z."""
    return {
        "nodule_id": nodule_id,
        "series_uid": uid,
        "patient_id": "P1",
        "annotation_ids": ["1", "2", "3", "4"],
        "num_annotations": 4,
        "center_row_px": 4.5,
        "center_column_px": 4.5,
        "center_z_mm": (low_z_mm + high_z_mm) / 2,
        "min_row": 3,
        "max_row": 6,
        "min_column": 3,
        "max_column": 6,
        "min_z_mm": low_z_mm,
        "max_z_mm": high_z_mm,
    }


def run_check(folder: Path, root: Path, z_by_series: dict, nodules: list, files=None):
    """Run find_series and check_series on a folder; return findings and slices.

    Parameters
    ----------
    folder : Path
        For the tables.
    root : Path
        The images.
    z_by_series : dict
        As write_tables.
    nodules : list of dict
        As nodule_row.
    files : list of dict, optional
        Rows of the table `files`; without them find_series makes it.
    """
    import check_series
    import find_series

    flags = write_tables(folder, z_by_series)
    write_table(fill_rows("nodules", nodules), folder / "plan.csv", "nodules", {})
    if files is None:
        find_series.main(
            arguments(
                {"--series": flags["--series"], "--root": root, "--threads": 1},
                {"--out-files": folder / "files.csv", "--out-unused": folder / "unused.csv"},
            )
        )
    else:
        write_table(fill_rows("files", files), folder / "files.csv", "files", {})
    check_series.main(
        arguments(
            {"--plan": folder / "plan.csv", "--files": folder / "files.csv", "--root": root},
            flags,
            {"--out-findings": folder / "f.csv", "--out-slices": folder / "s.parquet"},
        )
    )
    findings = read_table(folder / "f.csv", "findings").set_index("source_series_uid")
    return findings, read_table(folder / "s.parquet", "series_slices")


def arguments(*flags: dict) -> list:
    """Return dictionaries of flags as a command line."""
    return [str(part) for group in flags for pair in group.items() for part in pair]
