"""DICOM CT files of a phantom series: valid, and marked as a phantom in every way there is."""

import hashlib
import uuid

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from quorum.phantom_body import AXIAL_PIXELS, Raster

MARK = "QUORUM PHANTOM"
INTERCEPT_HU = -1024
DATE, TIME = "20000101", "000000"
IMPLEMENTATION_UID = "2.25.284270817463095013047012936021471385094"
FREE_UID_VERSION = 8  # RFC 9562: a UUID whose bits are the maker's own, here a digest


def phantom_uid(*words) -> str:
    """Return a UID under 2.25 that depends on these words alone: the same on every machine.

    Source: DICOM PS3.5 annex B.2 (2.25 and a UUID as one whole number).
    """
    digest = hashlib.sha256("\n".join(map(str, ("quorum-phantom", *words))).encode()).digest()
    bits = int.from_bytes(digest[:16], "big")
    bits = bits & ~(0xF << 76) | FREE_UID_VERSION << 76
    bits = bits & ~(0x3 << 62) | 0x2 << 62
    return f"2.25.{uuid.UUID(int=bits).int}"


def series_header(source: dict, raster: Raster, seed: int) -> Dataset:
    """Return what all slices of one phantom series share.

    Parameters
    ----------
    source : dict
        series_uid, study_uid and patient_id of the annotated series.
    raster : Raster
    seed : int
        Part of every UID, so that phantoms of two seeds are two series.
    """
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 100"
    header.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    header.SOPClassUID = CTImageStorage
    header.StudyInstanceUID = phantom_uid("study", source["study_uid"], seed)
    header.SeriesInstanceUID = phantom_uid("series", source["series_uid"], seed)
    header.FrameOfReferenceUID = phantom_uid("frame", source["series_uid"], seed)
    header.PatientName = f"{MARK}^"  # highdicom warns of a name without a caret
    header.PatientID = f"PHANTOM-{source['patient_id']}"
    header.PatientBirthDate = header.PatientSex = ""
    header.PatientIdentityRemoved = "YES"
    header.DeidentificationMethod = "SIMULATED, NO PATIENT"
    header.StudyDate = header.SeriesDate = header.ContentDate = DATE
    header.StudyTime = header.SeriesTime = header.ContentTime = TIME
    header.AccessionNumber = header.ReferringPhysicianName = ""
    header.StudyID = "PHANTOM"
    header.StudyDescription = "PHANTOM, not a patient"
    header.SeriesDescription = "PHANTOM, simulated on readers' outlines of LIDC-IDRI"
    header.DerivationDescription = "Simulated; stands on readers' outlines, holds no measurement"
    header.Modality, header.BodyPartExamined, header.PatientPosition = "CT", "CHEST", "HFS"
    header.Manufacturer = header.ManufacturerModelName = MARK
    header.QualityControlImage = "YES"
    header.BurnedInAnnotation = "NO"
    header.SeriesNumber = header.AcquisitionNumber = 1
    header.SliceThickness = decimal(raster.thickness_mm)
    header.KVP = 120
    header.ConvolutionKernel = "PHANTOM"
    add_pixel_format(header, raster)
    return header


def add_pixel_format(header: Dataset, raster: Raster):
    """Add how pixels lie and are stored: signed 16 bit, HU = pixel - 1024."""
    header.ImageOrientationPatient = [raster.sign, 0, 0, 0, raster.sign, 0]
    header.PositionReferenceIndicator = ""
    header.PixelSpacing = [decimal(raster.pixel_mm)] * 2
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.Rows = header.Columns = AXIAL_PIXELS
    header.BitsAllocated = header.BitsStored = 16
    header.HighBit = 15
    header.PixelRepresentation = 1
    header.WindowCenter, header.WindowWidth = -600, 1600
    header.RescaleIntercept, header.RescaleSlope = INTERCEPT_HU, 1
    header.RescaleType = "HU"


def write_slice(
    path, header: Dataset, image_hu: np.ndarray, *, raster: Raster, place: tuple
) -> str:
    """Write one slice and return its SOPInstanceUID.

    Parameters
    ----------
    path : str or Path
    header : Dataset
        From `series_header`; not changed.
    image_hu : int16 (rows, columns) [HU]
    raster : Raster
    place : (int, float)
        The slice's instance number (from 1) and its z [mm].
    """
    number, z_mm = place
    uid = phantom_uid("slice", header.SeriesInstanceUID, number)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    file = FileDataset(str(path), header, file_meta=meta, preamble=b"\0" * 128)
    file.SOPInstanceUID = uid
    file.InstanceNumber = number
    file.ImagePositionPatient = [decimal(raster.x_of(0)), decimal(raster.y_of(0)), decimal(z_mm)]
    file.SliceLocation = decimal(z_mm)
    file.PixelData = (image_hu - np.int16(INTERCEPT_HU)).astype("<i2").tobytes()
    file.save_as(path, enforce_file_format=True)
    return uid


def decimal(value) -> str:
    """Return a number below 1e5 as a DICOM decimal string (16 characters), to 1e-8 at least."""
    text = repr(float(value))
    return text if len(text) <= 16 else repr(round(float(value), 8))
