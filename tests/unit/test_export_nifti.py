"""NIfTI: masks on the series' grid and the cube's, where the cube's mask lies."""

import export_nifti
import h5py
import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from export_inputs import EXPERIMENT, TURNED, UNEVEN, phantom_results, real_results

from quorum.errors import InputError
from quorum.handed_masks import Handed
from quorum.tables import read_table

LEAST_DICE = 0.97


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """Two phantom series' results."""
    return phantom_results(tmp_path_factory.mktemp("phantom"))


def export(results, out, *more):
    """Run the script."""
    flags = ["--results", str(results), "--experiment", EXPERIMENT, *more]
    export_nifti.main([*flags, "--out-folder", str(out)])
    return Handed(results, EXPERIMENT, fold=0, seed=0, consensus="majority")


def check_overlay(handed, out, nodule_id: str):
    """Check that both masks lie on the cube's, at the cube's points in LPS."""
    k = handed.row_of[nodule_id]
    for what, mask in zip(("consensus", "prediction"), handed.masks(nodule_id), strict=True):
        image = sitk.ReadImage(str(next(out.glob(f"*/{nodule_id}.{what}.nii.gz"))))
        cube = sitk.GetImageFromArray(mask.astype(np.uint8))
        cube.SetOrigin(handed.cubes.origin_lps_mm[k])
        nearest = sitk.Resample(image, cube, sitk.Transform(), sitk.sitkNearestNeighbor)
        found = sitk.GetArrayFromImage(nearest) > 0
        assert 2 * (found & mask).sum() / (found.sum() + mask.sum()) > LEAST_DICE


def test_a_turned_series_has_its_own_grid(phantom, tmp_path):
    handed = export(phantom, tmp_path / "out", "--nodules", TURNED)
    check_overlay(handed, tmp_path / "out", handed.chosen([TURNED])[0])
    path = str(next((tmp_path / "out").rglob("*.consensus.nii.gz")))
    image = sitk.ReadImage(path)
    assert image.GetSize()[:2] == (512, 512)
    assert image.GetDirection() == (-1, 0, 0, 0, -1, 0, 0, 0, 1)
    assert bytes(nibabel.load(path).header["descrip"]).startswith(b"PHANTOM consensus")
    rows = read_table(tmp_path / "out" / "masks.csv", "handed_masks")
    voxels = sitk.GetArrayFromImage(image).sum()
    assert rows["num_voxels"].iloc[0] == voxels


def test_real_masks_lie_where_the_cube_does(real_data, tmp_path):
    results = real_results(tmp_path, real_data)
    handed = export(results, tmp_path / "out")
    check_overlay(handed, tmp_path / "out", handed.nodules[0])


def test_uneven_slices_are_refused_and_fit_on_the_cubes_grid(phantom, tmp_path):
    with pytest.raises(InputError, match=r"lie 2.000 to 6.000 mm apart.*pass --grid cube"):
        export(phantom, tmp_path / "out", "--nodules", UNEVEN)
    assert not (tmp_path / "out").exists()
    handed = export(phantom, tmp_path / "out", "--nodules", UNEVEN, "--grid", "cube")
    nodule_id = handed.chosen([UNEVEN])[0]
    files = {path.name.split(".")[1] for path in (tmp_path / "out" / UNEVEN).iterdir()}
    assert files == {"consensus", "prediction", "probability", "image"}
    k = handed.row_of[nodule_id]
    stored = [handed.masks(nodule_id)[1], handed.cubes.image(k)]
    for what, array in zip(("prediction", "image"), stored, strict=True):
        path = tmp_path / "out" / UNEVEN / f"{nodule_id}.{what}.nii.gz"
        image = sitk.ReadImage(str(path))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), array)
        np.testing.assert_allclose(image.GetOrigin(), handed.cubes.origin_lps_mm[k], atol=1e-4)


def test_a_missing_run_is_named(phantom, tmp_path):
    with pytest.raises(InputError, match=r"there are \['fold0_seed0.h5'\]"):
        export(phantom, tmp_path / "out", "--fold", "1")


def test_an_ensembles_answer_goes_out_as_a_runs_does(tmp_path):
    results = phantom_results(tmp_path)
    folder = results / "predict_cubes" / EXPERIMENT
    with pytest.raises(InputError, match=r"ensemble\.h5 doesn't exist.*opens_test_part"):
        export(results, tmp_path / "none", "--ensemble")
    (folder / "fold0_seed0.h5").rename(folder / "ensemble.h5")
    with h5py.File(folder / "ensemble.h5", "a") as file:
        file.attrs.update(fold=-1, seed=-1, num_members=3)
    out = tmp_path / "out"
    export_nifti.main([
        "--results", str(results), "--experiment", EXPERIMENT, "--ensemble",
        "--nodules", TURNED, "--out-folder", str(out),
    ])  # fmt: skip
    handed = Handed(results, EXPERIMENT, fold=-1, seed=0, consensus="majority")
    check_overlay(handed, out, handed.chosen([TURNED])[0])
    subjects = set(read_table(out / "masks.csv", "handed_masks")["subject"])
    assert f"PHANTOM {EXPERIMENT}, 3 runs together" in subjects
