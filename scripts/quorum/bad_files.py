"""One image file that can't be used; told in tables, never fatal by itself."""

import struct
import zlib

from pydicom.errors import InvalidDicomError

# What pydicom raises on files that break the standard: a header is other people's bytes, and each
# of these has been seen on damaged ones (tests/faults/test_bad_images.py).
UNREADABLE = (
    ArithmeticError, AttributeError, EOFError, InvalidDicomError, LookupError, NotImplementedError,
    OSError, RuntimeError, TypeError, ValueError, struct.error, zlib.error,
)  # fmt: skip


class BadFile(Exception):
    """One image file that can't be used: a short reason, and the detail behind it."""

    def __init__(self, reason: str, detail: str):
        self.reason, self.detail = reason, " ".join(detail.split())[:300]
        super().__init__(f"{reason}: {self.detail}")
