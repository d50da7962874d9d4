"""HU of chosen slices of a DICOM series, and which pixels are padding and no measurement."""

from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from quorum.bad_files import UNREADABLE, BadFile
from quorum.dicom_elements import tags_of
from quorum.dicom_files import open_checked, parse_header
from quorum.dicom_lengths import check_bounds
from quorum.errors import InputError

SIZE_TAGS = tags_of(
    "Rows", "Columns", "NumberOfFrames", "BitsAllocated", "BitsStored", "PixelRepresentation"
)
# Bytes before the values of an uncompressed PixelData element (PS3.5, 7.1.2 and 7.1.3).
PLAIN_HEADS = {ExplicitVRLittleEndian: 12, ImplicitVRLittleEndian: 8}
# ASSUME: below -1500 HU no tissue and no air was measured: air is -1000, noise reaches -1300 at
# most, and scanners fill what lies outside their circle with -2000 to -3072 without always
# declaring it (LIDC-IDRI-0001 declares -2000 and holds -1024 x 1 - 1024 = -2048 HU)
PADDING_BELOW_HU = -1500.0


def read_slices_hu(slices: pd.DataFrame, *, row_range, column_range, root=""):
    """Read a box of one DICOM series: only these slices' files are opened.

    Parameters
    ----------
    slices : DataFrame
        Rows of `check_series/<shard>.parquet` with kind `dicom`, of one series, in the order
        wanted. Used: path, frame_index, num_rows, num_columns, slope, intercept, padding_value,
        padding_limit.
    row_range, column_range : (int, int)
        First and one past the last pixel row and column; within the slice.
    root : str or Path
        Folder that `path` is relative to (`--root`; empty for phantoms and downloads).

    Returns
    -------
    hu : float32 (z, y, x)
        Each slice's own slope and intercept applied. Meaningless where `is_padding`.
    is_padding : bool (z, y, x)
        True where the scanner measured nothing: the declared padding value or range, and
        everything below PADDING_BELOW_HU.

    Raises
    ------
    InputError
        When a file is missing, damaged, claims a size beyond bounds, or is not the one that
        check_series saw.
    """
    (row0, row1), (column0, column1) = row_range, column_range
    shape = (len(slices), row1 - row0, column1 - column0)
    hu, is_padding = np.empty(shape, np.float32), np.zeros(shape, bool)
    for place, entry in enumerate(slices.itertuples(index=False)):
        if min(row0, column0) < 0 or row1 > entry.num_rows or column1 > entry.num_columns:
            raise ValueError(f"rows {row_range}, columns {column_range} leave {entry.path}")
        path = local_path(root, entry.path)
        stored, is_unused = read_stored(path, entry)
        box = np.s_[row0:row1, column0:column1]
        hu[place] = stored[box] * np.float64(entry.slope) + entry.intercept
        is_padding[place] = is_unused[box]
    return hu, is_padding | (hu < PADDING_BELOW_HU)


def read_stored(path: Path, entry):
    """Return one slice's stored values (y, x) and where they are the declared padding."""
    try:
        with open_checked(path) as stream:
            header = parse_header(stream, path, SIZE_TAGS)
            check_bounds(header)
            if (header.Rows, header.Columns) != (entry.num_rows, entry.num_columns):
                raise BadFile("changed", f"now {header.Rows} x {header.Columns} pixels")
            stored = plain_pixels(stream, header)
        if stored is None:
            stored = decode(path, header, entry.frame_index)
    except BadFile as error:
        raise unreadable_pixels(path, str(error)) from error
    except UNREADABLE as error:
        raise unreadable_pixels(path, f"{type(error).__name__}: {error}") from error
    padding = np.zeros(stored.shape, bool)
    if not pd.isna(entry.padding_value):
        other = entry.padding_value if pd.isna(entry.padding_limit) else entry.padding_limit
        low, high = sorted((int(entry.padding_value), int(other)))
        padding = (stored >= low) & (stored <= high)
    return drop_unused_bits(stored, header), padding


def plain_pixels(stream, header) -> np.ndarray | None:
    """Return the values of one uncompressed slice of 16 bits; None for any other, for `decode`.

    As nearly all CT slices are; pydicom would parse the header a second time.

    Parameters
    ----------
    stream : file
        Stands before the PixelData element.
    header : Dataset
        Read from the same stream.
    """
    if (header.BitsAllocated, header.BitsStored, header.get("NumberOfFrames")) != (16, 16, None):
        return None
    head_bytes = PLAIN_HEADS.get(header.file_meta.TransferSyntaxUID)
    if head_bytes is None:
        return None
    stream.seek(head_bytes, 1)
    values = np.fromfile(stream, "<i2" if header.PixelRepresentation else "<u2",
                         header.Rows * header.Columns)  # fmt: skip
    return values.reshape(header.Rows, header.Columns)


def decode(path: Path, header, frame_index) -> np.ndarray:
    """Return the stored values (y, x) of a file, or of one frame of an enhanced one."""
    frame = None if pd.isna(frame_index) else int(frame_index)
    source = path
    if header.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
        source = pydicom.dcmread(path)  # its size was bounded by parse_header
    stored = pixel_array(source, index=frame, raw=True)
    if stored.shape != (header.Rows, header.Columns):
        raise ValueError(f"its pixels have the shape {stored.shape}")
    return stored


def drop_unused_bits(stored: np.ndarray, header) -> np.ndarray:
    """Return the values of BitsStored bits; old scanners keep overlays in the bits above."""
    unused = stored.dtype.itemsize * 8 - int(header.get("BitsStored") or header.BitsAllocated)
    if unused <= 0:
        return stored
    return (stored << unused) >> unused


def missing_decoder(transfer_syntax: str) -> str | None:
    """Return why a transfer syntax can't be decoded here and how to mend it; None when it can."""
    try:
        decoder = get_decoder(transfer_syntax)
    except NotImplementedError:
        return "pydicom can't decode it; convert the files, for instance with gdcmconv --raw"
    if decoder.is_available:
        return None
    return f"install one of its decoders: {'; '.join(decoder.missing_dependencies)}"


def local_path(root, path: str) -> Path:
    """Return the file that a table's `path` names under `root`.

    Raises
    ------
    InputError
        When the path would leave the root.
    """
    if str(root) and (Path(path).is_absolute() or ".." in Path(path).parts):
        raise InputError(
            f"the table of files names {path!r}",
            f"a path inside {root}",
            "make the table again with the rule find_series",
        )
    return Path(root, path)


def unreadable_pixels(path, detail: str) -> InputError:
    """Return the error for a file whose pixels can't be read."""
    return InputError(
        f"the pixels of {path} can't be read ({detail[:300]})",
        "the whole DICOM file that check_series saw",
        "get that file again",
    )
