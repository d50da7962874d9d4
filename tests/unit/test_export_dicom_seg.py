"""DICOM SEG and SR: valid, in the source's geometry, where the cube's mask lies."""

import shutil
import subprocess

import export_dicom_seg
import h5py
import numpy as np
import pandas as pd
import pydicom
import pytest
import SimpleITK as sitk
from export_inputs import EXPERIMENT, TURNED, UNEVEN, phantom_results, predict, real_results
from needs import require

from quorum.errors import InputError
from quorum.handed_masks import Handed
from quorum.shards import open_shards
from quorum.tables import read_table

# What highdicom warns of would be read by every user.
pytestmark = pytest.mark.filterwarnings("error::UserWarning:highdicom")

LEAST_DICE = 0.97


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """Two phantom series' results, handed on."""
    folder = tmp_path_factory.mktemp("phantom")
    results = phantom_results(folder)
    export_dicom_seg.main(flags(results, folder / "handed"))
    return results, folder / "handed"


@pytest.fixture(scope="module")
def real(real_data, tmp_path_factory):
    """The real series' results, handed on."""
    folder = tmp_path_factory.mktemp("real")
    results = real_results(folder, real_data)
    export_dicom_seg.main(flags(results, folder / "handed"))
    return results, folder / "handed"


def flags(results, out, *more, experiment=EXPERIMENT) -> list:
    """Return the script's flags."""
    named = ["--results", str(results), "--experiment", experiment]
    return [*named, *more, "--out-folder", str(out)]


def segment_image(path, number: int):
    """Return one segment as an image in LPS, read by pydicom and placed by hand.

    Slices lie where PlanePositionSequence says, of all frames of the file.
    """
    seg = pydicom.dcmread(path)
    shared, frames = seg.SharedFunctionalGroupsSequence[0], seg.PerFrameFunctionalGroupsSequence
    orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    orientation = np.array(orientation, float)
    normal = np.cross(orientation[:3], orientation[3:])
    corners = [f.PlanePositionSequence[0].ImagePositionPatient for f in frames]
    heights = np.array(corners, float) @ normal
    own = [
        k
        for k, frame in enumerate(frames)
        if frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number
    ]
    own.sort(key=lambda k: heights[k])
    steps = np.diff(heights[own])
    assert np.ptp(steps) < 1e-3
    image = sitk.GetImageFromArray(np.stack([seg.pixel_array[k] for k in own]).astype(np.uint8))
    rows, columns = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    image.SetSpacing((columns, rows, float(steps.mean())))
    image.SetOrigin(np.array(corners[own[0]], float))
    image.SetDirection(np.column_stack([orientation[:3], orientation[3:], normal]).ravel())
    return image


def dice_in_place(image, handed, nodule_id: str, mask) -> float:
    """Return the Dice of an image with a cube's mask, both at the cube's points in LPS."""
    k = handed.row_of[nodule_id]
    cube = sitk.GetImageFromArray(mask.astype(np.uint8))
    cube.SetOrigin(handed.cubes.origin_lps_mm[k])
    cube.SetDirection(handed.cubes.direction[k])
    nearest = sitk.Resample(image, cube, sitk.Transform(), sitk.sitkNearestNeighbor)
    found = sitk.GetArrayFromImage(nearest) > 0
    return 2 * (found & mask).sum() / (found.sum() + mask.sum())


def check_overlay(results, folder, num_nodules: int):
    """Check that each segment lies on its cube's mask, and on no neighbour's place."""
    handed = Handed(results, EXPERIMENT, fold=0, seed=0, consensus="majority")
    paths = sorted(folder.glob("*/*.seg.dcm"))
    assert len(paths) == num_nodules
    for path in paths:
        nodule_id = path.name.removesuffix(".seg.dcm")
        consensus, prediction = handed.masks(nodule_id)
        for number, mask in ((1, consensus), (2, prediction)):
            image = segment_image(path, number)
            assert dice_in_place(image, handed, nodule_id, mask) > LEAST_DICE
        # The prediction was moved by two voxels: an overlay as wrong as that would be seen.
        assert dice_in_place(segment_image(path, 1), handed, nodule_id, prediction) < 0.93


def check_valid(folder, num_files: int):
    """Check that dciodvfy finds no error."""
    require(shutil.which("dciodvfy") is not None, "dciodvfy (Debian's dicom3tools)")
    paths = sorted(folder.rglob("*.dcm"))
    assert len(paths) == num_files
    for path in paths:
        result = subprocess.run(["dciodvfy", path], capture_output=True, text=True)
        lines = (result.stdout + result.stderr).splitlines()
        kind = "Segmentation" if path.name.endswith("seg.dcm") else "Comprehensive3DSR"
        assert kind in lines
        assert [line for line in lines if line.startswith("Error")] == []


def test_phantom_masks_lie_where_the_cubes_do_turned_or_with_a_gap(phantom):
    check_overlay(*phantom, 2)


def test_the_turned_series_is_turned(phantom):
    path = next((phantom[1] / TURNED).glob("*.seg.dcm"))
    shared = pydicom.dcmread(path).SharedFunctionalGroupsSequence[0]
    orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    assert [float(value) for value in orientation] == [-1, 0, 0, 0, -1, 0]


def test_phantom_files_are_valid_and_marked(phantom):
    check_valid(phantom[1], 4)
    for path in phantom[1].rglob("*.dcm"):
        data = pydicom.dcmread(path)
        assert data.SeriesDescription.startswith("PHANTOM")
        assert data.StudyInstanceUID.startswith("2.25.")
        if "SegmentSequence" in data:
            labels = [segment.SegmentLabel for segment in data.SegmentSequence]
            assert all(label.startswith("PHANTOM") for label in labels)


