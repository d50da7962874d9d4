"""When a series is complete: every file parses, belongs to it, is its own, and has its bytes."""

import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path

import pydicom

from quorum.bad_files import UNREADABLE
from quorum.dicom_elements import plain_header, tags_of
from quorum.files import write_whole
from quorum.transfer_s3 import StoredObject, TransferError

# Read at most so much of one file: a CT slice of 512 x 512 takes 0.5 MB, an enhanced series in one
# file less than this.
MAX_FILE_BYTES = 4 << 30
BLOCK_BYTES = 1 << 20
TAGS = tags_of("SOPInstanceUID", "SeriesInstanceUID", "ImagePositionPatient")
MD5_LENGTH = 32  # an ETag of another length is no MD5: the object was stored in parts
MANIFEST = "manifest.json"


@dataclasses.dataclass(frozen=True)
class FileRecord:
    """What a manifest says of one file."""

    name: str
    sop_instance_uid: str
    z_mm: float | None
    num_bytes: int
    sha256: str


def inspect_file(path: Path, stored: StoredObject, series_uid: str) -> FileRecord:
    """Return the record of one fetched file.

    Raises
    ------
    TransferError
        When its size or MD5 isn't the stored object's, it does not parse as DICOM, or it belongs
        to another series.
    """
    num_bytes = path.stat().st_size
    if num_bytes != stored.num_bytes or not 0 < num_bytes <= MAX_FILE_BYTES:
        raise TransferError(f"{path.name} has {num_bytes} bytes and not {stored.num_bytes}")
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            sha256.update(block)
            md5.update(block)
        if len(stored.etag) == MD5_LENGTH and md5.hexdigest() != stored.etag:
            raise TransferError(f"{path.name} has another MD5 than the source states")
        stream.seek(0)
        uid, sop, z_mm = read_uids(stream, path.name)
    if uid != series_uid:
        raise TransferError(f"{path.name} belongs to another series ({uid[:64]})")
    return FileRecord(path.name, sop, z_mm, num_bytes, sha256.hexdigest())


def read_uids(stream, name: str) -> tuple:
    """Return SeriesInstanceUID, SOPInstanceUID and z (None without a position) of a DICOM file."""
    try:
        header = plain_header(stream, TAGS)
        if header is None:
            stream.seek(0)
            header = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=list(TAGS))
        position = header.get("ImagePositionPatient")
        z_mm = float(position[2]) if position else None
        return str(header.SeriesInstanceUID), str(header.SOPInstanceUID), z_mm
    except UNREADABLE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:150]
        raise TransferError(f"{name} is no readable DICOM file ({reason})") from error


def inspect_or_remove(path: Path, stored: StoredObject, series_uid: str) -> FileRecord:
    """Return a file's record, or remove the file, so that it is fetched again, and raise."""
    try:
        return inspect_file(path, stored, series_uid)
    except TransferError:
        path.unlink()
        raise


def doubled_instance(records: list) -> str:
    """Return which two files are one instance (one SOPInstanceUID), or an empty text."""
    seen: dict[str, str] = {}
    for record in records:
        other = seen.setdefault(record.sop_instance_uid, record.name)
        if other != record.name:
            return f"{other} and {record.name} are one instance ({record.sop_instance_uid})"
    return ""


def check_listing(stored: list[StoredObject], *, num_instances: int, num_bytes: int | None):
    """Raise a TransferError unless files and bytes are as many as the index says."""
    if len({item.name for item in stored}) != len(stored):
        raise TransferError("the source lists two files of one name")
    if len(stored) != num_instances:
        raise TransferError(f"the source lists {len(stored)} files and the index {num_instances}")
    total = sum(item.num_bytes for item in stored)
    if num_bytes is not None and total != num_bytes:
        raise TransferError(f"the source lists {total} bytes and the index {num_bytes}")


def keep_series(folder: Path, done: Path, records: list[FileRecord]) -> list[FileRecord]:
    """Remove what isn't the series', write its manifest last, and move it to its shard."""
    names = {record.name for record in records}
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()
    records = sorted(records, key=lambda record: record.name)
    with write_whole(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps([dataclasses.asdict(record) for record in records]))
    done.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(done, ignore_errors=True)
    os.replace(folder, done)
    return records


def read_manifest(done: Path) -> list[FileRecord] | None:
    """Return the records of a series that was verified before, or None when it isn't whole now.

    Each file is held against the size and SHA-256 of the manifest; one that differs is removed, so
    that it is fetched again.
    """
    try:
        rows = json.loads((done / MANIFEST).read_text())
        records = [FileRecord(**row) for row in rows]
        damaged = [record.name for record in records if not is_as_recorded(done, record)]
    except (OSError, ValueError, TypeError):
        return None
    for name in damaged:
        (done / name).unlink()
    return None if damaged else records


def is_as_recorded(folder: Path, record: FileRecord) -> bool:
    """Tell whether a file still has the size and SHA-256 of its record."""
    path = folder / record.name
    if path.stat().st_size != record.num_bytes:
        return False
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == record.sha256
