"""Check the images of one shard's series: accepted, repaired or excluded, and why.

Reads
    --plan     plan_shards/<shard>.csv: the nodules, which tell the series
    --files    files.csv of simulate_series or find_series, and the files that it names
    --series   list_series/series.csv
    --slices   list_series/slices.parquet: z of every slice of the annotated series
Writes
    --out-findings  table findings: one row a series of the plan
    --out-slices    table series_slices: one row a usable slice or volume
    --out-headers   table headers: one row a usable DICOM file, its header without pixels
Method
    Headers only, but for slices at one position and compressed slices near a nodule, whose pixels
    are compared or decoded. Geometry comes from ImagePositionPatient and ImageOrientationPatient.
    - Same pixels twice at one position: one is kept (repaired).
    - Different slices at one position: the one whose InstanceNumber lies between those of the
      neighbouring positions is kept, else the lower one, as pylidc does (repaired).
    - Missing slices, and any step over 1.1 of the median: the space between stays uncovered. Away
      from nodules that is accepted; within reach of one it is called repaired; a nodule whose own
      outlines lie there is listed in uncovered_nodules. Nothing is interpolated over a gap.
    - Short steps: every slice is carried at its own position.
    - Excluded: a file that is missing, damaged, cut short or of another series; no CT, no rescale,
      no decoder; mixed sizes, spacing or orientation; not axial, sheared or without common
      spacing; a volume whose place contradicts its own geometry; all its nodules uncovered.
    What comes of the nine series of LIDC-IDRI that have such a fault, by patient:
    0514  one step of 38 mm at 2 mm; no nodule           uncovered between       accepted
    0672  three single slices missing at 0.625 mm        uncovered, near one     repaired
    0123  three steps of 0.5 to 0.75 mm at 1.25 mm       at their own positions  accepted
    0267  two steps of 0.5 mm at 2.5 mm                  at their own positions  accepted
    0085  two different slices at one position           by InstanceNumber       repaired
    0146  two different slices at one position           by InstanceNumber       repaired
    0418  two different slices at five positions         by InstanceNumber       repaired
    0572  two different slices at one position           by InstanceNumber       repaired
    0979  two different slices at five positions         by InstanceNumber       repaired
Source
    DICOM PS3.3 C.7.6.2 (image plane), PS3.5 A (transfer syntaxes);
    pylidc 0.2.3, Scan.py (InstanceNumber).
"""

from collections import Counter

import numpy as np
import pandas as pd

from quorum.command import LOG, log_counts, make_parser, progress, provenance, run_command
from quorum.header_table import header_rows
from quorum.series_checks import check_dicom, excluded
from quorum.tables import load_schema, read_table, write_table
from quorum.volume_checks import check_volumes


def check_one(files: pd.DataFrame, nodules: pd.DataFrame, series, z_mm, args):
    """Return the finding and the rows of one series, whatever form its files have.

    Parameters
    ----------
    files : DataFrame
        Rows of the table `files` of this series; none when there are no files.
    nodules : DataFrame
        The plan's nodules of this series.
    series : row of the table `series`
    z_mm : float (n,)
        z of every slice of the annotated series, rising.
    args : argparse.Namespace
        root, max_spacing_deviation, max_tilt_deg.
    """
    finding = {
        "series_uid": series.name,
        "source_series_uid": series.name,
        "patient_id": series.patient_id,
        "uncovered_nodules": [],
        "num_files": len(files),
    }
    if files.empty:
        return excluded(finding, "no file found: add its files to source.root"), []
    finding |= {"series_uid": files.series_uid.iloc[0], "data_kind": files.data_kind.iloc[0]}
    if files.series_uid.nunique() > 1 or files.kind.nunique() > 1:
        return excluded(finding, "its files are of several series or forms"), []
    if (files.kind == "dicom").all():
        limits = {
            "max_spacing_deviation": args.max_spacing_deviation,
            "max_tilt_deg": args.max_tilt_deg,
            "num_expected": series.num_instances,
        }
        found, rows = check_dicom(files, nodules, args.root, limits)
    else:
        found, rows = check_volumes(files, nodules, args.root, series, z_mm)
    return finding | found, rows


def frame_of(rows: list, table: str) -> pd.DataFrame:
    """Return rows as a frame with the columns of a table, also when there are none."""
    columns = [column["name"] for column in load_schema(table)["columns"]]
    return pd.DataFrame(rows, columns=columns)


def log_findings(findings: list):
    """Log every series that was not simply accepted, and the counts."""
    for finding in findings:
        if finding["decision"] != "accepted":
            LOG.warning(
                "%s %s of %s: %s",
                finding["decision"],
                finding["source_series_uid"],
                finding["patient_id"],
                finding["reason"],
            )
    reasons = Counter(
        str(f["reason"]).partition(":")[0] for f in findings if f["decision"] == "excluded"
    )
    num_used = len(findings) - sum(reasons.values())
    log_counts("check_series", came_in=len(findings), dropped=dict(reasons), went_out=num_used)
    if findings and not num_used:
        LOG.warning("check_series: every series of this shard was excluded; see the reasons above")


def parse_args(argv):
    """Return the parsed flags."""
    parser = make_parser(__doc__)
    parser.add_argument("--plan", required=True, help="plan_shards/<shard>.csv")
    parser.add_argument("--files", required=True, help="files.csv of the source")
    parser.add_argument("--series", required=True, help="list_series/series.csv")
    parser.add_argument("--slices", required=True, help="list_series/slices.parquet")
    parser.add_argument("--root", default="", help="folder of the files; empty: the current one")
    parser.add_argument("--max-spacing-deviation", type=float, default=0.02, help="share")
    parser.add_argument("--max-tilt-deg", type=float, default=0.5, help="degrees")
    parser.add_argument("--out-findings", required=True, help="<shard>.csv")
    parser.add_argument("--out-slices", required=True, help="<shard>.parquet")
    parser.add_argument("--out-headers", default="", help="<shard>.headers.parquet; empty: none")
    return parser.parse_args(argv)


def main(argv=None):
    """Read the flags, check series by series, write both tables."""
    args = parse_args(argv)
    plan = read_table(args.plan, "nodules")
    files = read_table(args.files, "files")
    series = read_table(args.series, "series").set_index("series_uid")
    slices = read_table(args.slices, "slices")
    wanted = sorted(set(plan.series_uid))
    by_series = dict(
        tuple(files[files.source_series_uid.isin(wanted)].groupby("source_series_uid"))
    )
    z_by_series = slices[slices.series_uid.isin(wanted)].groupby("series_uid").z_mm
    z_by_series = {uid: np.sort(z.to_numpy(float)) for uid, z in z_by_series}
    findings, rows = [], []
    for uid in progress(wanted, "check_series"):
        finding, found = check_one(
            by_series.get(uid, files.iloc[:0]),
            plan[plan.series_uid == uid],
            series.loc[uid],
            z_by_series[uid],
            args,
        )
        findings.append(finding)
        rows += found
    log_findings(findings)
    made_by = provenance(__file__, args)
    write_table(frame_of(findings, "findings"), args.out_findings, "findings", made_by)
    write_table(frame_of(rows, "series_slices"), args.out_slices, "series_slices", made_by)
    if args.out_headers:
        headers = frame_of(header_rows(rows, args.root), "headers")
        write_table(headers, args.out_headers, "headers", made_by)


if __name__ == "__main__":
    run_command(main)
