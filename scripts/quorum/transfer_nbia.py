"""Series from The Cancer Imaging Archive through its NBIA REST API, version 4: the second way.

It is slower than the public bucket: one zip a series, made by the server while it is sent, which
can't be resumed. Each series' zip is bounded, its members are checked before they are written
(no path leaves the folder), and every file is held against the MD5 that the archive states. Files
and bytes have to be as many as the index says, as from the bucket, which holds the archive's files
unchanged: a series that the archive has revised since the index's release is told, not taken.

Source: https://wiki.cancerimagingarchive.net, "TCIA REST API Guide" (NBIA Search REST API v4).
"""

import csv
import hashlib
import io
import re
import zipfile
from pathlib import Path

import requests

from quorum.errors import InputError
from quorum.transfer_s3 import StoredObject, TransferError
from quorum.uids import FILE_NAME, checked_uid

PUBLIC_ENDPOINT = "https://services.cancerimagingarchive.net/nbia-api/services/v4"
HASHES = "md5hashes.csv"
MD5 = re.compile(r"[0-9a-fA-F]{32}")
BLOCK_BYTES = 1 << 20
# The zip of a series can't be larger than its files; this much is granted for headers and licence.
ALLOWANCE_BYTES = 16 << 20
MAX_MEMBERS = 20_000


def fetch_archive(endpoint: str, row, folder: Path, stall_s: float, *, tick) -> list[StoredObject]:
    """Fetch one series' zip and unpack its DICOM files into `folder`.

    Parameters
    ----------
    endpoint : str
        Base URL of the API, or empty for the public one.
    row : namedtuple
        series_uid, num_instances, num_bytes (of table `series`).
    folder : Path
        Where the files go. What it holds already is kept when the archive's MD5 says so.
    stall_s : float
        A connection without a byte for so long is ended [s].
    tick : callable
        Called with each block that comes.

    Returns
    -------
    list of StoredObject
        Name, size and MD5 of each file as the archive states them.

    Raises
    ------
    TransferError
        When the server fails, or the archive is not whole.
    """
    uid = checked_uid(row.series_uid, "list_series/series.csv")
    limit = int(row.num_bytes) + ALLOWANCE_BYTES
    archive = folder / f".{uid}.zip"
    try:
        place = endpoint or PUBLIC_ENDPOINT
        check_listed(place, row, stall_s)
        receive(place, uid, archive, stall_s=stall_s, limit=limit, tick=tick)
        return unpack(archive, folder, num_instances=row.num_instances, max_bytes=limit)
    except zipfile.BadZipFile as error:
        raise TransferError(f"the archive is no whole zip file ({error})") from error
    finally:
        archive.unlink(missing_ok=True)


def check_listed(endpoint: str, row, stall_s: float):
    """Raise a TransferError unless the archive lists the series with the index's image count."""
    url = f"{endpoint.rstrip('/')}/getSeries"
    try:
        answer = requests.get(
            url, params={"SeriesInstanceUID": row.series_uid}, timeout=(stall_s, stall_s)
        )
        answer.raise_for_status()
        listed = {one["SeriesInstanceUID"]: int(one["ImageCount"]) for one in answer.json()}
    except (requests.RequestException, ValueError, TypeError, KeyError) as error:
        raise TransferError(f"{url} gave no list ({type(error).__name__})") from error
    if row.series_uid not in listed:
        raise TransferError(f"{url} does not list the series")
    if listed[row.series_uid] != row.num_instances:
        raise TransferError(
            f"{url} lists {listed[row.series_uid]} images and the index says {row.num_instances}"
        )


def receive(endpoint: str, uid: str, archive: Path, *, stall_s: float, limit: int, tick):
    """Stream one series' zip to `archive`, bounded in size and in time without a byte."""
    url = f"{endpoint.rstrip('/')}/getImageWithMD5Hash"
    try:
        with requests.get(
            url, params={"SeriesInstanceUID": uid}, stream=True, timeout=(stall_s, stall_s)
        ) as answer:
            if answer.status_code != 200:
                raise TransferError(f"{url} answered {answer.status_code} {answer.reason}")
            kind = answer.headers.get("Content-Type", "")
            if "html" in kind or "json" in kind:
                raise TransferError(f"{url} answered with {kind} instead of a zip file")
            total = 0
            with open(archive, "wb") as stream:
                for block in answer.iter_content(BLOCK_BYTES):
                    total += len(block)
                    if total > limit:
                        raise TransferError(f"the archive is larger than {limit} bytes")
                    stream.write(block)
                    tick()
    except requests.RequestException as error:
        raise TransferError(f"{url} failed ({type(error).__name__})") from error


def unpack(archive: Path, folder: Path, *, num_instances: int, max_bytes: int):
    """Check every member of a zip, then write its DICOM files; return what the MD5 list states."""
    with zipfile.ZipFile(archive) as content:
        members = content.infolist()
        check_members(members, max_bytes)
        hashes = read_hashes(content)
        images = [member for member in members if member.filename.lower().endswith(".dcm")]
        if len(images) != num_instances:
            raise TransferError(
                f"the archive holds {len(images)} images and the index says {num_instances}"
            )
        stored = []
        for member in images:
            md5 = hashes.get(member.filename)
            if md5 is None:
                raise TransferError(f"the archive states no MD5 of {member.filename}")
            write_member(content, member, folder / member.filename, md5)
            stored.append(StoredObject(member.filename, member.file_size, md5))
    return sorted(stored, key=lambda item: item.key)


def check_members(members: list, max_bytes: int):
    """Refuse an archive with a path that leaves the folder, too many members or too many bytes."""
    if len(members) > MAX_MEMBERS or sum(member.file_size for member in members) > max_bytes:
        raise TransferError(f"the archive unpacks to more than {max_bytes} bytes")
    for member in members:
        if not FILE_NAME.fullmatch(member.filename):
            raise InputError(
                f"the archive names a member {member.filename[:80]!r}",
                "plain file names, without a folder",
                "report it to the archive; nothing of it was written",
            )


def read_hashes(content: zipfile.ZipFile) -> dict:
    """Return the MD5 by file name that the archive's own list states."""
    try:
        text = content.read(HASHES).decode("utf-8", errors="replace")
    except KeyError:
        raise TransferError(f"the archive has no {HASHES}") from None
    rows = [row for row in csv.reader(io.StringIO(text)) if len(row) >= 2]
    return {row[0].strip(): row[1].strip().lower() for row in rows if MD5.fullmatch(row[1].strip())}


def write_member(content: zipfile.ZipFile, member, path: Path, md5: str):
    """Write one member of a zip, unless the file there already has its MD5."""
    if path.is_file() and path.stat().st_size == member.file_size:
        digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        if digest == md5:
            return
    with content.open(member) as source, open(path, "wb") as target:
        while block := source.read(BLOCK_BYTES):
            target.write(block)
