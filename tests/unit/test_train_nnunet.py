"""train_nnunet: cubes, or their fields as scanned, become nnU-Net's; its answer becomes ours."""

import json
import stat
import subprocess
import sys
import time
from pathlib import Path

import extract_cubes
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from cut_out_factory import UID, block, make_inputs
from model_factory import make_cohort
from needs import ROOT
from train_nnunet import cut_crops, main, name_of

from quorum.errors import InputError
from quorum.geometry import Axis, Geometry
from quorum.nnunet_data import label_map, write_dataset
from quorum.nnunet_inputs import CubeInputs, Picture, open_inputs, to_grid
from quorum.predictions import open_predictions
from quorum.settings import check_native
from quorum.shards import open_shards
from quorum.tables import read_table, write_table

CROP = (16, 32, 32)
# Does what nnunet_job.py would: an answer that says where the image is bright.
STAND_IN = """#!{python}
import json, sys
import numpy as np
if sys.argv[1] == "-c":
    sys.exit(0)
job = json.load(open(sys.argv[2]))
images = np.load(job["crops"])
found = [(images[name] > -400).astype(np.float16) for name in images.files]
np.savez(job["answer"], *found, notes=json.dumps({{"num_parameters": 7}}))
open({seen!r}, "w").write(json.dumps(job))
"""
# A checkpoint is being written when the job is killed.
TORN = """
import sys
from pathlib import Path
import nnunet_job
def tear(self, filename):
    Path(filename).write_text("half")
    raise SystemExit(7)
nnunet_job.nnUNetTrainer.save_checkpoint = tear
nnunet_job.Trainer.save_checkpoint(nnunet_job.Trainer.__new__(nnunet_job.Trainer), sys.argv[1])
"""
# A checkpoint that runs a program when it is read.
EVIL = """
import os, sys, torch
from pathlib import Path
import nnunet_job
class Evil:
    def __reduce__(self):
        return os.mkdir, (sys.argv[2],)
torch.save({"current_epoch": Evil()}, sys.argv[1])
nnunet_job.refuse_code(Path(sys.argv[1]))
"""
TABLES = (("slices", "series_slices"), ("nodules", "nodules"))
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
        *(
            "--click-offsets-mm",
            "0",
            "4",
            "--flips",
            "False",
            "--seed",
            "0",
            "--epochs",
            str(epochs),
        ),
        *(
            "--iterations-per-epoch",
            "2",
            "--batch-size",
            "3",
            "--python",
            str(python),
            "--folder",
            str(out / "work"),
        ),
        *("--out-predictions", str(out / "p.h5"), "--out-record", str(out / "record.json")),
    ]


def test_what_was_not_scanned_has_the_ignore_label():
    mask = np.array([True, True, False, False])
    np.testing.assert_array_equal(label_map(mask, [1, 0, 1, 0]), [1, 2, 0, 2])


def test_the_data_set_holds_images_in_hu_and_labels_on_the_same_grid(tmp_path):
    cubes = open_shards(make_cohort(tmp_path, uncovered_slices=2).shards)
    write_dataset(tmp_path, CubeInputs(cubes, "majority"), [0, 3])
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
    assert (job["epochs"], job["iterations_per_epoch"], job["batch_size"]) == (1, 2, 3)
    assert job["mirrors"] is False
    with open_predictions(tmp_path / "p.h5") as found:
        assert not set(found["nodule_id"].asstr()) & set().union(*job["split"].values())
    record = json.loads((tmp_path / "record.json").read_text())
    assert (record["is_small_budget"], record["num_parameters"]) == (True, 7)
    assert not list((tmp_path / "work").iterdir())


def test_a_name_tells_inputs_and_small_budget():
    assert name_of(0, "cubes") == "nnunet"
    assert name_of(1, "cubes") == name_of(250, "cubes") == "nnunet_small"
    assert name_of(0, "native") == "nnunet_native"
    assert name_of(5, "native") == "nnunet_native_small"


def test_crops_are_cut_around_each_click(tmp_path):
    cubes = open_shards(make_cohort(tmp_path).shards)
    inputs, options = CubeInputs(cubes, "majority"), {"offsets_mm": [0, 6], "crop_vox": CROP}
    clicks, starts, _, pictures = cut_crops(inputs, [2], **options, seed=0)
    assert [picture.hu.shape for picture in pictures] == [CROP, CROP]
    assert np.linalg.norm(clicks[0, 1] - clicks[0, 0]) == pytest.approx(6, abs=0.01)
    z, y, x = starts[0, 1]
    window = cubes.image(2)[z : z + 16, y : y + 32, x : x + 32]
    np.testing.assert_array_equal(pictures[1].hu, window)


