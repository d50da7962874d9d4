"""A model on any series: what predict_cubes gives on the same crop, in place, whatever the file."""

import json

import h5py
import numpy as np
import predict_cubes
import predict_series
import pytest
import score_series
import SimpleITK as sitk
import torch
import train_model
from dicom_factory import edit, write_series
from model_factory import make_cohort

from quorum.errors import InputError
from quorum.models import read_model
from quorum.other_series import open_series
from quorum.scoring import reference_masks
from quorum.shards import open_shards
from quorum.surface_metrics import dice
from quorum.tables import read_table

CROP = (16, 32, 32)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny network of real images' kind, its predictions, and the first nodule's cube."""
    folder = tmp_path_factory.mktemp("series")
    cohort = make_cohort(folder, data_kind="scan")
    plan, out = cohort.plan("tiny"), folder / "run"
    train_model.main(cohort.train_flags(plan, out))
    flags = cohort.predict_flags(plan, out, offsets=(0,))
    flags[flags.index("--flips") + 1] = "False"
    predict_cubes.main(flags)
    return cohort, out


@pytest.fixture(scope="module")
def nodule(run):
    """One predicted nodule: its cube, click (whole voxels) and probability."""
    cohort, out = run
    cubes = open_shards(cohort.shards)
    with h5py.File(out / "predictions.h5") as file:
        row = 0
        name = file["nodule_id"].asstr()[row]
        click, share = file["click_zyx_vox"][row, 0], file["probability"][row, 0]
        box = file["inside_crop"][row, 0]
    index = list(cubes.nodule_id).index(name)
    return cubes, index, np.floor(click + 0.5).astype(int), share, box


def write_cube(path, cubes, index, flips=(1, 1, 1)):
    """Write a cube's image as a volume, its axes reversed where told; return the path."""
    origin, spacing = np.array(cubes.origin_lps_mm[index], float), cubes.spacing_mm
    array = cubes.image(index)[:: flips[0], :: flips[1], :: flips[2]]
    sides = np.array(array.shape[::-1]) - 1
    signs = np.array(flips[::-1])
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing((spacing,) * 3)
    image.SetOrigin(np.where(signs < 0, origin + sides * spacing, origin))
    image.SetDirection(np.diag(signs).astype(float).ravel())
    sitk.WriteImage(image, str(path))
    return path


def point_of(cubes, index, zyx) -> list:
    """Return the LPS place of a voxel, as words."""
    place = cubes.origin_lps_mm[index] + np.array(zyx[::-1]) * cubes.spacing_mm
    return [str(v) for v in place]


def predict(run, image, out, *words):
    """Run the script without flips; return the table of what it found."""
    predict_series.main([
        "--model", str(run[1] / "model.pt"), "--image", str(image), "--no-flips",
        "--out-folder", str(out), *words,
    ])  # fmt: skip
    return read_table(out / "found.csv", "found_nodules")


def volume(path):
    """Return a written volume's array and image."""
    image = sitk.ReadImage(str(path))
    return sitk.GetArrayFromImage(image), image


