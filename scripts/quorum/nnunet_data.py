"""Cubes as a data set of nnU-Net, and nnU-Net's job run by the Python of its own environment."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from quorum.consensus import consensus_mask
from quorum.errors import InputError
from quorum.files import write_whole

DATASET, DATASET_NAME = 501, "Dataset501_Nodules"
NODULE, IGNORED = 1, 2
SUFFIX = ".nii.gz"
JOB = Path(__file__).resolve().parent / "nnunet_job.py"


def label_map(mask, coverage) -> np.ndarray:
    """Return nnU-Net's labels: 0 background, 1 nodule, 2 where nothing was scanned (ignored)."""
    labels = np.where(mask, NODULE, 0).astype(np.uint8)
    labels[~np.asarray(coverage, bool)] = IGNORED
    return labels


def write_image(array, path, spacing_mm: float):
    """Write (z, y, x) as NIfTI with its spacing, whole."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([spacing_mm] * 3)
    temporary = Path(f"{path}.part{SUFFIX}")
    sitk.WriteImage(image, str(temporary))
    os.replace(temporary, path)


def write_dataset(folder: Path, cubes, indices, consensus):
    """Write the nodules' cubes and consensus as raw data of nnU-Net below `folder`.

    Parameters
    ----------
    folder : Path
    cubes : quorum.shards.CubeSet
    indices : list of int
    consensus : str or float
    """
    images, labels = (folder / "raw" / DATASET_NAME / name for name in ("imagesTr", "labelsTr"))
    for place in (images, labels):
        place.mkdir(parents=True, exist_ok=True)
    for k in indices:
        name = str(cubes.nodule_id[k])
        staple = cubes.staple(k) if consensus == "staple" else None
        mask = consensus_mask(cubes.readers(k), int(cubes.num_readers[k]), staple, consensus)
        answer = label_map(mask, cubes.coverage(k))
        write_image(cubes.image(k), images / f"{name}_0000{SUFFIX}", cubes.spacing_mm)
        write_image(answer, labels / f"{name}{SUFFIX}", cubes.spacing_mm)
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "nodule": NODULE, "ignore": IGNORED},
        "numTraining": len(indices),
        "file_ending": SUFFIX,
    }
    with write_whole(images.parent / "dataset.json") as temporary:
        temporary.write_text(json.dumps(description, indent=1))


def run_job(folder: Path, python, crops, options: dict) -> tuple:
    """Let nnU-Net plan, train and predict crops; return probabilities and its parameter count.

    Parameters
    ----------
    folder : Path
        Of `write_dataset`; nnU-Net's own files go there too.
    python : str
        Of nnU-Net's environment.
    crops : int16 (n, z, y, x) [HU]
    options : dict
        split (train and val, lists of nodule_id), epochs (0 for nnU-Net's own schedule),
        iterations_per_epoch, threads.

    Raises
    ------
    InputError
        When there is no such environment, or nnU-Net fails.
    """
    if not Path(python).is_file():
        raise InputError(
            f"nnU-Net's Python {python} doesn't exist",
            "an environment with nnunetv2",
            "run: make env-nnunet",
        )
    places = {name: folder / name for name in ("raw", "preprocessed", "results")}
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    own = {"crops": str(folder / "crops.npz"), "answer": str(folder / "answer.npz")}
    job = {**options, **own, "dataset": DATASET, "results": str(places["results"])}
    job["preprocessed"] = str(places["preprocessed"] / DATASET_NAME)
    np.savez(own["crops"], image=crops)
    Path(folder, "job.json").write_text(json.dumps(job))
    environment = {**os.environ, "nnUNet_n_proc_DA": "1", "nnUNet_compile": "false"}
    environment |= {f"nnUNet_{name}": str(place) for name, place in places.items()}
    code = subprocess.run([python, JOB, folder / "job.json"], env=environment).returncode
    if code:
        raise InputError(
            f"nnU-Net ended with {code}",
            "a training that ends well",
            "read its last lines above",
        )
    with np.load(own["answer"]) as answer:
        return answer["probability"], int(answer["num_parameters"])
