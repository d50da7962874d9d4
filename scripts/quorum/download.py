"""One series from its public place to a verified folder, resumed where a killed job left it."""

import dataclasses
import json
import os
import random
import shutil
import time
from pathlib import Path

from quorum.command import LOG
from quorum.completeness import FileRecord, audit_series, check_listing
from quorum.errors import InputError
from quorum.files import raise_if_disk, write_whole
from quorum.transfer_nbia import fetch_archive
from quorum.transfer_s3 import Bucket, TransferError, fetch_objects, list_objects
from quorum.uids import checked_file_name, checked_uid

# Pauses before a further attempt, doubled each time, with up to as much again at random [s].
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
MANIFEST = "manifest.json"


@dataclasses.dataclass(frozen=True)
class Transfer:
    """How one shard's series are fetched.

    Attributes
    ----------
    source : str
        `idc` (the public bucket) or `tcia` (the archive's REST API).
    endpoint : str
        URL of another server, or empty for the public one.
    partial : Path
        Folder that no rule declares and that survives a killed job.
    shard : str
        Name of the shard.
    workers, attempts : int
        Files at the same time, and attempts, a series.
    stall_s : float
        A transfer without a byte for so long is ended [s].
    """

    source: str
    endpoint: str
    partial: Path
    shard: str
    workers: int
    attempts: int
    stall_s: float


def fetch_from_bucket(row, folder: Path, bucket: Bucket):
    """List one series, fetch what its folder lacks, and return its records.

    Raises
    ------
    TransferError
        When the series is not complete.
    """
    stored = list_objects(bucket, f"s3://{row.bucket}/{row.crdc_series_uuid}/")
    check_listing(stored, num_instances=row.num_instances, num_bytes=row.num_bytes)
    for item in stored:
        checked_file_name(item.name, f"the bucket's listing of {row.series_uid}")
    missing = [
        item
        for item in stored
        if not (folder / item.name).is_file()
        or (folder / item.name).stat().st_size != item.num_bytes
    ]
    if missing:
        fetch_objects(bucket, missing, folder)
    return stored


def complete_series(row, transfer: Transfer) -> list[FileRecord]:
    """Bring one series to `<partial>/<shard>/<series_uid>/` and return its records.

    Parameters
    ----------
    row : namedtuple
        A row of table `series`.
    transfer : Transfer
        How it is fetched.

    Raises
    ------
    InputError
        When it is not complete after all attempts, or the disk is full.
    """
    uid = checked_uid(row.series_uid, "list_series/series.csv")
    folder, done = transfer.partial / uid, transfer.partial / transfer.shard / uid
    if (records := read_manifest(done)) is not None:
        return records
    if done.exists() and not folder.exists():
        os.replace(done, folder)
    reason = ""
    for attempt in range(transfer.attempts):
        if attempt:
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (attempt - 1))
            time.sleep(pause_s * (1 + random.random()))
            LOG.info("%s: attempt %d after: %s", uid, attempt + 1, reason)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            records, problems = fetch_once(row, folder, transfer)
            if not problems:
                return keep_series(folder, done, records)
            reason = f"{len(problems)} files are wrong, the first: {problems[0]}"
        except TransferError as error:
            reason = str(error)
        except OSError as error:
            raise_if_disk(error, folder)
            raise
    raise InputError(
        f"the series {uid} was not complete after {transfer.attempts} attempts ({reason})",
        f"{row.num_instances} files with {row.num_bytes} bytes from {transfer.endpoint or row.url}",
        "check the network and run again: what came whole is kept and not fetched twice",
    )


def fetch_once(row, folder: Path, transfer: Transfer):
    """Fetch what a series' folder lacks, and audit all of it; see `audit_series`."""
    if transfer.source == "tcia":
        stored = fetch_archive(transfer.endpoint, row, folder, transfer.stall_s)
    else:
        bucket = Bucket(transfer.endpoint, transfer.workers, transfer.stall_s)
        stored = fetch_from_bucket(row, folder, bucket)
    return audit_series(folder, stored, row.series_uid)


def keep_series(folder: Path, done: Path, records: list[FileRecord]) -> list[FileRecord]:
    """Write the manifest last, and move the verified series to its shard."""
    with write_whole(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps([dataclasses.asdict(record) for record in records]))
    done.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(done, ignore_errors=True)
    os.replace(folder, done)
    return records


def read_manifest(done: Path) -> list[FileRecord] | None:
    """Return a verified series' records, or None when a file is missing or of another size."""
    try:
        rows = json.loads((done / MANIFEST).read_text())
        records = [FileRecord(**row) for row in rows]
    except (OSError, ValueError, TypeError):
        return None
    whole = all(
        (done / record.name).is_file() and (done / record.name).stat().st_size == record.num_bytes
        for record in records
    )
    return records if whole else None
