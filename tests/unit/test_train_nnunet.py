"""train_nnunet: cubes become nnU-Net's data set, its probabilities become predictions of ours."""

import json
import stat
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from model_factory import make_cohort
from needs import ROOT
from train_nnunet import cut_crops, main, name_of

from quorum.errors import InputError
from quorum.nnunet_data import label_map, run_job, write_dataset
from quorum.predictions import open_predictions
from quorum.shards import open_shards

CROP = (16, 32, 32)
# Does what nnunet_job.py would: an answer that says where the image is bright.
STAND_IN = """#!{python}
import json, sys
import numpy as np
job = json.load(open(sys.argv[2]))
image = np.load(job["crops"])["image"]
np.savez(job["answer"], probability=(image > -400).astype(np.float16), num_parameters=7)
open({seen!r}, "w").write(json.dumps(job))
"""
OWN_PYTHON = ROOT / ".venv-nnunet" / "bin" / "python"


@pytest.fixture
def stand_in(tmp_path):
    """A program in place of nnU-Net's Python, and where it writes the job that it was given."""
    program, seen = tmp_path / "python", tmp_path / "seen.json"
    program.write_text(STAND_IN.format(python=sys.executable, seen=str(seen)))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program, seen


def flags_of(cohort, python, out, *, epochs=1):
    """Return the flags of a run on fold 0."""
    return [
        *("--splits", str(cohort.splits), "--shards", *cohort.shards, "--consensus", "majority"),
        *("--fold", "0", "--num-folds", "5", "--crop-vox", *map(str, CROP)),
        *("--click-offsets-mm", "0", "4", "--seed", "0", "--epochs", str(epochs)),
        *("--iterations-per-epoch", "2", "--python", str(python), "--folder", str(out / "work")),
        *("--out-predictions", str(out / "p.h5"), "--out-record", str(out / "record.json")),
    ]


def test_what_was_not_scanned_has_the_ignore_label():
    mask = np.array([True, True, False, False])
    np.testing.assert_array_equal(label_map(mask, [1, 0, 1, 0]), [1, 2, 0, 2])


def test_the_data_set_holds_images_in_hu_and_labels_on_the_same_grid(tmp_path):
    cubes = open_shards(make_cohort(tmp_path, uncovered_slices=2).shards)
    write_dataset(tmp_path, cubes, [0, 3], "majority")
    folder = next((tmp_path / "raw").iterdir())
    described = json.loads((folder / "dataset.json").read_text())
    assert described["labels"] == {"background": 0, "nodule": 1, "ignore": 2}
    assert described["numTraining"] == len(list((folder / "imagesTr").iterdir())) == 2
    name = str(cubes.nodule_id[3])
    image = sitk.ReadImage(str(folder / "imagesTr" / f"{name}_0000.nii.gz"))
    labels = sitk.ReadImage(str(folder / "labelsTr" / f"{name}.nii.gz"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), cubes.image(3))
    assert image.GetSpacing() == labels.GetSpacing() == (1.0, 1.0, 1.0)
    found = sitk.GetArrayFromImage(labels)
    assert (found[:2] == 2).all()
    assert (found[2:-2] < 2).all()
    assert (found == 1).sum() > 0


def test_its_answer_lies_where_the_click_was(tmp_path, stand_in):
    cohort, (program, seen) = make_cohort(tmp_path), stand_in
    main(flags_of(cohort, program, tmp_path))
    cubes = open_shards(cohort.shards)
    with open_predictions(tmp_path / "p.h5") as found:
        assert found.attrs["experiment"] == "nnunet_small"
        assert found.attrs["data_kind"] == "phantom"
        assert found["probability"].shape == (4, 2, 20, 40, 40)
        for row, name in enumerate(found["nodule_id"].asstr()):
            image = cubes.image(list(cubes.nodule_id).index(name))
            for column in (0, 1):
                z0, y0, x0, z1, y1, x1 = found["inside_crop"][row, column]
                window = (slice(z0, z1), slice(y0, y1), slice(x0, x1))
                bright = found["probability"][row, column][window] > 0
                np.testing.assert_array_equal(bright, image[window] > -400)
                assert bright.any()
    job = json.loads(seen.read_text())
    assert not set(job["split"]["train"]) & set(job["split"]["val"])
    with open_predictions(tmp_path / "p.h5") as found:
        assert not set(found["nodule_id"].asstr()) & set().union(*job["split"].values())
    record = json.loads((tmp_path / "record.json").read_text())
    assert (record["is_small_budget"], record["num_parameters"]) == (True, 7)
    assert not list((tmp_path / "work").iterdir())


def test_only_its_own_schedule_has_its_own_name():
    assert name_of(0) == "nnunet"
    assert name_of(1) == name_of(250) == "nnunet_small"


def test_crops_are_cut_around_each_click(tmp_path):
    cubes = open_shards(make_cohort(tmp_path).shards)
    clicks, starts, crops = cut_crops(cubes, [2], offsets_mm=[0, 6], crop_vox=CROP, seed=0)
    assert crops.shape == (2, *CROP)
    assert np.linalg.norm(clicks[0, 1] - clicks[0, 0]) == pytest.approx(6, abs=0.01)
    z, y, x = starts[0, 1]
    np.testing.assert_array_equal(crops[1], cubes.image(2)[z : z + 16, y : y + 32, x : x + 32])


def test_without_its_environment_or_when_it_fails(tmp_path, stand_in):
    options = {"split": {}, "epochs": 1, "iterations_per_epoch": 1, "threads": 1}
    crops = np.zeros((1, *CROP), np.int16)
    with pytest.raises(InputError, match="make env-nnunet"):
        run_job(tmp_path, tmp_path / "nowhere", crops, options)
    program, _ = stand_in
    program.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(InputError, match="ended with 3"):
        run_job(tmp_path, program, crops, options)


@pytest.mark.slow
@pytest.mark.skipif(not OWN_PYTHON.is_file(), reason="make env-nnunet was not run")
def test_nnunet_itself_trains_and_predicts(tmp_path):
    cohort = make_cohort(tmp_path)
    main(flags_of(cohort, OWN_PYTHON, tmp_path))
    with open_predictions(tmp_path / "p.h5") as found:
        share = found["probability"][:]
    assert 0 < share.max() <= 1
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["num_parameters"] > 1e5
