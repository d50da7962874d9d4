"""Images as a data set of nnU-Net, and nnU-Net's job run by the Python of its own environment."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from quorum.command import progress
from quorum.errors import InputError
from quorum.files import write_whole
from quorum.watched_process import die_with_parent

DATASET, DATASET_NAME = 501, "Dataset501_Nodules"
NODULE, IGNORED = 1, 2
SUFFIX = ".nii.gz"
LOOK_S = 60  # to start a Python
JOB = Path(__file__).resolve().parent / "nnunet_job.py"


def label_map(mask, coverage) -> np.ndarray:
    """Return nnU-Net's labels: 0 background, 1 nodule, 2 where nothing was scanned (ignored)."""
    labels = np.where(mask, NODULE, 0).astype(np.uint8)
    labels[~np.asarray(coverage, bool)] = IGNORED
    return labels


def write_image(array, path, spacing_mm):
    """Write (z, y, x) as NIfTI with its spacing (z, y, x), whole."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([float(length) for length in spacing_mm[::-1]])
    temporary = Path(f"{path}.part{SUFFIX}")
    sitk.WriteImage(image, str(temporary))
    os.replace(temporary, path)


def write_dataset(folder: Path, inputs, indices):
    """Write the nodules' images and consensus as raw data of nnU-Net below `folder`.

    Parameters
    ----------
    folder : Path
    inputs : quorum.nnunet_inputs.CubeInputs or NativeInputs
    indices : list of int
    """
    images, labels = (folder / "raw" / DATASET_NAME / name for name in ("imagesTr", "labelsTr"))
    for place in (images, labels):
        place.mkdir(parents=True, exist_ok=True)
    for k in progress(indices, "nodules for nnU-Net"):
        name = str(inputs.cubes.nodule_id[k])
        picture, mask, coverage = inputs.example(k)
        spacing_mm = picture.geometry.spacing_mm
        write_image(picture.hu, images / f"{name}_0000{SUFFIX}", spacing_mm)
        write_image(label_map(mask, coverage), labels / f"{name}{SUFFIX}", spacing_mm)
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "nodule": NODULE, "ignore": IGNORED},
        "numTraining": len(indices),
        "file_ending": SUFFIX,
    }
    with write_whole(images.parent / "dataset.json") as temporary:
        temporary.write_text(json.dumps(description, indent=1))


def check_environment(python):
    """Refuse to begin without nnU-Net's environment.

    Raises
    ------
    InputError
        When there is no such Python, or nnunetv2 is not installed for it.
    """
    mend = "run: make env-nnunet"
    if not Path(python).is_file():
        raise InputError(
            f"nnU-Net's Python {python} doesn't exist", "an environment with nnunetv2", mend
        )
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('nnunetv2') is None)"
    try:
        code = subprocess.run([python, "-c", look], timeout=LOOK_S).returncode
    except (OSError, subprocess.TimeoutExpired) as error:
        code = error
    if code:
        raise InputError(f"the Python {python} has no nnU-Net", "nnunetv2 beside it", mend)


def run_job(folder: Path, python, pictures: list, options: dict) -> tuple:
    """Let nnU-Net plan, train and predict; return probabilities and its parameter count.

    Parameters
    ----------
    folder : Path
        Of `write_dataset`; nnU-Net's own files go there too.
    python : str
        Of nnU-Net's environment.
    pictures : list of quorum.nnunet_inputs.Picture
    options : dict
        split (train and val, lists of nodule_id), epochs (0 for nnU-Net's own schedule),
        iterations_per_epoch, batch_size (of a small budget), threads, mirrors.

    Returns
    -------
    probability : list of float16 (z, y, x)
        One a picture, of its shape.
    notes : dict
        num_parameters, and the plan: spacing_mm, patch_vox, batch_size.

    Raises
    ------
    InputError
        When nnU-Net fails.
    """
    places = {name: folder / name for name in ("raw", "preprocessed", "results")}
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    own = {"crops": str(folder / "crops.npz"), "answer": str(folder / "answer.npz")}
    job = {**options, **own, "dataset": DATASET, "results": str(places["results"])}
    job["preprocessed"] = str(places["preprocessed"] / DATASET_NAME)
    job["spacings_mm"] = [list(picture.geometry.spacing_mm) for picture in pictures]
    np.savez(own["crops"], *[picture.hu for picture in pictures])
    Path(folder, "job.json").write_text(json.dumps(job))
    environment = {**os.environ, "nnUNet_n_proc_DA": "1", "nnUNet_compile": "false"}
    environment["PYTHONUNBUFFERED"] = "1"  # a job that is killed has said where it was
    environment |= {f"nnUNet_{name}": str(place) for name, place in places.items()}
    words = [python, JOB, folder / "job.json"]
    # It would train on for days when the job that reads its answer is killed.
    code = subprocess.run(words, env=environment, preexec_fn=die_with_parent).returncode
    if code:
        raise InputError(
            f"nnU-Net ended with {code}",
            "a training that ends well",
            "read its last lines above; the next run goes on from its last epoch",
        )
    with np.load(own["answer"]) as answer:
        notes = json.loads(str(answer["notes"]))
        return [answer[f"arr_{k}"] for k in range(len(pictures))], notes
