"""Group the annotations of one series that outline the same nodule.

Reads
    --series       series.csv (schema: series).
    --slices       slices.parquet (schema: slices).
    --annotations  annotations.csv (schema: annotations).
    --contours     contours.parquet (schema: contours).
    --sessions, --points   of read_xml, for the method by_reader (schemas: xml_sessions, points).
    --overrides    config/overrides.csv, reviewed decisions for by_reader (schema: overrides).
Writes
    --out-nodules    nodules.csv, one row a nodule; pixels, mm (schema: nodules).
    --out-decisions  decisions.csv, what by_reader joined, refused or dropped (schema:
                     grouping_decisions); empty for the method pylidc.
Method
    by_reader: at most one annotation a reader, distances in mm; stated at the top of
    scripts/quorum/reader_grouping.py.
    pylidc: its rule, exactly: annotations whose points come within a tolerance are one nodule;
    the tolerance starts at the slice thickness and shrinks by 0.9, down to 0.1, while any group of
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
from quorum.reader_nodules import (
    add_readers,
    group_by_reader,
    read_overrides,
)
from quorum.tables import column_names, read_table, write_table


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
    place_of = {name: place for place, name in enumerate(frame["annotation_id"])}
    members = frame.groupby(["series_uid", "label"])["annotation_id"].agg(sort_ids)
    order = [place_of[name] for ids in members for name in ids]
    sizes = members.map(len).to_numpy()
    groups = frame.iloc[order].groupby(np.repeat(np.arange(len(members)), sizes))
    nodules = groups[["series_uid", "patient_id", "is_unresolved"]].first()
    nodules["annotation_ids"] = list(members)
    nodules["num_annotations"] = sizes
    nodules["nodule_id"] = [
        nodule_id(uid, ids) for uid, ids in zip(nodules["series_uid"], members, strict=True)
    ]
    for name in ("diameter_mm", "volume_mm3"):
        nodules[name] = groups[name].mean().round(6)
    nodules = nodules.join([describe_extent(groups), describe_ratings(groups)])
    order = ["patient_id", "series_uid", "center_z_mm", "nodule_id"]
    return nodules.sort_values(order, ignore_index=True)


def describe_extent(groups) -> pd.DataFrame:
    """Return the box around all outlines of each group, and its middle; pixels and mm."""
    # ASSUME: a nodule's centre is the middle of the box around all its readers' outlines, so that
    # a cube around it cuts none off that fits (the volumes of lidc-vois are centred likewise)
    extent = {}
    centers = {"row": "center_row_px", "column": "center_column_px", "z_mm": "center_z_mm"}
    for name, center in centers.items():
        extent[f"min_{name}"] = groups[f"min_{name}"].min()
        extent[f"max_{name}"] = groups[f"max_{name}"].max()
        extent[center] = (extent[f"min_{name}"] + extent[f"max_{name}"]) / 2
    return pd.DataFrame(extent)


def describe_ratings(groups) -> pd.DataFrame:
    """Return each rating's values by reader, their median and their spread."""
    ratings = {}
    for name in RATINGS:
        values = groups[name]
        ratings[f"{name}_values"] = values.agg(
            lambda group: group.to_numpy(dtype=float, na_value=np.nan).tolist()
        )
        ratings[f"{name}_median"] = values.median()
        ratings[f"{name}_spread"] = values.max() - values.min()
    return pd.DataFrame(ratings)


def pylidc_nodules(annotations, contours, slices, series) -> tuple:
    """Return the nodules by pylidc's rule, without knowledge of readers, and no decisions."""
    labels, is_unresolved = group_all(annotations, contours, slices, series)
    nodules = describe_nodules(annotations, labels, is_unresolved)
    nodules = nodules.assign(reader_sessions=None, reader_status=None)
    return nodules, pd.DataFrame(columns=column_names("grouping_decisions"))


def reader_nodules(annotations, contours, slices, series, *, args) -> tuple:
    """Return the nodules by reader, and the decisions."""
    overrides = read_overrides(args.overrides, annotations["annotation_id"])
    joined, labels, is_unresolved, decisions = group_by_reader(
        annotations, contours, slices, series, overrides=overrides
    )
    nodules = describe_nodules(joined, labels, is_unresolved)
    sessions = read_table(args.sessions, "xml_sessions")
    points = read_table(args.points, "points")
    return add_readers(nodules, joined, sessions, points, series), decisions


def log_nodules(annotations, nodules, decisions):
    """Log how many annotations went into how many nodules of which size."""
    joined = sum(name.count("+") for names in nodules["annotation_ids"] for name in names)
    dropped = {
        "outlined twice by one reader": int((decisions["decision"] == "outlined_twice").sum()),
        "joined as a piece of another": joined,
    }
    grouped = int(nodules["num_annotations"].sum())
    dropped = {reason: count for reason, count in dropped.items() if count}
    log_counts("annotations grouped", came_in=len(annotations), dropped=dropped, went_out=grouped)
    for size, count in nodules["num_annotations"].value_counts().sort_index().items():
        LOG.info("nodules: %d with %d annotations", count, size)
    unresolved = nodules.loc[nodules["is_unresolved"], "series_uid"].nunique()
    LOG.info("nodules: %d series are unresolved", unresolved)


def main(argv=None):
    """Read the tables, group each series' annotations, write the nodules."""
    parser = make_parser(__doc__)
    for name in ("--series", "--slices", "--annotations", "--contours", "--out-nodules"):
        parser.add_argument(name, required=True)
    parser.add_argument("--method", choices=["pylidc", "by_reader"], default="pylidc")
    for name in ("--sessions", "--points", "--overrides", "--out-decisions"):
        parser.add_argument(name, nargs="?")
    args = parser.parse_args(argv)

    series, slices = read_table(args.series, "series"), read_table(args.slices, "slices")
    annotations = read_table(args.annotations, "annotations")
    tables = annotations, read_table(args.contours, "contours"), slices, series
    if args.method == "by_reader":
        nodules, decisions = reader_nodules(*tables, args=args)
    else:
        nodules, decisions = pylidc_nodules(*tables)
    log_nodules(annotations, nodules, decisions)
    made_by = provenance(__file__, args)
    if args.out_decisions:
        write_table(decisions, args.out_decisions, "grouping_decisions", made_by)
    write_table(nodules, args.out_nodules, "nodules", made_by)


if __name__ == "__main__":
    run_command(main)
