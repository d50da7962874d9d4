"""Group the annotations of one series that outline the same nodule.

Reads
    --series       series.csv (schema: series).
    --slices       slices.parquet (schema: slices).
    --annotations  annotations.csv (schema: annotations).
    --contours     contours.parquet (schema: contours).
Writes
    --out-nodules  nodules.csv, one row a nodule; pixels, mm (schema: nodules).
Method
    pylidc's rule, exactly: annotations whose points come within a tolerance are one nodule; the
    tolerance starts at the slice thickness and shrinks by 0.9, down to 0.1, while any group of
    the series has more than four. Distances are in voxel indices and the tolerance in mm: pylidc
    compares indices against millimetres, and so does this. Groups of more than four that are
    left are kept, and every nodule of their series is marked is_unresolved.
Source
    Hancock & Magnan 2016, doi 10.1117/1.JMI.3.4.044504 (Scan.cluster_annotations of 0.2.3).
"""

import numpy as np
import pandas as pd

from quorum.command import LOG, log_counts, make_parser, provenance, run_command
from quorum.errors import InputError
from quorum.grouping import group_series, nodule_id, sort_ids, voxel_points
from quorum.ratings import RATINGS
from quorum.tables import read_table, write_table


def group_all(annotations, contours, slices, series) -> tuple:
    """Return every annotation's group and whether its series' grouping was resolved.

    Returns
    -------
    labels : ndarray of int, shape (annotations,)
        The same number for annotations of one series and group, counted within the series.
    is_unresolved : ndarray of bool, shape (annotations,)

    Raises
    ------
    InputError
        When an annotation has no outline.
    """
    points = voxel_points(contours, slices)
    lacking = sorted(set(annotations["annotation_id"]) - set(points))
    if lacking:
        raise InputError(
            f"{len(lacking)} annotations have no outline, such as {lacking[0]}",
            "annotations.csv and contours.parquet of one source",
            "make both again with the rule read_annotations",
        )
    thickness_mm = dict(zip(series["series_uid"], series["slice_thickness_mm"], strict=True))
    ids = annotations["annotation_id"].to_numpy(dtype=object)
    labels = np.zeros(len(annotations), int)
    is_unresolved = np.zeros(len(annotations), bool)
    for uid, places in annotations.groupby("series_uid").indices.items():
        found, is_resolved = group_series([points[i] for i in ids[places]], thickness_mm[uid])
        labels[places], is_unresolved[places] = found, not is_resolved
    return labels, is_unresolved


def describe_nodules(annotations, labels, is_unresolved) -> pd.DataFrame:
    """Return the nodules table, sorted by patient, series, height and name."""
    frame = annotations.assign(label=labels, is_unresolved=is_unresolved)
    nodules = [
        describe_nodule(group) for _, group in frame.groupby(["series_uid", "label"], sort=True)
    ]
    order = ["patient_id", "series_uid", "center_z_mm", "nodule_id"]
    return pd.DataFrame(nodules).sort_values(order, ignore_index=True)


def describe_nodule(group: pd.DataFrame) -> dict:
    """Return one row of the nodules table from its annotations' rows."""
    ids = sort_ids(group["annotation_id"])
    group = group.set_index("annotation_id").loc[ids]
    first = group.iloc[0]
    nodule = {
        "nodule_id": nodule_id(first["series_uid"], ids),
        "series_uid": first["series_uid"],
        "patient_id": first["patient_id"],
        "annotation_ids": ids,
        "num_annotations": len(ids),
        "is_unresolved": bool(first["is_unresolved"]),
        "diameter_mm": round(float(group["diameter_mm"].mean()), 6),
        "volume_mm3": round(float(group["volume_mm3"].mean()), 6),
    }
    # ASSUME: a nodule's centre is the middle of the box around all its readers' outlines, so that
    # a cube around it cuts none off that fits (the volumes of lidc-vois are centred likewise)
    for name, center in (
        ("row", "center_row_px"),
        ("column", "center_column_px"),
        ("z_mm", "center_z_mm"),
    ):
        low, high = group[f"min_{name}"].min(), group[f"max_{name}"].max()
        nodule |= {f"min_{name}": low, f"max_{name}": high, center: (low + high) / 2}
    for name in RATINGS:
        values = group[name].to_numpy(dtype=float, na_value=np.nan)
        known = values[~np.isnan(values)]
        nodule[f"{name}_values"] = values.tolist()
        nodule[f"{name}_median"] = float(np.median(known)) if len(known) else np.nan
        nodule[f"{name}_spread"] = float(np.ptp(known)) if len(known) else np.nan
    return nodule


def main(argv=None):
    """Read the tables, group each series' annotations, write the nodules."""
    parser = make_parser(__doc__)
    for name in ("--series", "--slices", "--annotations", "--contours", "--out-nodules"):
        parser.add_argument(name, required=True)
    args = parser.parse_args(argv)

    series, slices = read_table(args.series, "series"), read_table(args.slices, "slices")
    annotations = read_table(args.annotations, "annotations")
    contours = read_table(args.contours, "contours")
    labels, is_unresolved = group_all(annotations, contours, slices, series)
    nodules = describe_nodules(annotations, labels, is_unresolved)
    grouped = int(nodules["num_annotations"].sum())
    log_counts("annotations grouped", came_in=len(annotations), dropped={}, went_out=grouped)
    for size, count in nodules["num_annotations"].value_counts().sort_index().items():
        LOG.info("nodules: %d with %d annotations", count, size)
    unresolved = nodules.loc[nodules["is_unresolved"], "series_uid"].nunique()
    LOG.info("nodules: %d series keep a group of more than four", unresolved)
    write_table(nodules, args.out_nodules, "nodules", provenance(__file__, args))


if __name__ == "__main__":
    run_command(main)
