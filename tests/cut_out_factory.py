"""One nodule in a cut-out volume with every table of it, for tests of what reads images.

flags = make_inputs(tmp_path)              # extract_cubes' flags; hu, direction, .. to change
annotations = {"1": (UID, block())}        # a block around the nodule's centre
"""

import annotation_factory
import dicom_factory
import numpy as np
from annotation_factory import make_annotations, make_contours
from image_tables import fill_rows

from quorum.tables import write_table

# annotation_factory's series: slices of 2 mm from z = -100, pixels of 0.5 mm; the nodule at slice
# 20, row 100, column 150, drawn by four readers on three slices.
ROW, COLUMN, Z_MM = 100, 150, -60.0
UID = "1.2.0"
ROWS, COLUMNS, SLICES = 90, 100, 24
ROW0, COLUMN0, SLICE0 = 60, 100, 8
ORIGIN = (-120.0, -80.0)  # the series' first pixel


def field_hu(x_mm, y_mm, z_mm):
    """Return HU that are linear in place, so that any linear interpolation gives them back."""
    return -700 + 1.5 * x_mm - 2.5 * y_mm + 3.5 * z_mm


def volume_hu(direction=(1, 1)):
    """Return the cut-out's HU (z, y, x) and LPS position of its first voxel."""
    sign_x, sign_y = direction
    x_mm = ORIGIN[0] + sign_x * 0.5 * (COLUMN0 + np.arange(COLUMNS))
    y_mm = ORIGIN[1] + sign_y * 0.5 * (ROW0 + np.arange(ROWS))
    z_mm = -100 + 2.0 * (SLICE0 + np.arange(SLICES))
    hu = field_hu(x_mm[None, None, :], y_mm[None, :, None], z_mm[:, None, None])
    return hu, (x_mm[0], y_mm[0], z_mm[0])


def slice_row(path, hu, position, direction=(1, 1), **changes):
    """Return the row of series_slices of a cut-out volume."""
    sign_x, sign_y = direction
    return {
        "series_uid": UID,
        "source_series_uid": UID,
        "kind": "volume",
        "path": str(path),
        "slice_index": SLICE0,
        "row0": ROW0,
        "column0": COLUMN0,
        "position_lps_mm": list(position),
        "orientation": [sign_x, 0.0, 0.0, 0.0, sign_y, 0.0],
        "slice_direction": [0.0, 0.0, 1.0],
        "row_spacing_mm": 0.5,
        "column_spacing_mm": 0.5,
        "slice_spacing_mm": 2.0,
        "slice_lower_mm": 1.0,
        "slice_upper_mm": 1.0,
        "num_rows": hu.shape[1],
        "num_columns": hu.shape[2],
        "num_slices": hu.shape[0],
        "slope": 1.0,
        "intercept": 0.0,
        "is_cut_out": True,
        "data_kind": "cut_out",
        **changes,
    }


def make_inputs(folder, *, direction=(1, 1), hu=None, annotations=None, findings=None, **changes):
    """Write a cut-out of one series with one nodule and every table; return the flags."""
    own, position = volume_hu(direction)
    hu = np.round(own if hu is None else hu).astype(np.int16)
    matrix = np.diag([direction[0], direction[1], 1])
    path = dicom_factory.write_volume(
        folder / "v.nii.gz", hu, spacing_xyz=(0.5, 0.5, 2.0), origin=position, direction=matrix
    )
    annotations = annotations or make_annotations(sizes=((4,),))
    paths = annotation_factory.write_tables(folder, annotations)
    nodules = nodules_of(annotations)
    row = slice_row(path.name, hu, position, direction, **changes)
    found = {"series_uid": UID, "source_series_uid": UID, "data_kind": "cut_out"}
    found = {**found, "decision": "accepted", "uncovered_nodules": [], **(findings or {})}
    write_table(nodules, folder / "plan.csv", "nodules", {})
    write_table(fill_rows("series_slices", [row]), folder / "slices.parquet", "series_slices", {})
    write_table(fill_rows("findings", [found]), folder / "findings.csv", "findings", {})
    return {
        "--plan": folder / "plan.csv",
        "--findings": folder / "findings.csv",
        "--slices": folder / "slices.parquet",
        "--contours": paths["contours"],
        "--root": folder,
        "--out-shard": folder / "out" / "shard00.h5",
        "--out-dropped": folder / "out" / "shard00.dropped.csv",
    }


def nodules_of(annotations):
    """Return the plan: all annotations as one nodule of one series."""
    contours = make_contours(annotations)
    rows = np.concatenate(contours["rows"].to_list())
    columns = np.concatenate(contours["columns"].to_list())
    nodule = {
        "nodule_id": "n1",
        "series_uid": UID,
        "patient_id": "P1",
        "annotation_ids": list(annotations),
        "num_annotations": len(annotations),
        "center_row_px": (rows.min() + rows.max()) / 2,
        "center_column_px": (columns.min() + columns.max()) / 2,
        "center_z_mm": (contours["z_mm"].min() + contours["z_mm"].max()) / 2,
        "min_row": rows.min(),
        "max_row": rows.max(),
        "min_column": columns.min(),
        "max_column": columns.max(),
        "min_z_mm": contours["z_mm"].min(),
        "max_z_mm": contours["z_mm"].max(),
        "diameter_mm": 6.0,
        "malignancy_values": [3.0] * len(annotations),
    }
    return fill_rows("nodules", [nodule])


def block(slices=range(17, 24), half_rows=8, half_columns=6):
    """Return outlines of a block around the nodule's centre; the points lie outside it."""
    rows = np.r_[-half_rows:half_rows, [half_rows] * 2 * half_columns,
                 half_rows:-half_rows:-1, [-half_rows] * 2 * half_columns]  # fmt: skip
    columns = np.r_[[-half_columns] * 2 * half_rows, -half_columns:half_columns,
                    [half_columns] * 2 * half_rows, half_columns:-half_columns:-1]  # fmt: skip
    return [(-100 + 2.0 * k, ROW + rows, COLUMN + columns) for k in slices]
