"""DICOM CT files from the outside: is it one, whose is it, where does it lie, is it whole.

Nothing here decodes pixels. Every length that a header claims is compared with the file's own size
before memory is taken for it.
"""

import functools
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian

from quorum.bad_files import UNREADABLE, BadFile
from quorum.dicom_elements import plain_header, tags_of
from quorum.dicom_lengths import (
    check_bounds,
    check_inflated_size,
    check_length,
    check_pixel_bytes,
    inflated_pixel_bytes,
)
from quorum.dicom_values import kernel_name, number, numbers, raw_integer

MAX_FILE_BYTES = 4 << 30  # an enhanced series of 2,000 slices in one file takes 1 GB
DEFERRED_BYTES = 1 << 20  # longer values than this are not read with the header

PHANTOM_ROOT = "2.25."  # UIDs made from random numbers (PS3.5 B.2): no scanner's, none of LIDC's
IDENTITY = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "QualityControlImage",
    "SeriesDescription",
)  # fmt: skip
GEOMETRY = (
    *IDENTITY, "PatientID", "InstanceNumber", "AcquisitionNumber", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "Rows", "Columns",
    "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated",
    "BitsStored", "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "PixelPaddingValue",
    "PixelPaddingRangeLimit", "Manufacturer", "ConvolutionKernel",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
)  # fmt: skip
IDENTITY_TAGS, GEOMETRY_TAGS = tags_of(*IDENTITY), tags_of(*GEOMETRY)
OWN_TAGS = tags_of("SOPInstanceUID", "InstanceNumber", "ImagePositionPatient")  # a slice's own


@dataclass(frozen=True)
class SliceHeader:
    """What is known of one slice before its pixels are read; None or nan where it says nothing.

    Attributes
    ----------
    frame_index : int or None
        Which frame of an enhanced multi-frame file; None for a file of one slice.
    position_lps_mm : tuple of 3 floats
        ImagePositionPatient: centre of the first pixel.
    orientation : tuple of 6 floats
        ImageOrientationPatient: direction of growing column index, then of growing row index.
    pixel_spacing_mm : tuple of 2 floats
        PixelSpacing: between rows, then between columns.
    padding_value, padding_limit : int or None
        In the signedness of the pixels, whatever the header stored them as.
    """

    path: str
    frame_index: int | None
    series_uid: str
    sop_instance_uid: str
    modality: str
    patient_id: str
    is_phantom: bool
    instance_number: int | None
    acquisition_number: int | None
    position_lps_mm: tuple
    orientation: tuple
    pixel_spacing_mm: tuple
    slice_thickness_mm: float
    num_rows: int
    num_columns: int
    samples_per_pixel: int
    photometric: str
    slope: float
    intercept: float
    padding_value: int | None
    padding_limit: int | None
    transfer_syntax: str
    manufacturer: str
    kernel: str


def read_identity(path) -> Dataset:
    """Return the few elements of a DICOM file that say whose it is (IDENTITY_TAGS).

    Raises
    ------
    BadFile
        Reason `not DICOM` or `unreadable`.
    """
    with open_checked(path) as stream:
        header = parse_header(stream, path, IDENTITY_TAGS)
    try:
        for tag in IDENTITY_TAGS:
            header.get(tag)
    except UNREADABLE as error:
        raise BadFile("unreadable", f"{type(error).__name__}: {error}") from error
    return header


def read_headers(path, name: str) -> list:
    """Return the SliceHeader of each slice in a DICOM file; one, but for enhanced multi-frame CT.

    Parameters
    ----------
    path : str or Path
        The file.
    name : str
        Its name in the tables, kept in `SliceHeader.path`.

    Raises
    ------
    BadFile
        Reason `not DICOM`, `unreadable`, `truncated`, `no pixels` or `size beyond bounds`.
    """
    with open_checked(path) as stream:
        header = parse_header(stream, path, GEOMETRY_TAGS)
        try:
            check_bounds(header)
            syntax = header.file_meta.TransferSyntaxUID
            if syntax == DeflatedExplicitVRLittleEndian:
                check_length(header, inflated_pixel_bytes(path))
            else:
                check_pixel_bytes(stream, header)
            if "PerFrameFunctionalGroupsSequence" in header:
                count = len(header.PerFrameFunctionalGroupsSequence)
                if count != int(header.get("NumberOfFrames") or 1):
                    raise ValueError(f"{count} frames described, {header.NumberOfFrames} claimed")
                return [slice_header(header, name, frame) for frame in range(count)]
            if int(header.get("NumberOfFrames") or 1) > 1:
                raise ValueError("several frames, and none of them is described")
            return [slice_header(header, name, None)]
        except UNREADABLE as error:
            raise BadFile("unreadable", f"{type(error).__name__}: {error}") from error


def open_checked(path):
    """Open a file for reading when it looks like DICOM: 128 bytes, then `DICM` (PS3.10)."""
    try:
        size = Path(path).stat().st_size
        stream = open(path, "rb")  # noqa: SIM115 - the caller's `with` closes it
    except OSError as error:
        raise BadFile("unreadable", str(error.strerror or error)) from error
    if stream.read(132)[128:] != b"DICM":
        stream.close()
        raise BadFile("not DICOM", "no DICM after the first 128 bytes")
    if size > MAX_FILE_BYTES:
        stream.close()
        raise BadFile("size beyond bounds", f"{size} bytes, more than {MAX_FILE_BYTES}")
    stream.seek(0)
    return stream


