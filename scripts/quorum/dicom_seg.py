"""DICOM Segmentation and measurement reports (TID 1500) from headers whose pixels may be gone."""

import json
import logging

import highdicom
import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import Code, codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from quorum import __version__
from quorum.errors import InputError

# It tells of every module that it copies.
logging.getLogger("highdicom").setLevel(logging.WARNING)

MAKER = "Quorum"
# Source: DICOM PS3.16 CID 7150 and 7159; the same codes as IDC's segmentations of LIDC-IDRI.
CATEGORY = Code("49755003", "SCT", "Morphologically Abnormal Structure")
NODULE = Code("27925004", "SCT", "Nodule")
LUNG = Code("39607008", "SCT", "Lung")
LONG_AXIS = Code("103339001", "SCT", "Long Axis")
CT_CHEST = Code("24627-2", "LN", "CT Chest")
# ASSUME: series numbers above those that scanners give (LIDC-IDRI's are below 4,000).
SEG_SERIES_NUMBER, SR_SERIES_NUMBER = 9100, 9200


def read_header(text: str) -> Dataset:
    """Return a kept header (DICOM JSON) as a data set that highdicom takes for a file."""
    content = json.loads(text)
    syntax = content.pop("00020010", {}).get("Value", [str(ExplicitVRLittleEndian)])[0]
    header = Dataset.from_json(content)
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = syntax
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    # Type 2 modules that some archives strip and every derived object needs.
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyID"):
        if keyword not in header:
            setattr(header, keyword, "")
    for keyword in ("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName"):
        if keyword not in header:
            setattr(header, keyword, "")
    return header


def headers_of(rows, series_uid: str) -> list:
    """Return a series' headers, one a slice, from the lowest slice up.

    Parameters
    ----------
    rows : DataFrame
        Of the table headers.

    Raises
    ------
    InputError
        When the series has none, or is one multi-frame file.
    """
    own = rows[rows["series_uid"] == series_uid].sort_values("slice_index", kind="stable")
    if own.empty:
        raise InputError(
            f"no header of the series {series_uid} was kept",
            "a series that came as DICOM files",
            "use scripts/export_nifti.py: volumes without headers have no place in a study",
        )
    headers = [read_header(text) for text in own["header"]]
    if "NumberOfFrames" in headers[0]:
        raise InputError(
            f"the series {series_uid} is an enhanced multi-frame file",
            "a series of one file a slice",
            "use scripts/export_nifti.py, or convert the series to single slices",
        )
    return headers


def make_seg(headers: list, masks, subjects: list, *, nodule_id: str, number: int):
    """Return a DICOM Segmentation of one nodule, a segment a subject that marked anything.

    Parameters
    ----------
    headers : list of Dataset
        Of the slices in reach, from the lowest up.
    masks : bool (subjects, slices, rows, columns)
        On the whole slices; at least one voxel is set.
    subjects : list of quorum.handed_masks.Subject
    nodule_id : str
    number : int
        SeriesNumber beyond SEG_SERIES_NUMBER.
    """
    kept = [k for k in range(len(subjects)) if masks[k].any()]
    series_uid = str(headers[0].SeriesInstanceUID)
    words = [MAKER, series_uid, nodule_id, *[subjects[k].label for k in kept], masks.tobytes()]
    words = [str(word) for word in words]
    is_phantom = any(subject.label.startswith("PHANTOM") for subject in subjects)
    mark = "PHANTOM " if is_phantom else ""
    segmentation = highdicom.seg.Segmentation(
        source_images=headers,
        pixel_array=np.moveaxis(masks[kept], 0, -1).astype(np.uint8),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[
            describe_segment(place + 1, subjects[k], nodule_id) for place, k in enumerate(kept)
        ],
        series_instance_uid=generate_uid(prefix=None, entropy_srcs=[*words, "series"]),
        series_number=SEG_SERIES_NUMBER + number,
        sop_instance_uid=generate_uid(prefix=None, entropy_srcs=[*words, "instance"]),
        instance_number=1,
        manufacturer=MAKER,
        manufacturer_model_name="export_dicom_seg",
        software_versions=__version__,
        device_serial_number="0",
        content_label="NODULE",
        content_description=f"{mark}nodule {nodule_id}",
        content_creator_name="Quorum^Export",
    )
    segmentation.SeriesDescription = f"{mark}Quorum nodule {nodule_id}"
    return segmentation


