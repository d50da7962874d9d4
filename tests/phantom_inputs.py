"""Tables of made-up nodules with four readers each, for tests that run the phantom scanner."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from quorum.tables import load_schema, write_table

NUM_READERS = 4
MADE_BY = {"script": "tests"}


def series_uid(patient_id: str) -> str:
    """Return a made-up SeriesInstanceUID."""
    return f"1.2.3.{int(hashlib.sha256(patient_id.encode()).hexdigest()[:8], 16)}"


def lumpy_outline(center: tuple, radius_mm: float, height: float, pixel_mm: float, rng) -> tuple:
    """Return rows and columns around a lopsided section, or None above and below the nodule.

    Parameters
    ----------
    center : (float, float)
        Row and column.
    radius_mm : float
    height : float
        -1 to 1 from the nodule's bottom to its top.
    pixel_mm : float
    rng : numpy Generator
        For this reader's hand.
    """
    if abs(height) >= 1:
        return None
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    shape = 1 + 0.28 * np.cos(angle - 0.7 - height) + 0.15 * np.cos(2 * angle + 1.1)
    # Narrower at the top than at the bottom, and leaning over.
    section = np.sqrt(1 - height**2) * (1 - 0.3 * height)
    radius = radius_mm / pixel_mm * section * shape * rng.uniform(0.94, 1.06) + 1
    lean = 0.35 * height * radius_mm / pixel_mm
    points = np.column_stack(
        [center[0] + lean + radius * np.sin(angle), center[1] - lean + radius * np.cos(angle)]
    )
    points = np.rint(points).astype(int)
    points = points[np.any(points != np.roll(points, 1, axis=0), axis=1)]
    return points[:, 0], points[:, 1]


def nodule_contours(uid: str, place: dict, z_mm: np.ndarray, pixel_mm: float, first: int) -> list:
    """Return the rows of the contours table of one nodule's four readers."""
    rows = []
    for reader in range(NUM_READERS):
        rng = np.random.default_rng(first + reader)
        for number, z in enumerate(z_mm):
            height = (z - place["z_mm"]) / place["radius_mm"]
            center = place["row"], place["column"]
            outline = lumpy_outline(center, place["radius_mm"], height, pixel_mm, rng)
            if outline is not None:
                rows.append(
                    {
                        "annotation_id": str(first + reader),
                        "series_uid": uid,
                        "contour_index": number,
                        "z_mm": float(z),
                        "is_inclusion": True,
                        "rows": outline[0].tolist(),
                        "columns": outline[1].tolist(),
                    }
                )
    return rows


def nodule_row(uid: str, patient_id: str, contours: pd.DataFrame, place: dict) -> dict:
    """Return one nodule's row of the nodules table; its ratings are those of a solid nodule."""
    ids = sorted(contours["annotation_id"].unique(), key=int)
    ends = {}
    for name, column in (("row", "rows"), ("column", "columns")):
        points = np.concatenate([np.asarray(values) for values in contours[column]])
        ends |= {f"min_{name}": int(points.min()), f"max_{name}": int(points.max())}
    ends |= {"min_z_mm": contours["z_mm"].min(), "max_z_mm": contours["z_mm"].max()}
    row = {
        **ends,
        "nodule_id": f"{uid[-8:].zfill(8)}-{int(ids[0]):08x}",
        "series_uid": uid,
        "patient_id": patient_id,
        "annotation_ids": ids,
        "num_annotations": len(ids),
        "is_unresolved": False,
        "center_row_px": (ends["min_row"] + ends["max_row"]) / 2,
        "center_column_px": (ends["min_column"] + ends["max_column"]) / 2,
        "center_z_mm": (ends["min_z_mm"] + ends["max_z_mm"]) / 2,
        "diameter_mm": 2 * place["radius_mm"],
        "volume_mm3": 4 / 3 * np.pi * place["radius_mm"] ** 3,
    }
    for column in load_schema("nodules")["columns"]:
        name, dtype = column["name"], column["dtype"]
        if name in row:
            continue
        value = 6.0 if name.startswith("calcification") else place.get("texture", 5.0)
        lists = {"numbers": [value] * len(ids), "integers": [], "strings": []}
        row[name] = lists.get(dtype, 0.0 if name.endswith("_spread") else value)
    return row


def write_inputs(folder: Path, scans: list) -> dict:
    """Write the tables that the phantom scanner reads, and return their paths by name.

    Parameters
    ----------
    folder : Path
    scans : list of dict
        patient_id, z_mm (slices,), pixel_mm, thickness_mm, nodules (list of dict: row, column,
        z_mm, radius_mm and, if not 5, texture).
    """
    series, slices, contours, nodules = [], [], [], []
    for scan in scans:
        uid, z_mm = series_uid(scan["patient_id"]), np.asarray(scan["z_mm"], float)
        text = {c["name"]: "x" for c in load_schema("series")["columns"] if c["dtype"] == "string"}
        numbers = {"pylidc_scan_id": 1, "num_instances": len(z_mm), "num_bytes": 1}
        spacing = float(np.median(np.diff(z_mm)))
        series.append(
            {
                **text,
                **numbers,
                "series_uid": uid,
                "study_uid": f"{uid}.1",
                "patient_id": scan["patient_id"],
                "slice_thickness_mm": scan["thickness_mm"],
                "slice_spacing_mm": spacing,
                "pixel_spacing_mm": scan["pixel_mm"],
                "num_slices": len(z_mm),
            }
        )
        slices += [
            {"series_uid": uid, "slice_index": k, "z_mm": z} for k, z in enumerate(z_mm.tolist())
        ]
        for place in scan["nodules"]:
            rows = nodule_contours(uid, place, z_mm, scan["pixel_mm"], 1 + len(nodules) * 10)
            contours += rows
            nodules.append(nodule_row(uid, scan["patient_id"], pd.DataFrame(rows), place))
    tables = {
        "series": ("series.csv", "series", series),
        "slices": ("slices.parquet", "slices", slices),
        "contours": ("contours.parquet", "contours", contours),
        "plan": ("shard00.csv", "nodules", nodules),
    }
    paths = {}
    for name, (file, schema, rows) in tables.items():
        columns = [column["name"] for column in load_schema(schema)["columns"]]
        paths[name] = folder / file
        write_table(pd.DataFrame(rows, columns=columns), paths[name], schema, MADE_BY)
    return paths
