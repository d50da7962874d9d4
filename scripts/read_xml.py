"""Read the radiologists' sessions, outlines and points from LIDC-IDRI's original XML files.

Reads
    --xml      LIDC-XML-only.zip of the collection, a tar of it, or a folder.
    --series   series.csv (schema: series). --slices  slices.parquet (schema: slices).
Writes
    --out-annotations   annotations.csv, one row an outlined nodule (schema: annotations).
    --out-contours      contours.parquet, its outlines (schema: contours).
    --out-points        points.csv, nodules under 3 mm and non-nodules (schema: points).
    --out-sessions      sessions.csv, one row a reading session (schema: xml_sessions).
    --out-files         files.csv, one row a file and whether it is used (schema: xml_files).
    --out-remarks       remarks.csv, all that isn't used or is odd, and why (schema: xml_remarks).
Method
    One file a series: equal files collapse, the resubmitted correction replaces its original,
    chest films are skipped. A session none of whose marks lies on a slice of the series belongs
    to another series. Single points among an outlined nodule's outlines enclose nothing and are
    left out, as in pylidc. Names and contents decide, never the order in an archive.
Source
    Armato et al. 2011, doi 10.1118/1.3528204; TCIA's LIDC-IDRI page, doi
    10.7937/k9/tcia.2015.lo9ql9sx.
"""

from quorum.annotations import describe_annotations
from quorum.command import LOG, log_counts, make_parser, provenance, run_command
from quorum.tables import read_table, write_table
from quorum.xml_reading import read_xml

NUM_READERS = 4


def log_reading(reading):
    """Log the counts of files, sessions, marks and oddities, and each unusual series."""
    files, sessions = reading.files, reading.sessions
    dropped = files.loc[~files["is_used"], "reason"].value_counts().to_dict()
    log_counts("files", came_in=len(files), dropped=dropped, went_out=int(files["is_used"].sum()))
    dropped = sessions.loc[~sessions["is_used"], "reason"].value_counts().to_dict()
    went_out = int(sessions["is_used"].sum())
    log_counts("sessions", came_in=len(sessions), dropped=dropped, went_out=went_out)
    LOG.info("sessions: %d marked nothing", sessions["is_blank"].sum())
    for uid, count in sessions.groupby("series_uid").size().items():
        if count != NUM_READERS:
            used = int(sessions.loc[sessions["series_uid"] == uid, "is_used"].sum())
            LOG.info("sessions: series %s has %d, of which %d are used", uid, count, used)
    LOG.info("marks: %d outlined nodules", len(reading.marks))
    for kind, count in reading.points["kind"].value_counts().items():
        LOG.info("marks: %d of kind %s", count, kind)
    for keys, count in reading.remarks.groupby(["level", "reason", "is_used"]).size().items():
        level, reason, is_used = keys
        LOG.info("%s: %d %s: %s", level, count, "kept" if is_used else "not used", reason)


def main(argv=None):
    """Read the files, describe each annotation, write the six tables."""
    parser = make_parser(__doc__)
    parser.add_argument("--xml", required=True)
    parser.add_argument("--series", required=True)
    parser.add_argument("--slices", required=True)
    for name in ("annotations", "contours", "points", "sessions", "files", "remarks"):
        parser.add_argument(f"--out-{name}", required=True)
    args = parser.parse_args(argv)

    series, slices = read_table(args.series, "series"), read_table(args.slices, "slices")
    reading = read_xml(args.xml, series, slices)
    log_reading(reading)
    annotations = describe_annotations(reading.marks, reading.contours, series)
    made_by = provenance(__file__, args)
    write_table(reading.contours, args.out_contours, "contours", made_by)
    write_table(annotations, args.out_annotations, "annotations", made_by)
    write_table(reading.points, args.out_points, "points", made_by)
    write_table(reading.sessions, args.out_sessions, "xml_sessions", made_by)
    write_table(reading.files, args.out_files, "xml_files", made_by)
    write_table(reading.remarks, args.out_remarks, "xml_remarks", made_by)


if __name__ == "__main__":
    run_command(main)
