"""Fetch one shard's series from their public place, and keep only what is complete.

Reads
    plan             CSV, schema nodules: the shard's nodules; their series are fetched.
    series           CSV, schema series: where each series lies, how many files and bytes it has.

Writes
    out-folder       <series_uid>/<file>.dcm, every series whole.
    out-files        CSV, schema files: one row a file.
    out-manifest     CSV, schema manifest: SOPInstanceUID, z, size and SHA-256 of every file.

Method
    A series arrives in <partial>/<series_uid>/, which no rule declares, so that a killed job goes
    on where it was. It is complete when files and bytes equal the index, every file parses with
    the right SeriesInstanceUID and the bucket's MD5, and SOPInstanceUIDs are distinct; then it
    moves to <partial>/<shard>/. What is missing or wrong is fetched again, with growing pauses.
    One rename makes the whole shard appear.

Source
    Imaging Data Commons, https://portal.imaging.datacommons.cancer.gov (public S3 buckets).
"""

import concurrent.futures
import dataclasses
import os
import shutil
import time
from pathlib import Path

import pandas as pd

from quorum.command import LOG, log_counts, make_parser, provenance, run_command
from quorum.completeness import FileRecord
from quorum.download import Transfer, complete_series
from quorum.errors import InputError
from quorum.tables import read_table, write_table

PROGRESS_EVERY_S = 10.0


def fetch_all(wanted: pd.DataFrame, transfer: Transfer, parallel: int) -> dict:
    """Fetch all series, some at a time; return records by series, or raise for the first failure.

    A series that fails does not stop the others: what can be had is had before the error.
    """
    records, failures = {}, []
    total, came, start = int(wanted["num_bytes"].sum()), 0, time.monotonic()
    last = start
    with concurrent.futures.ThreadPoolExecutor(parallel) as pool:
        jobs = {pool.submit(complete_series, row, transfer): row for row in wanted.itertuples()}
        for job in concurrent.futures.as_completed(jobs):
            row = jobs[job]
            try:
                records[row.series_uid] = job.result()
            except InputError as error:
                failures.append(error)
                LOG.info("failed: %s", error)
                continue
            came += row.num_bytes
            now = time.monotonic()
            if now - last >= PROGRESS_EVERY_S or len(records) == len(jobs):
                last = now
                rate = came / max(now - start, 1e-9)
                LOG.info(
                    "%s: %d of %d series, %.0f of %.0f MB, %.1f MB/s, about %.0f s left",
                    transfer.shard,
                    len(records),
                    len(jobs),
                    came / 1e6,
                    total / 1e6,
                    rate / 1e6,
                    (total - came) / rate,
                )
    if failures:
        raise failures[0]
    return records


def file_rows(records: dict, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the index of files and the manifest, sorted by series and name."""
    rows = [
        {"series_uid": uid, **dataclasses.asdict(record)}
        for uid in sorted(records)
        for record in records[uid]
    ]
    columns = ["series_uid", *(field.name for field in dataclasses.fields(FileRecord))]
    manifest = pd.DataFrame(rows, columns=columns)
    files = manifest[["series_uid", "num_bytes", "sop_instance_uid"]].copy()
    files["source_series_uid"] = files["series_uid"]
    files["path"] = [
        str(folder / uid / name)
        for uid, name in zip(manifest["series_uid"], manifest["name"], strict=True)
    ]
    files["kind"], files["data_kind"], files["is_cut_out"] = "dicom", "scan", False
    for name in ("row0", "column0", "slice0", "num_rows", "num_columns", "num_slices"):
        files[name] = pd.NA
    files["series_origin_x_mm"] = files["series_origin_y_mm"] = float("nan")
    return files, manifest


def main(argv=None):
    """Fetch one shard."""
    parser = make_parser(__doc__)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--series", type=Path, required=True)
    parser.add_argument("--source", choices=["idc", "tcia"], required=True)
    parser.add_argument("--endpoint", default="", help="URL of another server than the public one")
    parser.add_argument("--partial", type=Path, required=True)
    parser.add_argument("--parallel", type=int, default=2, help="series at the same time")
    parser.add_argument("--workers", type=int, default=8, help="files at the same time, a series")
    parser.add_argument("--attempts", type=int, default=6)
    parser.add_argument("--stall-s", type=float, default=60.0)
    parser.add_argument("--out-folder", type=Path, required=True)
    parser.add_argument("--out-files", type=Path, required=True)
    parser.add_argument("--out-manifest", type=Path, required=True)
    args = parser.parse_args(argv)

    plan, series = read_table(args.plan, "nodules"), read_table(args.series, "series")
    uids = sorted(set(plan["series_uid"]))
    wanted = series[series["series_uid"].isin(uids)].sort_values("series_uid")
    unknown = sorted(set(uids) - set(wanted["series_uid"]))
    if unknown:
        raise InputError(
            f"{len(unknown)} series of {args.plan} are not in the index, the first {unknown[0]}",
            "series that list_series found in the public index",
            "make both tables again with one release of the index",
        )
    shard = args.partial / args.out_folder.name
    shard.mkdir(parents=True, exist_ok=True)
    for left in shard.iterdir():
        if left.name not in uids:
            shutil.rmtree(left)
    transfer = Transfer(
        source=args.source,
        endpoint=args.endpoint,
        partial=args.partial,
        shard=args.out_folder.name,
        workers=args.workers,
        attempts=args.attempts,
        stall_s=args.stall_s,
    )
    records = fetch_all(wanted, transfer, args.parallel)
    files, manifest = file_rows(records, args.out_folder)
    made_by = provenance(__file__, args)
    write_table(manifest, args.out_manifest, "manifest", made_by)
    write_table(files, args.out_files, "files", made_by)
    os.sync()
    shutil.rmtree(args.out_folder, ignore_errors=True)
    os.replace(shard, args.out_folder)
    log_counts("series", came_in=len(uids), dropped={}, went_out=len(records))


if __name__ == "__main__":
    run_command(main)
