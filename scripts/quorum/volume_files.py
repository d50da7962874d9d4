"""Volumes of HU in .mhd, .nii, .nii.gz or .nrrd: their geometry, and boxes of their voxels."""

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from quorum.bad_files import BadFile
from quorum.dicom_pixels import PADDING_BELOW_HU, local_path
from quorum.errors import InputError

SUFFIXES = (".mhd", ".nii.gz", ".nii", ".nrrd")
MAX_VOLUME_BYTES = 2 << 30  # LIDC-IDRI's largest series has 764 slices of 512 x 512: 0.4 GB
HEADER_BYTES = 1 << 16
# Bytes a voxel. 8-bit volumes are masks: HU do not fit.
HU_TYPES = {
    sitk.sitkInt16: 2, sitk.sitkUInt16: 2, sitk.sitkInt32: 4, sitk.sitkFloat32: 4,
    sitk.sitkInt64: 8, sitk.sitkFloat64: 8,
}  # fmt: skip


@dataclass(frozen=True)
class VolumeHeader:
    """Geometry of a volume file.

    Attributes
    ----------
    shape_zyx : tuple of 3 ints
        Slices, rows, columns.
    spacing_zyx_mm : tuple of 3 floats
        Between slices, rows, columns.
    origin_lps_mm : tuple of 3 floats
        Centre of the first voxel.
    orientation : tuple of 6 floats
        LPS directions of growing column index, then of growing row index, as DICOM has them.
    slice_direction : tuple of 3 floats
        LPS direction of growing slice index.
    """

    shape_zyx: tuple
    spacing_zyx_mm: tuple
    origin_lps_mm: tuple
    orientation: tuple
    slice_direction: tuple


def read_volume_header(path) -> VolumeHeader:
    """Return the geometry of a volume without reading its voxels.

    Raises
    ------
    BadFile
        When the file can't be read, is no 3D volume of HU, claims a size beyond bounds, or names
        another file as its voxels' than one in its own folder.
    """
    check_data_file(Path(path))
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise BadFile("unreadable", itk_message(error)) from error
    size, direction = reader.GetSize(), np.array(reader.GetDirection())
    if len(size) != 3 or reader.GetNumberOfComponents() != 1:
        raise BadFile("no volume", f"{len(size)} axes, {reader.GetNumberOfComponents()} components")
    if reader.GetPixelID() not in HU_TYPES:
        kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
        raise BadFile("no HU", f"its voxels are {kind}, as in a mask")
    if math.prod(size) * HU_TYPES[reader.GetPixelID()] > MAX_VOLUME_BYTES:
        raise BadFile("size beyond bounds", f"claims {size[0]} x {size[1]} x {size[2]} voxels")
    axes = direction.reshape(3, 3).T
    return VolumeHeader(
        shape_zyx=tuple(size[::-1]),
        spacing_zyx_mm=tuple(reader.GetSpacing()[::-1]),
        origin_lps_mm=tuple(reader.GetOrigin()),
        orientation=(*axes[0].tolist(), *axes[1].tolist()),
        slice_direction=tuple(axes[2].tolist()),
    )


def check_whole(path, header: VolumeHeader):
    """Raise BadFile when the voxels of a volume are not all there: reads it once, wholly."""
    path = Path(path)
    try:
        if path.name.endswith((".nii", ".nii.gz")):
            check_nifti_bytes(path, math.prod(header.shape_zyx))
        image = sitk.ReadImage(str(path))
    except (EOFError, OSError, RuntimeError, MemoryError, struct.error, zlib.error) as error:
        raise BadFile("truncated", itk_message(error)) from error
    if image.GetSize()[::-1] != header.shape_zyx:
        raise BadFile("truncated", f"{image.GetSize()[::-1]} of {header.shape_zyx} voxels")


