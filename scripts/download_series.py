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

import contextlib
import dataclasses
import os
import shutil
from pathlib import Path

import pandas as pd

from quorum.command import LOG, log_counts, make_parser, provenance, run_command
from quorum.completeness import FileRecord
from quorum.download import Transfer, complete_all
from quorum.errors import InputError
from quorum.files import raise_if_disk
from quorum.tables import read_table, write_table
from quorum.transfer_locks import only_job, starting_run
from quorum.transfer_progress import Progress


def wanted_series(plan: pd.DataFrame, series: pd.DataFrame, origin) -> pd.DataFrame:
    """Return the rows of the table `series` of a plan's nodules, sorted by UID.

    Raises
    ------
    InputError
        When the index lacks one of them.
    """
    uids = sorted(set(plan["series_uid"]))
    wanted = series[series["series_uid"].isin(uids)].sort_values("series_uid")
    unknown = sorted(set(uids) - set(wanted["series_uid"]))
    if unknown:
        raise InputError(
            f"{len(unknown)} series of {origin} are not in the index, the first {unknown[0]}",
            "series that list_series found in the public index",
            "make both tables again with one release of the index",
        )
    return wanted


def refuse_full_disk(partial: Path, num_bytes: int):
    """Raise an InputError when the bytes to come don't fit on the disk."""
    there = sum(file.stat().st_size for file in partial.rglob("*.dcm"))
    free = shutil.disk_usage(partial).free
    if num_bytes - there > free:
        raise InputError(
            f"{(num_bytes - there) / 1e9:.2f} GB are to come and {partial} has "
            f"{free / 1e9:.2f} GB free",
            "enough free space for one shard's series",
            "free some space, or raise plan_shards.num_shards",
        )


def bytes_of_others(table: Path) -> int:
    """Return the bytes that the other shards of the same folder have brought."""
    total = 0
    for other in sorted(table.parent.glob("shard[0-9][0-9].csv")):
        if other.name != table.name:
            total += int(pd.read_csv(other, usecols=["num_bytes"])["num_bytes"].sum())
    return total


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


def fetch(wanted: pd.DataFrame, args) -> dict:
    """Fetch a shard's series into the partial folder; return their records by UID."""
    uids, total = set(wanted["series_uid"]), int(wanted["num_bytes"].sum())
    shard = args.partial / args.out_folder.name
    shard.mkdir(parents=True, exist_ok=True)
    for left in shard.iterdir():
        if left.name not in uids:
            shutil.rmtree(left)
    refuse_full_disk(args.partial, total)
    in_all = 0.0
    if args.disk:
        in_all = read_table(args.disk, "disk_plan")["fetched_gb"].iloc[0] * 1e9
    others = bytes_of_others(args.out_files) if args.disk else 0
    progress = Progress(shard.name, total, before_bytes=others, all_bytes=int(in_all))
    transfer = Transfer(
        source=args.source,
        endpoint=args.endpoint,
        partial=args.partial,
        shard=shard.name,
        workers=args.workers,
        attempts=args.attempts,
        stall_s=args.stall_s,
    )
    if args.source == "tcia":
        LOG.info("TCIA makes a zip a series while it sends it: slower than source.kind idc")
    return complete_all(list(wanted.itertuples(index=False)), transfer, progress)


def publish(records: dict, args):
    """Write both tables, and make the shard's folder appear in one rename."""
    files, manifest = file_rows(records, args.out_folder)
    made_by = provenance(__file__, args)
    write_table(manifest, args.out_manifest, "manifest", made_by)
    write_table(files, args.out_files, "files", made_by)
    shutil.rmtree(args.out_folder, ignore_errors=True)
    os.replace(args.partial / args.out_folder.name, args.out_folder)


def main(argv=None):
    """Fetch one shard."""
    parser = make_parser(__doc__)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--series", type=Path, required=True)
    parser.add_argument("--disk", type=Path, help="table of check_disk, for the time left in all")
    parser.add_argument("--source", choices=["idc", "tcia"], required=True)
    parser.add_argument("--endpoint", nargs="?", default="", const="", help="URL; empty: public")
    parser.add_argument("--partial", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=16, help="files at the same time")
    parser.add_argument("--attempts", type=int, default=6, help="in a row that bring no file")
    parser.add_argument("--stall-s", type=float, default=60.0)
    parser.add_argument("--out-folder", type=Path, required=True)
    parser.add_argument("--out-files", type=Path, required=True)
    parser.add_argument("--out-manifest", type=Path, required=True)
    args = parser.parse_args(argv)

    run = starting_run()
    plan, series = read_table(args.plan, "nodules"), read_table(args.series, "series")
    wanted = wanted_series(plan, series, args.plan)
    try:
        with only_job(args.partial / f"{args.out_folder.name}.lock"):
            records = fetch(wanted, args)
            if run is not None and not run.is_running():
                # Snakemake would delete what a dead run's job declares, and fetch it again.
                raise InputError(
                    "the run that started this job has died",
                    "a live run, which takes note of what its jobs made",
                    f"run again: every series is kept, verified, in {args.partial}",
                )
            publish(records, args)
    except OSError as error:
        raise_if_disk(error, args.partial)
        raise
    with contextlib.suppress(OSError):
        args.partial.rmdir()
    log_counts("series", came_in=len(wanted), dropped={}, went_out=len(records))


if __name__ == "__main__":
    run_command(main)
