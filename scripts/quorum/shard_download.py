"""One shard of a download from its flags to its folder and tables; what its scripts share."""

import contextlib
import dataclasses
import functools
import os
import shutil
from pathlib import Path

import pandas as pd

from quorum.command import LOG, log_counts
from quorum.completeness import FileRecord
from quorum.disk_space import check_disk, folder_size
from quorum.download import Transfer, complete_all
from quorum.errors import InputError
from quorum.files import raise_if_disk
from quorum.tables import write_table
from quorum.transfer_locks import only_job, starting_run
from quorum.transfer_progress import Progress


def download_shard(wanted: pd.DataFrame, args, made_by: dict, listing=None):
    """Fetch series and publish their folder and tables, all or nothing.

    Parameters
    ----------
    wanted : DataFrame
        series_uid, num_instances, num_bytes, bucket, crdc_series_uuid and url of each series.
    args : argparse.Namespace
        The flags of `quorum.download_flags.add_flags`.
    made_by : dict
        `quorum.command.provenance(...)`.
    listing : Listing, optional
        `quorum.download_flags.begin_listing(...)`.

    Raises
    ------
    InputError
        When a series is not complete after all attempts, the disk is full or can't be written, or
        the run that started the job has died: what came is kept in the partial folder.
    """
    run = starting_run()
    try:
        with only_job(args.partial / f"{args.out_folder.name}.lock"):
            records = fetch(wanted, args, listing)
            if run is not None and not run.is_running():
                # Snakemake would delete what a dead run's job declares, and fetch it again.
                raise InputError(
                    "the run that started this job has died",
                    "a live run, which takes note of what its jobs made",
                    f"run again: every series is kept, verified, in {args.partial}",
                )
            publish(records, args, made_by)
    except OSError as error:
        raise_if_disk(error, args.partial)
        raise
    finally:
        if listing is not None:
            listing.started.end(at_once=True)
    with contextlib.suppress(OSError):
        args.partial.rmdir()
    log_counts("series", came_in=len(wanted), dropped={}, went_out=len(records))


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


def bytes_of_others(table: Path, partial: Path, uids: set) -> int:
    """Return the bytes that the other shards have brought: whole ones, and what is on its way.

    Parameters
    ----------
    table : Path
        This shard's table of files, beside those of the shards that are whole.
    partial : Path
        Holds `<series_uid>` on its way and `<shard>/<series_uid>` verified, of all shards.
    uids : set of str
        This shard's series.
    """
    total, whole = 0, {table.stem}
    for other in set(table.parent.glob("shard[0-9][0-9].csv")) - {table}:
        with contextlib.suppress(FileNotFoundError):
            total += int(pd.read_csv(other, usecols=["num_bytes"])["num_bytes"].sum())
            whole.add(other.stem)
    for folder in [*partial.glob("shard[0-9][0-9]"), *partial.glob("[0-9]*")]:
        if folder.name not in whole | uids:
            total += folder_size(folder)
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


def fetch(wanted: pd.DataFrame, args, listing) -> dict:
    """Fetch a shard's series into the partial folder; return their records by UID."""
    uids, total = set(wanted["series_uid"]), int(wanted["num_bytes"].sum())
    shard = args.partial / args.out_folder.name
    shard.mkdir(parents=True, exist_ok=True)
    for left in shard.iterdir():
        if left.name not in uids:
            shutil.rmtree(left)
    refuse_full_disk(args.partial, total)
    in_all = check_disk(args) if args.shards else total
    others = functools.partial(bytes_of_others, args.out_files, args.partial, uids)
    progress = Progress(
        shard.name, total, all_bytes=int(in_all), bytes_of_others=others if args.shards else int
    )
    transfer = Transfer(
        source=args.source,
        endpoint=args.endpoint,
        partial=args.partial,
        shard=shard.name,
        workers=args.workers,
        attempts=args.attempts,
        stall_s=args.stall_s,
        listing=listing,
    )
    if args.source == "tcia":
        LOG.info("TCIA makes a zip a series while it sends it: slower than source.kind idc")
    return complete_all(list(wanted.itertuples(index=False)), transfer, progress)


def publish(records: dict, args, made_by: dict):
    """Write both tables, and make the shard's folder appear in one rename."""
    files, manifest = file_rows(records, args.out_folder)
    for table in (args.out_manifest, args.out_files):
        for left in table.parent.glob(f".{table.name}.*.tmp*"):  # of a job that was killed here
            left.unlink()
    write_table(manifest, args.out_manifest, "manifest", made_by)
    write_table(files, args.out_files, "files", made_by)
    shutil.rmtree(args.out_folder, ignore_errors=True)
    os.replace(args.partial / args.out_folder.name, args.out_folder)
