"""DICOM unique identifiers, checked before one becomes part of a path."""

import re

from quorum.errors import InputError

# PS3.5, section 9.1: components of digits without leading zeros, joined by dots, 64 characters.
UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
MAX_UID_LENGTH = 64
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


def is_uid(text) -> bool:
    """Tell whether a text is a unique identifier as DICOM PS3.5 section 9.1 defines it."""
    return isinstance(text, str) and len(text) <= MAX_UID_LENGTH and UID.fullmatch(text) is not None


def checked_uid(text, origin: str) -> str:
    """Return a UID that is safe as a folder's name, or raise an InputError naming `origin`."""
    if is_uid(text):
        return text
    raise InputError(
        f"{origin} gives {str(text)[:80]!r} as a UID",
        "digits and dots, at most 64 characters (DICOM PS3.5 section 9.1)",
        "correct that table or file; nothing was written under that name",
    )


def checked_file_name(text: str, origin: str) -> str:
    """Return a file's name that stays in its folder, or raise an InputError naming `origin`."""
    if FILE_NAME.fullmatch(text):
        return text
    raise InputError(
        f"{origin} names a file {text[:80]!r}",
        "a plain name of letters, digits, dots, dashes and underscores",
        "leave that file out, or tell us where it came from",
    )