def check_nifti_bytes(path: Path, num_voxels: int):
    """Raise BadFile when a NIfTI-1 file is shorter than its header says; ITK reads on as zeros."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as stream:
        head = stream.read(352)
        order = "<" if struct.unpack_from("<i", head, 0)[0] == 348 else ">"
        bits = struct.unpack_from(f"{order}h", head, 72)[0]
        start = struct.unpack_from(f"{order}f", head, 108)[0]
        expected, found = int(start) + num_voxels * bits // 8, len(head)
        while found < expected and (block := stream.read(min(1 << 20, expected - found))):
            found += len(block)
        while stream.read(1 << 20) and found <= MAX_VOLUME_BYTES:  # to the checksum at the end
            found += 1 << 20
    if found < expected:
        raise BadFile("truncated", f"{found} of {expected} bytes are there")


def check_data_file(path: Path):
    """Raise BadFile when a text header sends the reader to a file outside its own folder."""
    if path.name.endswith((".nii.gz", ".nii")):
        return
    try:
        with open(path, "rb") as stream:
            head = stream.read(HEADER_BYTES)
    except OSError as error:
        raise BadFile("unreadable", str(error.strerror or error)) from error
    names = data_file_names(head.decode("latin-1"), path.suffix)
    for name in names:
        data = path.parent / name
        if Path(name).name != name or data.is_symlink() or not data.is_file():
            raise BadFile("unreadable", f"its header names {name[:80]!r}, no plain file beside it")


def data_file_names(head: str, suffix: str) -> list:
    """Return the files that a .mhd or .nrrd header names for its voxels; none when they follow."""
    names = []
    if suffix == ".nrrd":
        for line in head.split("\n\n")[0].replace("\r", "").splitlines():
            key, _, value = line.partition(":")
            if key.strip().lower() in ("data file", "datafile"):
                names.append(value.strip())
        return names
    for line in head.splitlines():
        key, _, value = line.partition("=")
        if key.strip().lower() == "elementdatafile" and value.strip().upper() != "LOCAL":
            names.append(value.strip())
    return names


def read_volume_hu(entry, *, box_zyx, root=""):
    """Read a box of one volume file.

    Parameters
    ----------
    entry : row of `check_series/<shard>.parquet` with kind `volume` (a named tuple or Series)
        Used: path, num_slices, num_rows, num_columns.
    box_zyx : 6 ints
        z0, y0, x0, z1, y1, x1 in the file's own voxels (slice 0 is the file's first), half open.
    root : str or Path
        Folder that `path` is relative to.

    Returns
    -------
    hu : float32 (z, y, x)
        As stored; the file's own scale factors applied.
    is_padding : bool (z, y, x)
        True below PADDING_BELOW_HU: outside the scanner's circle.

    Raises
    ------
    InputError
        When the file is missing, damaged, or not the one that check_series saw.
    """
    path = local_path(root, entry.path)
    low, high = box_zyx[:3], box_zyx[3:]
    shape = (entry.num_slices, entry.num_rows, entry.num_columns)
    if not all(0 <= a < b <= n for a, b, n in zip(low, high, shape, strict=True)):
        raise ValueError(f"the box {tuple(box_zyx)} leaves {path} with {shape} voxels")
    try:
        hu = extract_box(path, shape, low, high)
    except (BadFile, RuntimeError) as error:
        raise InputError(
            f"the voxels of {path} can't be read ({itk_message(error)})",
            "the whole volume file that check_series saw",
            "get or make that file again",
        ) from error
    return hu, hu < PADDING_BELOW_HU


def extract_box(path: Path, shape_zyx: tuple, low, high) -> np.ndarray:
    """Return the voxels from `low` up to `high` (z, y, x) of a file of a known shape, float32."""
    check_data_file(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    if reader.GetSize()[::-1] != shape_zyx:
        raise BadFile("changed", f"it now has {reader.GetSize()[::-1]} voxels")
    reader.SetExtractIndex([int(start) for start in low[::-1]])
    reader.SetExtractSize([int(b - a) for a, b in zip(low, high, strict=True)][::-1])
    return sitk.GetArrayFromImage(reader.Execute()).astype(np.float32)


def itk_message(error) -> str:
    """Return the last line of an ITK error, which is the one that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
