"""Whether a DICOM file is as long as its header claims, before memory is taken for it."""

import math
import struct
import zlib
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID, ImplicitVRLittleEndian

from quorum.bad_files import BadFile

MAX_INFLATED_BYTES = 1 << 30  # a deflated file holds one slice, or one enhanced series
MAX_SLICE_PIXELS = 4096 * 4096  # the largest CT matrix on the market is 2048 x 2048
MAX_FRAMES = 10_000
MAX_FRAGMENTS = 100_000


def check_inflated_size(path):
    """Raise BadFile when a deflated file's data has no end, or grows beyond bounds.

    Takes 1 MB of memory to find out.
    """
    with open(path, "rb") as stream:
        stream.seek(132)
        pydicom.filereader.read_dataset(
            stream, False, True, stop_when=lambda tag, vr, length: tag.group != 2
        )
        inflater, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while not inflater.eof:
            block = inflater.unconsumed_tail or stream.read(1 << 16)
            if not block:
                raise BadFile("truncated", "its deflated stream has no end")
            total += len(inflater.decompress(block, 1 << 20))
            if total > MAX_INFLATED_BYTES:
                raise BadFile("size beyond bounds", f"inflates to over {MAX_INFLATED_BYTES} bytes")


def inflated_pixel_bytes(path) -> int:
    """Return how many bytes of pixels a deflated file holds."""
    whole = pydicom.dcmread(path)
    if "PixelData" not in whole:
        raise BadFile("no pixels", "no PixelData element")
    return len(whole.PixelData)


def check_bounds(header: Dataset):
    """Raise BadFile when the header claims more pixels than any CT slice or series has."""
    rows, columns = header.get("Rows"), header.get("Columns")
    frames = int(header.get("NumberOfFrames") or 1)
    if not rows or not columns:
        raise BadFile("no pixels", f"Rows is {rows} and Columns {columns}")
    if rows * columns > MAX_SLICE_PIXELS or not 1 <= frames <= MAX_FRAMES:
        raise BadFile("size beyond bounds", f"claims {rows} x {columns} pixels, {frames} slices")


def check_pixel_bytes(stream, header: Dataset):
    """Raise BadFile when the file ends before its pixels do.

    Parameters
    ----------
    stream : file
        Stands before the PixelData element.
    header : Dataset
        Read from the same stream.
    """
    syntax = UID(header.file_meta.TransferSyntaxUID)
    size = Path(stream.name).stat().st_size
    order = "<" if syntax.is_little_endian else ">"
    start = stream.read(8)
    if len(start) < 8 or struct.unpack(f"{order}HH", start[:4]) != (0x7FE0, 0x0010):
        raise BadFile("no pixels", "no PixelData element after the header")
    length_bytes = start[4:] if syntax == ImplicitVRLittleEndian else stream.read(4)
    if len(length_bytes) < 4:
        raise BadFile("truncated", "the file ends in the PixelData element's length")
    length = struct.unpack(f"{order}L", length_bytes)[0]
    if length == 0xFFFFFFFF:
        check_fragments(stream, size)
        return
    left = size - stream.tell()
    if left < length:
        raise BadFile("truncated", f"{left} of {length} bytes of pixels are there")
    check_length(header, length)


def check_length(header: Dataset, length: int):
    """Raise BadFile when uncompressed pixels take fewer bytes than rows x columns x frames."""
    frames = int(header.get("NumberOfFrames") or 1)
    bits = int(header.BitsAllocated) * int(header.get("SamplesPerPixel") or 1)
    expected = header.Rows * header.Columns * frames * math.ceil(bits / 8)
    if length < expected:
        raise BadFile("truncated", f"{length} of {expected} bytes of pixels are there")


def check_fragments(stream, size: int):
    """Raise BadFile when compressed fragments (PS3.5 A.4) do not reach their end mark."""
    for _ in range(MAX_FRAGMENTS):
        head = stream.read(8)
        if len(head) < 8:
            break
        group, element, length = struct.unpack("<HHL", head)
        if (group, element) == (0xFFFE, 0xE0DD):
            return
        if (group, element) != (0xFFFE, 0xE000) or stream.tell() + length > size:
            break
        stream.seek(length, 1)
    raise BadFile("truncated", "its compressed pixels have no end mark")