def native_cohort(folder, direction=(1, 1), shape_vox=(40, 80, 80)):
    """Write cut-outs of one bright block, outlined, of three patients; return train_nnunet's flags.

    The first nodule's cut-out, slices of 2 mm and pixels of 0.5 mm, holds a block of 7 slices,
    15 rows and 11 columns of 50 HU in -800 HU.
    """
    inside = np.zeros((24, 90, 100), bool)
    inside[9:16, 33:48, 45:56] = True
    annotations = {str(k): (UID, block()) for k in range(1, 5)}
    hu = np.where(inside, 50, -800)
    flags = make_inputs(folder, direction=direction, hu=hu, annotations=annotations)
    one = read_table(flags["--plan"], "nodules")
    plan = pd.concat([one.assign(nodule_id=f"n{k}", patient_id=f"P{k}") for k in (1, 2, 3)])
    write_table(plan, flags["--plan"], "nodules", {})
    words = [str(part) for pair in flags.items() for part in pair]
    extract_cubes.main([*words, "--shape-vox", *map(str, shape_vox)])
    splits = pd.DataFrame({"patient_id": ["P1", "P2", "P3"], "part": ["fold0", "fold1", "fold2"]})
    splits.assign(num_nodules=1).to_csv(folder / "splits.csv", index=False)
    return {
        "--splits": folder / "splits.csv",
        "--shards": flags["--out-shard"],
        "--inputs": "native",
        "--nodules": flags["--plan"],
        "--slices": flags["--slices"],
        "--contours": flags["--contours"],
        "--root": folder,
        "--consensus": "majority",
        "--fold": 0,
        "--num-folds": 3,
        "--click-offsets-mm": 0,
        "--flips": True,
        "--seed": 0,
        "--epochs": 1,
        "--iterations-per-epoch": 2,
        "--folder": folder / "work",
        "--out-predictions": folder / "p.h5",
        "--out-record": folder / "record.json",
    }


def run(flags, python):
    """Run the script with a program in place of nnU-Net's Python."""
    words = [str(part) for pair in flags.items() for part in pair]
    main([*words, "--python", str(python), "--crop-vox", *map(str, CROP)])


def inputs_of(flags, consensus="majority"):
    """Return the native inputs that these flags name."""
    names = ("nodules", "slices", "contours")
    tables = {name: flags[f"--{name}"] for name in names}
    tables["slices"] = [tables["slices"]]
    cubes = open_shards([flags["--shards"]])
    return open_inputs("native", cubes, consensus, root=str(flags["--root"]), **tables)


@pytest.mark.parametrize("direction", [(1, 1), (-1, 1), (-1, -1)])
@pytest.mark.parametrize("consensus", ["majority", "staple", "1.0"])
def test_native_inputs_are_the_series_own_voxels(tmp_path, direction, consensus):
    inputs = inputs_of(native_cohort(tmp_path, direction), consensus)
    picture, mask, coverage = inputs.example(0)
    assert picture.geometry.spacing_mm == (2.0, 0.5, 0.5)
    assert picture.hu.shape == picture.geometry.shape == mask.shape
    # Slices at both faces of the cube of 40 mm belong to it; the cut-out is smaller in the plane.
    assert mask.shape[0] == 21
    assert np.count_nonzero(coverage) == 21 * 90 * 100
    np.testing.assert_array_equal(np.unique(picture.hu), [-800, 50])
    np.testing.assert_array_equal(picture.hu == 50, mask)
    assert mask.sum() == 7 * 15 * 11
    np.testing.assert_array_equal(label_map(mask, coverage) == 2, coverage == 0)


def test_what_native_inputs_answer_lies_on_the_cubes_grid(tmp_path, stand_in):
    flags, (program, seen) = native_cohort(tmp_path), stand_in
    run(flags, program)
    job = json.loads(seen.read_text())
    assert job["spacings_mm"] == [[2.0, 0.5, 0.5]]
    assert job["mirrors"] is True
    assert job["split"] == {"train": ["n3"], "val": ["n2"]}
    with open_predictions(tmp_path / "p.h5") as found:
        assert found.attrs["experiment"] == "nnunet_native_small"
        assert found["nodule_id"].asstr()[:].tolist() == ["n1"]
        answer = found["probability"][0, 0] >= 0.5
    wanted = open_shards([flags["--shards"]]).readers(0) > 0
    assert 2 * (answer & wanted).sum() / (answer.sum() + wanted.sum()) > 0.9
    record = json.loads((tmp_path / "record.json").read_text())
    assert (record["inputs"], record["data_kind"]) == ("native", "cut_out")
    assert (record["flips"], record["is_small_budget"]) == (True, True)


