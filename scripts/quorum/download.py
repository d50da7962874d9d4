"""A shard's series from their public place to verified folders, resumed where a killed job left.

Files are verified by some threads while others are still under way. What was verified is not
fetched again; what is missing or wrong is, after growing pauses, until some attempts in a row
brought no new file.
"""

import concurrent.futures
import dataclasses
import os
import random
import time
from pathlib import Path

from quorum.command import LOG
from quorum.completeness import (
    check_listing,
    doubled_instance,
    inspect_or_remove,
    keep_series,
    read_manifest,
)
from quorum.errors import InputError
from quorum.files import raise_if_disk
from quorum.transfer_s3 import (
    Bucket,
    Listing,
    TransferError,
    fetch_objects,
    series_prefix,
    start_listing,
)
from quorum.uids import checked_file_name, checked_uid

# Pauses before a further attempt, doubled each time, with up to as much again at random [s].
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
# Hashing leaves Python's lock alone, parsing doesn't: more threads gain nothing.
CHECK_THREADS = 2
DISK_FULL = "no space left on device"


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
    workers : int
        Files at the same time (from a bucket), or series (from the archive, at most 4).
    attempts : int
        Attempts in a row that may bring nothing.
    stall_s : float
        A transfer without a byte for so long is ended [s].
    listing : Listing, optional
        Begun before, for the first attempt.
    """

    source: str
    endpoint: str
    partial: Path
    shard: str
    workers: int
    attempts: int
    stall_s: float
    listing: Listing | None = None


class Checks:
    """Files of several series, verified by some threads; what was found to be whole stays known."""

    def __init__(self, partial: Path, progress):
        self.partial, self.progress = partial, progress
        self.records, self.problems, self.futures = {}, {}, {}
        self.pool = concurrent.futures.ThreadPoolExecutor(CHECK_THREADS)

    def submit(self, uid: str, item):
        """Have one file verified."""
        path = self.partial / uid / item.name
        future = self.pool.submit(inspect_or_remove, path, item, uid)
        future.add_done_callback(lambda done: self.progress.add(item.num_bytes, done))
        self.futures[uid, item.name] = future

    def lacking(self, uid: str, stored: list) -> list:
        """Return the objects that a series lacks; have those verified that are there, unknown."""
        lacking = []
        for item in stored:
            path = self.partial / uid / item.name
            if not path.is_file() or path.stat().st_size != item.num_bytes:
                self.records.pop((uid, item.name), None)
                lacking.append(item)
            elif (uid, item.name) not in self.records:
                self.submit(uid, item)
        return lacking

    def collect(self) -> int:
        """Wait for all that was submitted; return how many files are newly known to be whole."""
        before = len(self.records)
        for key, future in self.futures.items():
            try:
                self.records[key] = future.result()
                self.problems.pop(key, None)
            except TransferError as error:
                self.problems[key] = str(error)
        self.futures = {}
        return len(self.records) - before


def complete_all(rows: list, transfer: Transfer, progress) -> dict:
    """Bring every series to `<partial>/<shard>/<series_uid>/`.

    Parameters
    ----------
    rows : list of namedtuple
        Rows of table `series`.
    transfer : Transfer
    progress : quorum.transfer_progress.Progress

    Returns
    -------
    dict
        series_uid -> its FileRecords.

    Raises
    ------
    InputError
        When one is not complete after all attempts, naming the first and its reason. What can be
        had of the others was had before.
    """
    records = {row.series_uid: found for row in rows if (found := resume(row, transfer))}
    progress.skip(sum(file.num_bytes for found in records.values() for file in found))
    pending = [row for row in rows if row.series_uid not in records]
    checks, futile = Checks(transfer.partial, progress), 0
    with checks.pool:
        while pending:
            stored, reasons = fetch_pending(pending, transfer, checks)
            if checks.collect():
                futile = 0
            for row in pending:
                uid = row.series_uid
                if uid in stored and not (reason := why_incomplete(uid, stored[uid], checks)):
                    found = [checks.records[uid, item.name] for item in stored[uid]]
                    done = transfer.partial / transfer.shard / uid
                    records[uid] = keep_series(transfer.partial / uid, done, found)
                elif uid in stored:
                    reasons[uid] = reason if reason != "missing" else reasons.get(uid, reason)
            pending = [row for row in pending if row.series_uid not in records]
            futile += 1
            if pending:
                try_again_or_raise(pending, reasons, transfer, futile=futile)
    return records


def resume(row, transfer: Transfer) -> list | None:
    """Return the records of a series that is whole already; else make ready to go on with it."""
    uid = checked_uid(row.series_uid, "list_series/series.csv")
    folder, done = transfer.partial / uid, transfer.partial / transfer.shard / uid
    if (records := read_manifest(done)) is not None:
        return records
    if done.exists() and not folder.exists():
        os.replace(done, folder)
    folder.mkdir(parents=True, exist_ok=True)
    return None


def try_again_or_raise(pending: list, reasons: dict, transfer: Transfer, *, futile: int):
    """Pause before the next attempt, or raise when there were enough that brought nothing."""
    row = pending[0]
    reason = reasons.get(row.series_uid, "missing")
    if DISK_FULL in " ".join(reasons.values()):
        raise_if_disk(OSError(28, "No space left on device"), transfer.partial)
    if futile >= transfer.attempts:
        raise InputError(
            f"{len(pending)} series are not complete after {futile} attempts that brought nothing, "
            f"the first {row.series_uid} ({reason})",
            f"{row.num_instances} files with {row.num_bytes} bytes from "
            f"{transfer.endpoint or row.url}",
            "check the network and source.endpoint, and run again: what came whole is kept",
        )
    pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (futile - 1)) * (1 + random.random())
    LOG.info(
        "%s: %d series not complete, the first %s (%s); again in %.1f s",
        transfer.shard, len(pending), row.series_uid, reason, pause_s,
    )  # fmt: skip
    time.sleep(pause_s)


def why_incomplete(uid: str, stored: list, checks: Checks) -> str:
    """Return why a series is not whole, `missing` where a file did not come; empty if it is."""
    for item in stored:
        if (uid, item.name) not in checks.records:
            return checks.problems.get((uid, item.name), "missing")
    doubled = doubled_instance([checks.records[uid, item.name] for item in stored])
    if doubled:
        for item in stored:
            del checks.records[uid, item.name]
            (checks.partial / uid / item.name).unlink(missing_ok=True)
    return doubled


def fetch_pending(pending: list, transfer: Transfer, checks: Checks) -> tuple[dict, dict]:
    """Fetch what series lack, and have every file verified that came.

    Returns
    -------
    stored : dict
        series_uid -> the StoredObjects of each series whose listing is as the index says.
    reasons : dict
        series_uid -> why a series did not come.
    """
    for row in pending:
        (transfer.partial / row.series_uid).mkdir(parents=True, exist_ok=True)
    if transfer.source == "tcia":
        return fetch_from_archive(pending, transfer, checks)
    return fetch_from_bucket(pending, transfer, checks)


def fetch_from_bucket(pending: list, transfer: Transfer, checks: Checks) -> tuple[dict, dict]:
    """List all series, then fetch all that they lack; see `fetch_pending`."""
    bucket = Bucket(transfer.endpoint, transfer.workers, transfer.stall_s)
    prefixes = {row.series_uid: series_prefix(row) for row in pending}
    listing = transfer.listing
    if listing is None or not listing.covers(prefixes.values()):
        listing = start_listing(bucket, list(prefixes.values()))
    listings = listing.result()
    stored, reasons, wanted, wholes = {}, {}, [], set()
    for row in pending:
        uid, listing = row.series_uid, listings[prefixes[row.series_uid]]
        if isinstance(listing, TransferError):
            reasons[uid] = str(listing)
            continue
        for item in listing:
            checked_file_name(item.name, f"the bucket's listing of {uid}")
        try:
            check_listing(listing, num_instances=row.num_instances, num_bytes=row.num_bytes)
        except TransferError as error:
            reasons[uid] = str(error)
            continue
        stored[uid], lacking = listing, checks.lacking(uid, listing)
        wanted += [(uid, item) for item in lacking]
        if len(lacking) == len(listing):
            wholes.add(transfer.partial / uid)
    if wanted:
        places = [(item, transfer.partial / uid / item.name) for uid, item in wanted]
        outcome = fetch_objects(
            bucket,
            places,
            wholes=wholes,
            arrived=lambda place: checks.submit(*wanted[place]),
            tick=checks.progress.tick,
        )
        for uid, item in wanted:
            if (uid, item.name) not in checks.futures:
                reasons.setdefault(uid, outcome.reason_of(item.key) or f"{item.name} did not come")
    return stored, reasons


def fetch_from_archive(pending: list, transfer: Transfer, checks: Checks) -> tuple[dict, dict]:
    """Fetch each series' zip, a few at the same time; see `fetch_pending`."""
    # Here, because a bucket needs none of it, and it takes 0.3 s to import.
    from quorum.transfer_nbia import fetch_archive

    stored, reasons = {}, {}

    def fetch(row):
        folder = transfer.partial / row.series_uid
        tick = checks.progress.tick
        found = fetch_archive(transfer.endpoint, row, folder, transfer.stall_s, tick=tick)
        check_listing(found, num_instances=row.num_instances, num_bytes=row.num_bytes)
        return found

    with concurrent.futures.ThreadPoolExecutor(min(4, transfer.workers)) as pool:
        jobs = {pool.submit(fetch, row): row.series_uid for row in pending}
        for job in concurrent.futures.as_completed(jobs):
            uid = jobs[job]
            try:
                stored[uid] = job.result()
            except TransferError as error:
                reasons[uid] = str(error)
                continue
            checks.lacking(uid, stored[uid])
            checks.progress.tick()
    return stored, reasons
