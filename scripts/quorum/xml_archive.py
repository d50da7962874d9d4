"""The files of a zip, a tar or a folder, read into memory one by one and never extracted.

An archive is untrusted: its names may lead out of it, its sizes may be lies, it may hold links.
"""

import lzma
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from quorum.errors import InputError

# The largest of LIDC-IDRI's 1,319 XML files has 2.2 MB, all of them 165 MB.
MAX_FILE_BYTES = 16 << 20
MAX_TOTAL_BYTES = 1 << 30
MAX_FILES = 20_000
DAMAGED = (ValueError, zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, zlib.error)


def read_members(path) -> dict:
    """Return the bytes of every file of a zip, a tar (compressed or not), a folder, or one file.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    dict of str to bytes
        By name relative to the folder that holds all of them, in the names' order, whatever the
        archive's own order is.

    Raises
    ------
    InputError
        When the path is missing or no archive, a name leads out of the archive, a member is a
        link or a device, or a size or the number of members is over its bound.
    """
    path = Path(path)
    try:
        if path.is_dir():
            members = dict(limited(path, folder_members(path)))
        elif zipfile.is_zipfile(path):
            members = dict(limited(path, zip_members(path)))
        elif path.is_file() and path.suffix.lower() == ".xml":
            members = dict(limited(path, [(path.name, path.open("rb"))]))
        else:
            members = dict(limited(path, tar_members(path)))
    except (OSError, EOFError, RuntimeError, *DAMAGED) as error:
        raise unreadable(path, error) from error
    return below_common_folder(members)


def unreadable(path, error) -> InputError:
    """Return the error for a path that is no whole archive and no folder."""
    return InputError(
        f"{path} can't be read as a folder, zip or tar of XML files ({error})",
        "the collection's LIDC-XML-only.zip, a tar, or a folder of its files",
        "correct read_annotations.xml, or download the file again when it is cut off",
    )


def limited(path, streams):
    """Yield each member's name and bytes; refuse names that leave and sizes over the bounds."""
    total = 0
    for number, (name, stream) in enumerate(streams, 1):
        parts = PurePosixPath(name.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in (parts.parts or ("",))[0]:
            raise InputError(
                f"{path} holds the member {name!r}, whose path leaves the archive",
                "members below the archive's own folder",
                "don't trust this archive; take it from its publisher again",
            )
        with stream:
            data = stream.read(MAX_FILE_BYTES + 1)
        total += len(data)
        if len(data) > MAX_FILE_BYTES or total > MAX_TOTAL_BYTES or number > MAX_FILES:
            raise InputError(
                f"{path} grows too large at its member {name!r}",
                f"at most {MAX_FILES} files of {MAX_FILE_BYTES >> 20} MB, "
                f"{MAX_TOTAL_BYTES >> 20} MB in all",
                "remove what is no LIDC XML; such sizes are the mark of an archive bomb",
            )
        yield str(parts), data


def zip_members(path):
    """Yield name and open stream of each file of a zip."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise link_error(path, entry.filename)
            if not entry.is_dir():
                yield entry.filename, archive.open(entry)


def tar_members(path):
    """Yield name and open stream of each file of a tar, read as a stream."""
    with tarfile.open(path, "r|*") as archive:
        for entry in archive:
            if entry.isdir():
                continue
            if not entry.isreg():
                raise link_error(path, entry.name)
            yield entry.name, archive.extractfile(entry)


def folder_members(path):
    """Yield name and open stream of each file below a folder; links may not lead out of it."""
    root = path.resolve()
    for file in sorted(path.rglob("*")):
        if not file.is_file():
            continue
        if not file.resolve().is_relative_to(root):
            raise link_error(path, file.relative_to(path))
        yield file.relative_to(path).as_posix(), file.open("rb")


def link_error(path, name) -> InputError:
    """Return the error for a member that is a link or a device."""
    return InputError(
        f"{path} holds {str(name)!r}, a link or device instead of a file",
        "plain files",
        "replace it by the file itself",
    )


def below_common_folder(members: dict) -> dict:
    """Return the members sorted, named below the deepest folder that holds them all."""
    folders = [PurePosixPath(name).parent.parts for name in members]
    depth = 0
    while folders and len({parts[: depth + 1] for parts in folders}) == 1:
        if len(folders[0]) <= depth:
            break
        depth += 1
    names = {name: "/".join(PurePosixPath(name).parts[depth:]) for name in members}
    return {names[name]: members[name] for name in sorted(members, key=names.get)}