def describe_segment(number: int, subject, nodule_id: str):
    """Return what a segment is and how it was made."""
    family = codes.cid7162.ArtificialIntelligence
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=subject.label,
        segmented_property_category=CATEGORY,
        segmented_property_type=NODULE,
        # A person gave the point, or drew the outlines that were joined.
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.SEMIAUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=f"Quorum {subject.algorithm}"[:64], family=family, version=__version__
        ),
        tracking_uid=tracking_uid(nodule_id, subject),
        tracking_id=f"{nodule_id} {subject.label}"[:64],
        anatomic_regions=[LUNG],
    )


def tracking_uid(nodule_id: str, subject) -> str:
    """Return the UID that a nodule's segment and its measurements share."""
    return generate_uid(prefix=None, entropy_srcs=[MAKER, nodule_id, subject.label])


def measure_segments(seg, subjects: list, measures: list, nodule_id: str) -> list:
    """Return the measurement groups (TID 1411) of one nodule's segments.

    Parameters
    ----------
    seg : highdicom.seg.Segmentation
    subjects : list of Subject
        One a segment.
    measures : list of dict
        volume_mm3 and long_axis_mm of each.
    """
    groups = []
    for number, (subject, values) in enumerate(zip(subjects, measures, strict=True), 1):
        units = ((codes.SCT.Volume, "volume_mm3", codes.UCUM.CubicMillimeter),)
        units += ((LONG_AXIS, "long_axis_mm", codes.UCUM.Millimeter),)
        measurements = [
            highdicom.sr.Measurement(name=name, value=round(values[key], 3), unit=unit)
            for name, key, unit in units
        ]
        groups.append(
            highdicom.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
                tracking_identifier=highdicom.sr.TrackingIdentifier(
                    uid=tracking_uid(nodule_id, subject),
                    identifier=f"{nodule_id} {subject.label}",
                ),
                referenced_segment=reference(seg, number),
                finding_type=NODULE,
                finding_category=CATEGORY,
                finding_sites=[highdicom.sr.FindingSite(anatomic_location=LUNG)],
                measurements=measurements,
            )
        )
    return groups


def reference(seg, number: int):
    """Return a reference to a segment and the series it lies on.

    highdicom's own `from_segmentation` looks for the segment of each frame, and a file of one
    segment states it once for all.
    """
    source = seg.ReferencedSeriesSequence[0].SeriesInstanceUID
    return highdicom.sr.ReferencedSegment(
        sop_class_uid=seg.SOPClassUID,
        sop_instance_uid=seg.SOPInstanceUID,
        segment_number=number,
        source_series=highdicom.sr.SourceSeriesForSegmentation(source),
    )


def make_report(headers: list, segs: list, groups: list):
    """Return a measurement report (TID 1500) on the segmentations of one series."""
    series_uid = str(headers[0].SeriesInstanceUID)
    words = [MAKER, series_uid, *sorted(str(seg.SOPInstanceUID) for seg in segs)]
    device = highdicom.sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(prefix=None, entropy_srcs=[MAKER, __version__]), name=MAKER
    )
    observer = highdicom.sr.ObserverContext(
        observer_type=codes.DCM.Device, observer_identifying_attributes=device
    )
    report = highdicom.sr.MeasurementReport(
        observation_context=highdicom.sr.ObservationContext(observer_device_context=observer),
        procedure_reported=CT_CHEST,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    document = highdicom.sr.Comprehensive3DSR(
        evidence=[*segs, *headers],
        content=report[0],
        series_instance_uid=generate_uid(prefix=None, entropy_srcs=[*words, "report"]),
        series_number=SR_SERIES_NUMBER,
        sop_instance_uid=generate_uid(prefix=None, entropy_srcs=[*words, "report instance"]),
        instance_number=1,
        manufacturer=MAKER,
        is_complete=True,
    )
    mark = "PHANTOM " if str(segs[0].SeriesDescription).startswith("PHANTOM") else ""
    document.SeriesDescription = f"{mark}Quorum nodule measurements"
    return document