def test_a_probability_is_resampled_linearly_to_its_place():
    slices = (Axis.regular(9, 2.5), Axis.regular(40, 0.5), Axis.regular(40, 0.5))
    native = Geometry(slices, np.zeros(3), np.eye(3))
    places = [axis.centers_mm for axis in slices]
    share = (places[0][:, None, None] + places[1][:, None] + places[2]) / 100
    wanted = tuple(Axis.regular(8, 1.0) for _ in range(3))
    grid = Geometry(wanted, np.array([4.0, 3.0, 6.0]), np.eye(3))
    z, y, x = np.indices((8, 8, 8))
    np.testing.assert_allclose(to_grid(share, native, grid), (z + 6 + y + 3 + x + 4) / 100)


def test_a_crop_thinner_than_a_slice_still_holds_one():
    axes = (Axis.regular(5, 10.0), Axis.regular(9, 1.0), Axis.regular(9, 1.0))
    picture = Picture(np.zeros((5, 9, 9), np.int16), Geometry(axes, np.zeros(3), np.eye(3)))
    small = tuple(Axis.regular(4, 1.0) for _ in range(3))
    found = picture.cut(Geometry(small, np.array([2.0, 2.0, 13.0]), np.eye(3)))
    assert found.hu.shape == (1, 4, 4)
    assert found.geometry.axes[0].centers_mm.tolist() == [10.0]


def test_native_inputs_without_tables_or_images_end_in_a_sentence(tmp_path, stand_in):
    flags, (program, _) = native_cohort(tmp_path), stand_in
    without = {k: v for k, v in flags.items() if k not in ("--slices", "--contours")}
    with pytest.raises(InputError, match="without --slices and --contours"):
        run(without, program)
    slices, nodules = (read_table(flags[f"--{n}"], t) for n, t in TABLES)
    write_table(slices.iloc[:0], flags["--slices"], "series_slices", {})
    with pytest.raises(InputError, match=r"n3 has no native images .*inputs: \[cubes\]"):
        run(flags, program)
    write_table(slices, flags["--slices"], "series_slices", {})
    (tmp_path / slices["path"].iloc[0]).unlink()
    with pytest.raises(InputError, match="can't be read"):
        run(flags, program)
    write_table(nodules.iloc[:2], flags["--nodules"], "nodules", {})
    with pytest.raises(InputError, match="lacks the nodule n3"):
        run(flags, program)


@pytest.mark.parametrize(
    ("source", "schedules", "is_refused"),
    [
        ({"kind": "phantom", "keep_dicom": False}, ["small"], True),
        ({"kind": "idc", "keep_dicom": False}, ["own"], True),
        ({"kind": "idc", "keep_dicom": True}, ["own"], False),
        ({"kind": "local", "keep_dicom": False}, ["small"], False),
        ({"kind": "idc", "keep_dicom": False}, [], False),
    ],
)
def test_native_inputs_need_images_that_stay(source, schedules, is_refused):
    block = {"schedules": schedules, "inputs": ["cubes", "native"]}
    config = {"source": source, "train_nnunet": block}
    if is_refused:
        with pytest.raises(InputError, match="keep_dicom: true"):
            check_native(config)
    else:
        check_native(config)


def test_without_its_environment_nothing_is_begun(tmp_path):
    cohort = make_cohort(tmp_path)
    with pytest.raises(InputError, match="make env-nnunet"):
        main(flags_of(cohort, tmp_path / "nowhere", tmp_path))
    with pytest.raises(InputError, match="has no nnU-Net"):
        main(flags_of(cohort, sys.executable, tmp_path))
    assert not (tmp_path / "work").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own way to end a child")
def test_nnunet_ends_with_the_job_that_started_it(tmp_path, stand_in):
    cohort, (program, seen) = make_cohort(tmp_path), stand_in
    program.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exit 0\necho $$ > {seen}\nexec sleep 100\n')
    words = [sys.executable, ROOT / "scripts" / "train_nnunet.py"]
    job = subprocess.Popen([*words, *flags_of(cohort, program, tmp_path)])
    try:
        wait_until(lambda: seen.is_file() and seen.read_text().endswith("\n"))
    finally:
        job.kill()
        job.wait(timeout=60)
    wait_until(lambda: has_ended(seen.read_text().strip()))


