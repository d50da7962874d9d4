"""Phantom series that stand in for real ones: same UIDs and keys, on a loopback S3 server.

Rendered by simulate_series, then given the annotated series' SeriesInstanceUID and freed of the
phantom's marks, since download_series and check_series would refuse them. In temporary folders of
tests only.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pydicom
from dicom_factory import edit, write_series
from s3_server import put_series
from workflow_copy import ROOT

from quorum.idc_index import index_path
from quorum.tables import read_table

ROOT_UID = "1.2.826.0.1.3680043.8.498"
SIZE = 512
MARGIN_MM = 10.0
MARKS = ("QualityControlImage", "SeriesDescription", "DerivationDescription")


def render(results: Path, folder: Path, shards: list) -> dict:
    """Render some shards; return each series' folder by its SeriesInstanceUID."""
    folders = {}
    for shard in shards:
        words = [sys.executable, ROOT / "scripts" / "simulate_series.py"]
        for flag, path in (
            ("plan", f"plan_shards/{shard}.csv"),
            ("series", "list_series/series.csv"),
            ("slices", "list_series/slices.parquet"),
            ("contours", "read_annotations/contours.parquet"),
        ):
            words += [f"--{flag}", results / path]
        words += ["--noise-hu", "25", "--seed", "0", "--out-folder", folder / shard]
        words += ["--out-files", folder / f"{shard}.csv"]
        subprocess.run([str(word) for word in words], check=True, capture_output=True)
        files = read_table(folder / f"{shard}.csv", "files")
        for uid, rows in files.groupby("source_series_uid"):
            folders[uid] = Path(rows["path"].iloc[0]).parent
            for path in rows["path"]:
                unmark(Path(path), uid)
    return folders


def unmark(path: Path, uid: str):
    """Give a phantom's slice the UIDs of the annotated series."""
    data = pydicom.dcmread(path)
    for keyword in MARKS:
        if keyword in data:
            delattr(data, keyword)
    data.SeriesInstanceUID = uid
    digest = hashlib.sha256(f"{uid} {data.InstanceNumber}".encode()).hexdigest()
    data.SOPInstanceUID = f"1.2.826.0.1.3680043.8.498.{int(digest[:16], 16)}"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.save_as(path)


def write_index(path: Path, folders: dict):
    """Write the index with the stand-ins' counts and sizes, everything else as it is."""
    wanted = [("collection_id", "=", "lidc_idri"), ("Modality", "=", "CT")]
    index = pq.read_table(index_path(), filters=wanted).to_pandas()
    for uid, folder in folders.items():
        files = list(folder.glob("*.dcm"))
        row = index["SeriesInstanceUID"] == uid
        index.loc[row, "instanceCount"] = len(files)
        index.loc[row, "series_size_MB"] = sum(file.stat().st_size for file in files) / 1e6
    index.to_parquet(path)


def store(endpoint: str, folders: dict):
    """Store every series under the index's own key."""
    keys = pd.read_parquet(index_path(), columns=["SeriesInstanceUID", "crdc_series_uuid"])
    keys = keys.set_index("SeriesInstanceUID")["crdc_series_uuid"]
    for uid, folder in folders.items():
        put_series(endpoint, folder, keys[uid])
        shutil.rmtree(folder)


def draw(folder: Path, series: pd.DataFrame, tables: dict) -> dict:
    """Write slabs of plain slices around the outlines of some series, at their own positions.

    Quicker than `render`, and enough where nobody looks at the images. Returns each series' folder
    by its SeriesInstanceUID.
    """
    slices = read_table(tables["slices"], "slices")
    marks = read_table(tables["annotations"], "annotations")
    folders = {}
    for row in series.itertuples(index=False):
        own = marks[marks["series_uid"] == row.series_uid]
        z_mm = slices.loc[slices["series_uid"] == row.series_uid, "z_mm"].astype(float)
        low, high = own["min_z_mm"].min() - MARGIN_MM, own["max_z_mm"].max() + MARGIN_MM
        z_mm = sorted(z_mm[(z_mm >= low) & (z_mm <= high)])
        ramp = np.add.outer(np.arange(SIZE), np.arange(SIZE)).astype(np.int16)
        pixels = [ramp + 11 * number for number in range(len(z_mm))]
        spacing = [row.pixel_spacing_mm] * 2
        folders[row.series_uid] = folder / row.series_uid
        write_series(
            folders[row.series_uid], z_mm, pixels, SeriesInstanceUID=row.series_uid,
            PatientID=row.patient_id, PixelSpacing=spacing,
        )  # fmt: skip
        for path in folders[row.series_uid].glob("*.dcm"):
            number = int(path.stem.rpartition("-")[2])
            edit(path, SOPInstanceUID=f"{ROOT_UID}.{row.pylidc_scan_id}.{number}")
    return folders