@pytest.mark.parametrize("flips", [(1, 1, 1), (1, -1, -1), (-1, 1, 1)])
def test_a_point_gives_what_predict_cubes_gives_on_the_same_crop(run, nodule, tmp_path, flips):
    cubes, index, click, share, box = nodule
    path = write_cube(tmp_path / "scan.nii.gz", cubes, index, flips)
    found = predict(run, path, tmp_path / "out", "--point-lps-mm", *point_of(cubes, index, click))
    ours, image = volume(tmp_path / "out" / "point1.probability.nii.gz")
    assert ours.shape == CROP
    window = tuple(slice(a, b) for a, b in zip(box[:3], box[3:], strict=True))
    assert np.array_equal(box[:3], click - np.array(CROP) // 2)
    # Stored as float16, and what is below 0.001 as 0.
    assert np.abs(ours - share[window].astype(np.float32)).max() < 2e-3
    hu, _ = volume(tmp_path / "out" / "point1.image.nii.gz")
    assert np.array_equal(hu, cubes.image(index)[window])
    corner = [float(v) for v in point_of(cubes, index, box[:3])]
    assert np.allclose(image.GetOrigin(), corner, atol=1e-4)
    assert set(found["data_kind"]) <= {"scan"}


def test_a_whole_scan_is_covered_voxel_by_voxel(run, nodule, tmp_path):
    cubes, index, *_ = nodule
    path = write_cube(tmp_path / "scan.nrrd", cubes, index)
    found = predict(run, path, tmp_path / "out", "--whole-scan")
    hu, image = volume(tmp_path / "out" / "scan.image.nii.gz")
    assert np.array_equal(hu, cubes.image(index))
    assert np.allclose(image.GetOrigin(), cubes.origin_lps_mm[index], atol=1e-4)
    share, _ = volume(tmp_path / "out" / "scan.probability.nii.gz")
    assert share.shape == cubes.shape_vox
    assert 0 <= share.min() < share.max() <= 1
    mask, _ = volume(tmp_path / "out" / "scan.mask.nii.gz")
    assert found["volume_mm3"].sum() == mask.sum()
    assert found["volume_mm3"].is_monotonic_decreasing
    made_by = json.loads((tmp_path / "out" / "found.csv-metadata.json").read_text())["made_by"]
    assert made_by["script"] == "predict_series"


def test_a_boxs_answer_stays_inside_the_box(run, nodule, tmp_path):
    cubes, index, *_ = nodule
    path = write_cube(tmp_path / "scan.nii.gz", cubes, index)
    low = cubes.origin_lps_mm[index] + np.array([10, 12, 4])
    high = low + np.array([20, 8, 6])
    words = [str(v) for v in (*low, *high)]
    predict(run, path, tmp_path / "out", "--box-lps-mm", *words)
    share, image = volume(tmp_path / "out" / "box1.probability.nii.gz")
    assert share.shape == CROP
    where = np.argwhere(share > 0)
    assert len(where)
    for zyx in (where.min(0), where.max(0)):
        lps = np.array(image.TransformIndexToPhysicalPoint([int(v) for v in zyx[::-1]]))
        assert (lps > low - 0.51).all()
        assert (lps < high + 0.51).all()


def test_dicom_slices_are_read_in_any_order_with_their_rescale(run, tmp_path):
    folder = tmp_path / "series"
    write_series(folder / "deep", [2.5 * k for k in range(9)])
    (folder / "notes.txt").write_text("no image")
    scan, about = open_series(folder)
    assert about["data_kind"] == "scan"
    assert about["decision"] == "accepted"
    assert scan.raster.geometry.shape[0] == 9
    assert len(scan.rows) == 9
    place = scan.raster.geometry.index_to_lps((4, 3, 3))
    found = predict(run, folder, tmp_path / "out", "--point-lps-mm", *[str(v) for v in place])
    assert (tmp_path / "out" / "point1.mask.nii.gz").is_file()
    assert set(found["region"]) <= {"point1"}


def bad_words(name: str, folder, cubes, index):
    """Return the flags of one mistake."""
    path = write_cube(folder / "scan.nii.gz", cubes, index)
    far = ["--point-lps-mm", "900", "0", "0"]
    here = ["--point-lps-mm", *point_of(cubes, index, (10, 20, 20))]
    write_series(folder / "one", [0.0, 1.0, 2.0])
    write_series(folder / "two", [0.0, 1.0, 2.0])
    write_series(folder / "two" / "other", [0.0, 1.0, 2.0], SeriesInstanceUID="1.2.3.4")
    for number, path2 in enumerate(sorted((folder / "two" / "other").glob("*.dcm"))):
        edit(path2, SOPInstanceUID=f"1.2.3.4.{number + 1}")
    write_series(folder / "tilted", [0.0, 1.0, 2.0],
                 ImageOrientationPatient=[1, 0, 0, 0, 0, -1])  # fmt: skip
    (folder / "empty").mkdir()
    (folder / "short.nii.gz").write_bytes(path.read_bytes()[:500])
    return {
        "outside": [path, *far],
        "no number": [path, "--point-lps-mm", "nan", "0", "0"],
        "no place": [path],
        "empty box": [path, "--box-lps-mm", "1", "0", "0", "0", "1", "1"],
        "no folder": [folder / "missing", *here],
        "no slice": [folder / "empty", *here],
        "two series": [folder / "two", *here],
        "unknown series": [folder / "one", "--series-uid", "9.9", *here],
        "not axial": [folder / "tilted", *here],
        "cut short": [folder / "short.nii.gz", *here],
        "overlap": [path, *here, "--overlap", "1"],
    }[name]


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("outside", "outside of the scan"),
        ("no number", "outside of the scan"),
        ("no place", "no place was named"),
        ("empty box", "is empty"),
        ("no folder", "no folder and no volume"),
        ("no slice", "holds no CT slice"),
        ("two series", "holds 2 series"),
        ("unknown series", "holds no series 9.9"),
        ("not axial", "can't be used"),
        ("cut short", "can't be used"),
        ("overlap", "overlap"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(run, nodule, tmp_path, name, phrase):
    cubes, index, *_ = nodule
    image, *words = bad_words(name, tmp_path, cubes, index)
    with pytest.raises(InputError, match=phrase):
        predict(run, image, tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


def changed_model(run, path, **changes):
    """Write the model with some of its settings or fields changed."""
    model = read_model(run[1] / "model.pt")
    settings = {**model["settings"], **changes.pop("settings", {})}
    torch.save({**model, "settings": settings, **changes}, path)
    return path


@pytest.mark.parametrize(
    ("changes", "phrase"),
    [
        ({"data_kind": "phantom"}, "phantom"),
        ({"settings": {"method": "threshold"}}, "is a baseline"),
        ({"settings": {"inputs": "position"}}, "sees position"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(run, nodule, tmp_path, changes, phrase):
    cubes, index, *_ = nodule
    path = write_cube(tmp_path / "scan.nii.gz", cubes, index)
    folder = tmp_path / "run"
    folder.mkdir()
    changed_model(run, folder / "model.pt", **changes)
    with pytest.raises(InputError, match=phrase):
        predict((None, folder), path, tmp_path / "out", "--whole-scan")


def test_a_real_series_is_read_and_predicted_in_place(run, real_data, tmp_path):
    """LIDC-IDRI-0001: GE, 133 slices 2.5 mm apart, its nodule in the left lower lobe."""
    folder = real_data / "lidc-dicom"
    scan, about = open_series(folder)
    assert about["decision"] == "accepted"
    assert scan.raster.geometry.shape == (133, 512, 512)
    assert scan.raster.geometry.spacing_mm == pytest.approx((2.5, 0.703125, 0.703125))
    point = (57.945, 85.292, -115.0)
    words = ["--point-lps-mm", *map(str, point)]
    predict(run, folder, tmp_path / "out", *words)
    hu, image = volume(tmp_path / "out" / "point1.image.nii.gz")
    x, y, z = image.TransformPhysicalPointToIndex(point)
    assert (z, y, x) == tuple(side // 2 for side in CROP)
    # Soft tissue at the nodule's middle, lung somewhere in the crop.
    assert -100 < hu[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2].mean() < 150
    assert np.percentile(hu, 2) < -700


def test_an_answer_is_scored_against_the_users_own_masks(run, nodule, tmp_path):
    cubes, index, click, *_ = nodule
    path = write_cube(tmp_path / "scan.nii.gz", cubes, index)
    predict(run, path, tmp_path / "out", "--point-lps-mm", *point_of(cubes, index, click))
    (row,) = read_table(tmp_path / "out" / "regions.csv", "predicted_regions").to_dict("records")
    assert row["point_lps_mm"] == pytest.approx([float(v) for v in point_of(cubes, index, click)])
    readers, masks = cubes.readers(index), []
    for k in range(int(cubes.num_readers[index])):
        image = sitk.ReadImage(str(path))
        mask = sitk.GetImageFromArray(readers >> k & 1)
        mask.CopyInformation(image)
        masks.append(str(tmp_path / f"reader{k + 1}.nii.gz"))
        sitk.WriteImage(mask, masks[-1])
    score_series.main([
        "--predictions", str(tmp_path / "out"), "--masks", *masks,
        "--out-scores", str(tmp_path / "scores.csv"),
    ])  # fmt: skip
    table = read_table(tmp_path / "scores.csv", "external_scores")
    answer = volume(tmp_path / "out" / "point1.mask.nii.gz")[0] > 0
    window = tuple(slice(c - s // 2, c - s // 2 + s) for c, s in zip(click, CROP, strict=True))
    reference = reference_masks(readers[window], len(masks))["consensus"]
    ours = table[(table["subject"] == "model") & (table["reference"] == "consensus")]
    assert ours["dice"].tolist() == pytest.approx([dice(answer, reference)])
    assert set(table["experiment"]) == {"tiny"}