def test_real_masks_lie_where_the_cube_does_and_are_valid(real):
    check_overlay(*real, 1)
    check_valid(real[1], 2)


def test_the_real_study_and_frame_are_those_of_the_source(real, real_data):
    source = pydicom.dcmread(next((real_data / "lidc-dicom").rglob("*.dcm")))
    seg = pydicom.dcmread(next(real[1].rglob("*.seg.dcm")))
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID"):
        assert seg[keyword].value == source[keyword].value
    referenced = seg.ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == source.SeriesInstanceUID
    uids = {pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID
            for p in (real_data / "lidc-dicom").rglob("*.dcm")}  # fmt: skip
    assert {i.ReferencedSOPInstanceUID for i in referenced.ReferencedInstanceSequence} <= uids
    assert "PHANTOM" not in seg.SeriesDescription


def numbers_of(report) -> dict:
    """Return the report's numbers: tracking identifier and concept to (value, unit)."""
    found = {}
    measured = next(
        item
        for item in report.ContentSequence
        if item.ConceptNameCodeSequence[0].CodeMeaning == "Imaging Measurements"
    )
    for group in measured.ContentSequence:
        identifier = next(
            item.TextValue
            for item in group.ContentSequence
            if item.ConceptNameCodeSequence[0].CodeMeaning == "Tracking Identifier"
        )
        for item in group.ContentSequence:
            if item.ValueType == "NUM":
                value = item.MeasuredValueSequence[0]
                unit = value.MeasurementUnitsCodeSequence[0].CodeValue
                name = item.ConceptNameCodeSequence[0].CodeMeaning
                found[identifier, name] = float(value.NumericValue), unit
    return found


def test_the_report_states_the_volume_of_the_segments_voxels(real):
    report = pydicom.dcmread(next(real[1].rglob("*.sr.dcm")))
    seg_path = next(real[1].rglob("*.seg.dcm"))
    table = read_table(real[1] / "masks.csv", "handed_masks").set_index("subject")
    numbers = numbers_of(report)
    assert len(numbers) == 4
    nodule_id = seg_path.name.removesuffix(".seg.dcm")
    for number, (subject, row) in enumerate(table.iterrows(), 1):
        image = segment_image(seg_path, number)
        counted = sitk.GetArrayFromImage(image).sum() * np.prod(image.GetSpacing())
        value, unit = numbers[f"{nodule_id} {subject}", "Volume"]
        assert unit == "mm3"
        assert value == pytest.approx(counted, rel=1e-4)
        # The cube's volume to half a voxel of the series: the mask's volume is kept.
        assert abs(value - row["volume_cube_mm3"]) <= 0.51 * np.prod(image.GetSpacing())
        length, unit = numbers[f"{nodule_id} {subject}", "Long Axis"]
        assert unit == "mm"
        assert 20 < length < 60


def test_an_empty_prediction_is_counted_and_has_no_segment(phantom, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(phantom[0], results)
    predict(results, open_shards(results / "extract_cubes" / "shard00.h5"), 0.1, "nothing")
    out = tmp_path / "out"
    export_dicom_seg.main(flags(results, out, "--nodules", UNEVEN, experiment="nothing"))
    table = pd.read_csv(out / "masks.csv")
    assert list(table["num_voxels"] > 0) == [True, False]
    seg = pydicom.dcmread(next(out.rglob("*.seg.dcm")))
    assert len(seg.SegmentSequence) == 1
    assert len(numbers_of(pydicom.dcmread(next(out.rglob("*.sr.dcm"))))) == 2


def no_headers(results):
    """Leave the headers out, as for volumes."""
    path = results / "check_series" / "shard00.headers.parquet"
    table = pd.read_parquet(path)
    table.iloc[:0].to_parquet(path)


def nan_predictions(results):
    """Write a probability that is no number."""
    with h5py.File(results / "predict_cubes" / EXPERIMENT / "fold0_seed0.h5", "r+") as file:
        file["probability"][0, 0, 0, 0, 0] = np.nan


def other_cohort(results):
    """Name a nodule that no shard holds."""
    with h5py.File(results / "predict_cubes" / EXPERIMENT / "fold0_seed0.h5", "r+") as file:
        file["nodule_id"][0] = "00000000-00000000"


def no_cubes(results):
    """Remove the cubes."""
    (results / "extract_cubes" / "shard00.h5").unlink()


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        (no_headers, "no header of the series 2.25."),
        (nan_predictions, "holds what is no probability for the nodule"),
        (other_cohort, "predictions of the nodule 00000000-00000000, which the shards don't hold"),
        (no_cubes, "holds no shardNN.h5"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(phantom, tmp_path, change, phrase):
    results = tmp_path / "results"
    shutil.copytree(phantom[0], results)
    change(results)
    with pytest.raises(InputError) as error:
        export_dicom_seg.main(flags(results, tmp_path / "out"))
    assert phrase in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_missing_experiment_or_nodule_is_named(phantom, tmp_path):
    with pytest.raises(InputError, match="holds no experiment 'unet3d'; expected one of"):
        export_dicom_seg.main(flags(phantom[0], tmp_path / "out", experiment="unet3d"))
    with pytest.raises(InputError, match="holds no nodule or patient 7"):
        export_dicom_seg.main(flags(phantom[0], tmp_path / "out", "--nodules", "7"))


def test_a_missing_package_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"highdicom is not installed.*run: make env-export"):
        export_dicom_seg.main(flags(tmp_path, tmp_path / "out"))
