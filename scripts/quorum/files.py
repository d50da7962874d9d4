"""Files that appear whole or not at all, and digests of what went into them."""

import contextlib
import errno
import hashlib
import os
import shutil
from pathlib import Path

from quorum.errors import InputError

BLOCK_BYTES = 1 << 20


@contextlib.contextmanager
def write_whole(path):
    """Yield a temporary name beside `path`; on success it is synced and renamed to `path`.

    Parameters
    ----------
    path : str or Path
        Final file name. Missing parent folders are made.

    Yields
    ------
    Path
        A name in the same folder, `.<name>.<pid>.tmp<suffix>`, for the caller to write.
        If the block raises, it is removed and `path` is left as it was.

    Raises
    ------
    InputError
        When the disk is full or the folder can't be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        sync_file(temporary)
        os.replace(temporary, path)
        sync_file(path.parent)
    except OSError as error:
        raise_if_disk(error, path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def write_whole_folder(path):
    """Yield a temporary folder beside `path`; on success it replaces `path` in one rename.

    The same contract as `write_whole`, for a folder of files.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        yield temporary
        for file in sorted(temporary.rglob("*")):
            sync_file(file)
        shutil.rmtree(path, ignore_errors=True)
        os.replace(temporary, path)
        sync_file(path.parent)
    except OSError as error:
        raise_if_disk(error, path)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def raise_if_disk(error, path):
    """Turn a full disk or a folder without write permission into an InputError; else return."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise InputError(
            f"the disk filled up while {path} was written",
            "enough free space for the whole file",
            "free some space (nothing half-written was left) and run again",
        ) from error
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        raise InputError(
            f"{path} can't be written ({error.strerror})",
            "a folder with write permission",
            "change its permissions or choose another results folder",
        ) from error


def sync_file(path):
    """Flush a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_file(path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def sha256_text(text: str) -> str:
    """Return the hexadecimal SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()
