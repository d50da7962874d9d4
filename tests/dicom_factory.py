"""Tiny DICOM CT series and volumes with known geometry, and every transfer syntax that is read."""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEGLosslessSV1,
)

# One annotated series, invented; tests that need a real one of the list name it themselves.
SERIES_UID = "1.2.826.0.1.3680043.8.498.1"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
ROWS, COLUMNS = 40, 36  # JPEG 2000's usual six resolutions need 32


def stored_values(index: int = 0, *, low: int = -900) -> np.ndarray:
    """Return signed stored values (y, x) that differ in every pixel and from slice to slice."""
    return (np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) + low + 7 * index).astype(np.int16)


def ct_dataset(index: int, z_mm: float, pixels=None, **changes) -> FileDataset:
    """Return one CT slice, not written yet.

    Parameters
    ----------
    index : int
        Tells its SOPInstanceUID, InstanceNumber and, without `pixels`, its stored values.
    z_mm : float
        z of ImagePositionPatient.
    pixels : int16 (y, x), optional
        Stored values.
    changes
        Elements by keyword, set last; None removes one.
    """
    pixels = stored_values(index) if pixels is None else pixels
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"{changes.get('SeriesInstanceUID', SERIES_UID)}.{index + 1}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    data.SeriesInstanceUID, data.Modality, data.PatientID = SERIES_UID, "CT", "P1"
    data.InstanceNumber = index + 1
    data.ImagePositionPatient = [-20.0, -30.0, float(z_mm)]
    data.ImageOrientationPatient, data.PixelSpacing = list(AXIAL), [0.7, 0.7]
    data.SliceThickness = 5.0  # never the spacing: code that uses it fails its test
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 1
    data.RescaleSlope, data.RescaleIntercept = 1, -24
    data.PixelData = pixels.tobytes()
    data["PixelData"].VR = "OW"
    for keyword, value in changes.items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    return data


def write_series(folder, z_values, pixels=None, **changes) -> list:
    """Write one file a z, named from top to bottom as LIDC-IDRI's are; return their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, z_mm in enumerate(z_values):
        data = ct_dataset(index, z_mm, None if pixels is None else pixels[index], **changes)
        paths.append(folder / f"1-{len(z_values) - index:03d}.dcm")
        data.save_as(paths[-1])
    return paths


def edit(path, **changes):
    """Change elements of a written file; None removes one."""
    data = pydicom.dcmread(path)
    for keyword, value in changes.items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    data.save_as(path)


def recode(path, transfer_syntax: str):
    """Write a file again in another transfer syntax, with pydicom's encoders or our own."""
    data = pydicom.dcmread(path)
    pixels = data.pixel_array
    if transfer_syntax == ExplicitVRBigEndian:
        data.file_meta.TransferSyntaxUID = transfer_syntax
        data.PixelData = pixels.astype(">i2").tobytes()
        data["PixelData"].VR = "OW"
        pydicom.dcmwrite(path, data, implicit_vr=False, little_endian=False)
        return
    if transfer_syntax == JPEGLosslessSV1:
        data.PixelData = encapsulate([jpeg_lossless(pixels.view(np.uint16))])
        data["PixelData"].VR = "OB"
        data["PixelData"].is_undefined_length = True
    elif pydicom.uid.UID(transfer_syntax).is_encapsulated:
        data.compress(transfer_syntax, generate_instance_uid=False)
    data.file_meta.TransferSyntaxUID = transfer_syntax
    data.save_as(
        path, implicit_vr=pydicom.uid.UID(transfer_syntax).is_implicit_VR, little_endian=True
    )


def jpeg_lossless(pixels: np.ndarray) -> bytes:
    """Encode 16-bit values (y, x) as JPEG lossless, process 14, predictor 1 (ITU-T T.81, annex H).

    Its one Huffman table gives each of the 17 difference categories a code of five bits.
    """
    rows, columns = pixels.shape
    bits = []
    for y in range(rows):
        for x in range(columns):
            left = int(pixels[y, x - 1]) if x else int(pixels[y - 1, 0]) if y else 1 << 15
            difference = (int(pixels[y, x]) - left + 32768) % 65536 - 32768
            category = abs(difference).bit_length()
            bits.append(f"{category:05b}")
            if 0 < category < 16:
                value = difference if difference > 0 else difference + (1 << category) - 1
                bits.append(f"{value:0{category}b}")
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    scan = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")
    frame = bytes([16]) + rows.to_bytes(2, "big") + columns.to_bytes(2, "big") + b"\x01\x01\x11\x00"
    table = b"\x00" + bytes([0, 0, 0, 0, 17] + [0] * 11) + bytes(range(17))
    return (
        b"\xff\xd8"
        + segment(0xC3, frame)
        + segment(0xC4, table)
        + segment(0xDA, b"\x01\x01\x00\x01\x00\x00")
        + scan
        + b"\xff\xd9"
    )


def segment(marker: int, content: bytes) -> bytes:
    """Return one JPEG segment: marker, length, content."""
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2, "big") + content


def write_enhanced(path, z_values) -> Path:
    """Write an enhanced multi-frame CT file (PS3.3 A.38), one frame a z, with its own rescale."""
    data = ct_dataset(0, 0.0)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
                    "SliceThickness", "RescaleSlope", "RescaleIntercept"):  # fmt: skip
        delattr(data, keyword)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    data.NumberOfFrames = len(z_values)
    measures, orientation = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.7, 0.7], 5.0
    orientation.ImageOrientationPatient = list(AXIAL)
    shared = Dataset()
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([orientation])
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for index, z_mm in enumerate(z_values):
        position, rescale, frame = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [-20.0, -30.0, float(z_mm)]
        rescale.RescaleSlope, rescale.RescaleIntercept = 1, -24 - index
        frame.PlanePositionSequence = Sequence([position])
        frame.PixelValueTransformationSequence = Sequence([rescale])
        frames.append(frame)
    data.PerFrameFunctionalGroupsSequence = Sequence(frames)
    data.PixelData = b"".join(stored_values(index).tobytes() for index in range(len(z_values)))
    data["PixelData"].VR = "OW"
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path)
    return path


def write_volume(
    path, array, *, spacing_xyz=(0.7, 0.7, 2.0), origin=(0.0, 0.0, 0.0), direction=None
):
    """Write an array (z, y, x) as .mhd, .nii.gz or .nrrd, geometry in LPS; return the path."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing_xyz)
    image.SetOrigin(origin)
    if direction is not None:
        image.SetDirection(np.asarray(direction, float).ravel().tolist())
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return Path(path)