def has_ended(process_id: str) -> bool:
    """Tell whether a process is gone, or waits only for somebody to take note of its end."""
    try:
        return "\tZ" in Path("/proc", process_id, "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(is_so, limit_s: float = 60):
    """Wait until something is so; the limit is far more than it takes."""
    deadline_s = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < deadline_s
        time.sleep(0.1)


def test_when_it_fails_nothing_is_written(tmp_path, stand_in):
    cohort, (program, _) = make_cohort(tmp_path), stand_in
    program.write_text('#!/bin/sh\n[ "$1" = -c ] && exit 0\nexit 3\n')
    with pytest.raises(InputError, match="ended with 3"):
        main(flags_of(cohort, program, tmp_path))
    assert not (tmp_path / "p.h5").exists()
    assert not (tmp_path / "record.json").exists()


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
    assert min(record["patch_vox"]) > 1
    assert record["batch_size"] == 3
    assert record["spacing_mm"] == [1.0, 1.0, 1.0]


def killed_once(words, log: Path, is_time) -> str:
    """Start a job, kill it when it is time; return what it had said."""
    with log.open("w") as stream:
        job = subprocess.Popen(words, stdout=stream, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: job.poll() is not None or is_time(), limit_s=600)
    finally:
        job.kill()
        job.wait(timeout=60)
    return log.read_text()


@pytest.mark.slow
@pytest.mark.skipif(not OWN_PYTHON.is_file(), reason="make env-nnunet was not run")
def test_nnunet_itself_goes_on_where_it_was_killed(tmp_path):
    flags = flags_of(make_cohort(tmp_path), OWN_PYTHON, tmp_path, epochs=3)
    words = [sys.executable, ROOT / "scripts" / "train_nnunet.py", *flags]
    log = tmp_path / "log.txt"
    first = killed_once(words, log, lambda: any((tmp_path / "work").rglob("checkpoint_latest.pth")))
    assert "Epoch 0" in first
    assert "Epoch 2" not in first
    second = killed_once(words, log, lambda: "crops: 1 of" in log.read_text())
    assert "Epoch 0" not in second
    assert "Epoch 2" in second
    assert "crops: 1 of" in second
    assert not (tmp_path / "p.h5").exists()
    third = subprocess.run(words, capture_output=True, text=True)
    assert third.returncode == 0, third.stderr
    assert "Epoch" not in third.stdout + third.stderr
    with open_predictions(tmp_path / "p.h5") as found:
        assert 0 < found["probability"][:].max() <= 1


def in_its_python(code: str, *words):
    """Run a piece of code beside nnunet_job in nnU-Net's environment; return how it ended."""
    folder = ROOT / "scripts" / "quorum"
    command = [OWN_PYTHON, "-c", code, *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.skipif(not OWN_PYTHON.is_file(), reason="make env-nnunet was not run")
def test_a_torn_checkpoint_of_nnunet_leaves_the_one_before(tmp_path):
    kept = tmp_path / "checkpoint_latest.pth"
    kept.write_text("whole")
    ended = in_its_python(TORN, kept)
    assert ended.returncode == 7, ended.stderr
    assert kept.read_text() == "whole"


@pytest.mark.slow
@pytest.mark.skipif(not OWN_PYTHON.is_file(), reason="make env-nnunet was not run")
def test_a_checkpoint_of_nnunet_that_holds_code_is_not_read(tmp_path):
    ended = in_its_python(EVIL, tmp_path / "checkpoint_latest.pth", tmp_path / "made")
    assert ended.returncode == 1
    assert "Weights only load failed" in ended.stderr
    assert not (tmp_path / "made").exists()


@pytest.mark.slow
@pytest.mark.skipif(not OWN_PYTHON.is_file(), reason="make env-nnunet was not run")
def test_nnunet_itself_plans_for_the_series_own_spacing(tmp_path):
    run(native_cohort(tmp_path, shape_vox=(20, 40, 40)), OWN_PYTHON)
    record = json.loads((tmp_path / "record.json").read_text())
    assert record["spacing_mm"] == [2.0, 0.5, 0.5]
    with open_predictions(tmp_path / "p.h5") as found:
        share = found["probability"][:]
    assert 0 < share.max() <= 1