def parse_header(stream, path, tags) -> Dataset:
    """Return the wanted elements before the pixels; the stream then stands before the pixels."""
    header = plain_header(stream, tags)
    if header is not None:
        return header
    stream.seek(0)
    try:
        meta = pydicom.filereader.read_file_meta_info(path)
        syntax = meta.get("TransferSyntaxUID")
        if not syntax:
            raise BadFile("unreadable", "the header names no transfer syntax")
        if syntax == DeflatedExplicitVRLittleEndian:
            check_inflated_size(path)
        return pydicom.dcmread(
            stream, stop_before_pixels=True, specific_tags=list(tags), defer_size=DEFERRED_BYTES
        )
    except UNREADABLE as error:
        raise BadFile("unreadable", f"{type(error).__name__}: {error}") from error


def slice_header(header: Dataset, name: str, frame: int | None) -> SliceHeader:
    """Return one slice's header; `frame` picks a frame of an enhanced file (PS3.3 A.38)."""
    grouped = functools.partial(group_value, header, frame)
    return SliceHeader(
        path=name,
        frame_index=frame,
        sop_instance_uid=str(header.get("SOPInstanceUID", "")),
        instance_number=number(header.get("InstanceNumber"), int),
        position_lps_mm=numbers(grouped("PlanePositionSequence", "ImagePositionPatient"), 3),
        **(common_fields(header, frame) if frame is not None else shared_fields(header)),
    )


@dataclass(frozen=True)
class Shared:
    """A header, equal to another one where all elements but the slices' own ones are."""

    elements: tuple
    header: Dataset = field(compare=False)


def shared_fields(header: Dataset) -> dict:
    """Return `common_fields` of a file of one slice, converted once for a series."""
    elements = [(tag, header.get_item(tag).value) for tag in header.keys() - OWN_TAGS]
    syntax = str(header.file_meta.TransferSyntaxUID)
    try:
        return fields_of(Shared((syntax, *sorted(elements)), header))
    except TypeError:  # a value that is a list is no key
        return common_fields(header, None)


@functools.lru_cache(maxsize=16)
def fields_of(shared: Shared) -> dict:
    """Return the common fields of a header, and of all equal ones."""
    return common_fields(shared.header, None)


def common_fields(header: Dataset, frame: int | None) -> dict:
    """Return the fields of a SliceHeader that the slices of a series have in common."""
    grouped = functools.partial(group_value, header, frame)
    rescale = functools.partial(grouped, "PixelValueTransformationSequence")
    return {
        "series_uid": str(header.get("SeriesInstanceUID", "")),
        "modality": str(header.get("Modality", "")),
        "patient_id": str(header.get("PatientID", "")),
        "is_phantom": is_phantom(header),
        "acquisition_number": number(header.get("AcquisitionNumber"), int),
        "orientation": numbers(grouped("PlaneOrientationSequence", "ImageOrientationPatient"), 6),
        "pixel_spacing_mm": numbers(grouped("PixelMeasuresSequence", "PixelSpacing"), 2),
        "slice_thickness_mm": number(grouped("PixelMeasuresSequence", "SliceThickness"), float),
        "num_rows": int(header.Rows),
        "num_columns": int(header.Columns),
        "samples_per_pixel": int(header.get("SamplesPerPixel") or 1),
        "photometric": str(header.get("PhotometricInterpretation", "")),
        "slope": number(rescale("RescaleSlope"), float),
        "intercept": number(rescale("RescaleIntercept"), float),
        "padding_value": padding(header, "PixelPaddingValue"),
        "padding_limit": padding(header, "PixelPaddingRangeLimit"),
        "transfer_syntax": str(header.file_meta.TransferSyntaxUID),
        "manufacturer": str(header.get("Manufacturer", "")),
        "kernel": kernel_name(header.get("ConvolutionKernel")),
    }


def padding(header: Dataset, keyword: str) -> int | None:
    """Return PixelPaddingValue or its limit in the signedness of the pixels; None when missing."""
    value = header.get(keyword)
    if value is None:
        return None
    bits = int(header.BitsAllocated)
    stored = int(header.get("BitsStored") or bits)
    return as_pixel(raw_integer(value), bits, stored, bool(header.PixelRepresentation))


def group_value(header: Dataset, frame: int | None, group: str, keyword: str):
    """Return an element, for an enhanced file from its frame's or the shared functional group."""
    if frame is None:
        return header.get(keyword)
    per_frame = header.PerFrameFunctionalGroupsSequence[frame]
    for item in (per_frame, *header.get("SharedFunctionalGroupsSequence", [])):
        if group in item:
            return item[group][0].get(keyword)
    return None


def is_phantom(header: Dataset) -> bool:
    """Tell whether a file is marked as a phantom's: by UID, QualityControlImage or description."""
    return (
        str(header.get("SeriesInstanceUID", "")).startswith(PHANTOM_ROOT)
        or str(header.get("QualityControlImage", "")).upper() == "YES"
        or "PHANTOM" in str(header.get("SeriesDescription", "")).upper()
    )


def as_pixel(value: int, bits_allocated: int, bits_stored: int, is_signed: bool) -> int:
    """Return a padding value in the signedness of the pixels beside it.

    Scanners store it unsigned beside signed pixels: 63536 stands for -2000 in 16 bits
    (LIDC-IDRI-0001), and 2096 for -2000 in 12.
    """
    value %= 1 << bits_allocated
    if not is_signed:
        return value
    for bits in (bits_allocated, bits_stored):
        signed = value - (1 << bits) if value >= 1 << (bits - 1) else value
        if -(1 << (bits_stored - 1)) <= signed < 1 << (bits_stored - 1):
            return signed
    return signed
