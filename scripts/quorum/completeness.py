"""When a series is complete: every file parses, belongs to it, is its own, and has its bytes."""

import dataclasses
import hashlib
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError

from quorum.transfer_s3 import StoredObject, TransferError

# Read at most so much of one file: a CT slice of 512 x 512 takes 0.5 MB, an enhanced series in one
# file less than this.
MAX_FILE_BYTES = 4 << 30
TAGS = ["SOPInstanceUID", "SeriesInstanceUID", "ImagePositionPatient", "Modality"]


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
        When its size or MD5 isn't the stored object's, it does not parse as DICOM with pixels, or
        it belongs to another series.
    """
    num_bytes = path.stat().st_size
    if num_bytes != stored.num_bytes or num_bytes > MAX_FILE_BYTES:
        raise TransferError(f"{path.name} has {num_bytes} bytes and not {stored.num_bytes}")
    content = path.read_bytes()
    if len(stored.etag) == 32 and hashlib.md5(content, usedforsecurity=False).hexdigest() != (
        stored.etag
    ):
        raise TransferError(f"{path.name} has another MD5 than the bucket states")
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=TAGS)
        uid, sop = str(header.SeriesInstanceUID), str(header.SOPInstanceUID)
    except (InvalidDicomError, AttributeError, ValueError, EOFError, OSError) as error:
        raise TransferError(f"{path.name} is no readable DICOM file ({error})") from error
    if uid != series_uid:
        raise TransferError(f"{path.name} belongs to another series ({uid[:64]})")
    position = header.get("ImagePositionPatient")
    return FileRecord(
        name=path.name,
        sop_instance_uid=sop,
        z_mm=float(position[2]) if position else None,
        num_bytes=num_bytes,
        sha256=hashlib.sha256(content).hexdigest(),
    )


def audit_series(folder: Path, stored: list[StoredObject], series_uid: str):
    """Inspect every file of a series; files that fail are removed, so that they are fetched again.

    Returns
    -------
    records : list of FileRecord
        Sorted by name.
    problems : list of str
        One reason a file; empty when all is well.
    """
    records, problems = [], []
    for item in stored:
        path = folder / item.name
        if not path.is_file():
            problems.append(f"{item.name} is missing")
            continue
        try:
            records.append(inspect_file(path, item, series_uid))
        except TransferError as error:
            path.unlink()
            problems.append(str(error))
    names = {item.name for item in stored}
    for path in folder.iterdir():
        if path.name not in names:
            path.unlink()
    seen: dict[str, str] = {}
    for record in records:
        if record.sop_instance_uid in seen:
            problems.append(f"{record.name} and {seen[record.sop_instance_uid]} are one instance")
        seen[record.sop_instance_uid] = record.name
    return sorted(records, key=lambda record: record.name), problems


def check_listing(stored: list[StoredObject], *, num_instances: int, num_bytes: int | None):
    """Raise a TransferError unless files and bytes are as many as the index says."""
    if len(stored) != num_instances:
        raise TransferError(f"the source lists {len(stored)} files and the index {num_instances}")
    total = sum(item.num_bytes for item in stored)
    if num_bytes is not None and total != num_bytes:
        raise TransferError(f"the source lists {total} bytes and the index {num_bytes}")
    if len({item.name for item in stored}) != len(stored):
        raise TransferError("the source lists two files of one name")
