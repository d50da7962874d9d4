"""nnU-Net's own part of train_nnunet: run by the Python of its own environment, never imported.

    python nnunet_job.py job.json

Plans, preprocesses, trains and predicts by nnU-Net's own functions, with its folders in the
environment variables nnUNet_raw, nnUNet_preprocessed and nnUNet_results. nnU-Net's command line
looks for trainers in every file that it has, and one needs torchvision, whose wheel does not
import beside torch's CPU build: so its trainer is made here.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprints,
    plan_experiments,
    preprocess,
)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

CONFIGURATION = "3d_fullres"
# What nnU-Net's checkpoints hold besides tensors and plain values: numbers of its log.
NUMBERS = [np._core.multiarray.scalar, np.dtype]
NUMBERS += [type(np.dtype(name)) for name in ("float16", "float32", "float64", "int64")]


class Trainer(nnUNetTrainer):
    """nnU-Net's trainer without its validation on whole images: the job is scored elsewhere."""

    def perform_actual_validation(self, save_probabilities: bool = False):
        """Do nothing."""

    def save_checkpoint(self, filename: str):
        """Write a checkpoint whole: a job that is killed meanwhile leaves the one before."""
        super().save_checkpoint(f"{filename}.partial")
        with open(f"{filename}.partial", "rb+") as file:
            os.fsync(file.fileno())
        os.replace(f"{filename}.partial", filename)


def plan(job: dict):
    """Take fingerprint, plan and preprocess the data set, unless that was done."""
    folder = Path(job["preprocessed"])
    done = folder / "done"
    if done.exists():
        return
    number = [job["dataset"]]
    extract_fingerprints(number, num_processes=1, check_dataset_integrity=True)
    plan_experiments(number)
    preprocess(number, configurations=[CONFIGURATION], num_processes=[1])
    (folder / "splits_final.json").write_text(json.dumps([job["split"]]))
    done.touch()


def train(job: dict) -> Trainer:
    """Return a trainer after all its epochs: gone on with from a checkpoint, or ended before."""
    folder = Path(job["preprocessed"])
    plans = json.loads((folder / "nnUNetPlans.json").read_text())
    dataset = json.loads((folder / "dataset.json").read_text())
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # nnU-Net removes the latest once it has written the final one.
    final, latest = (
        next(Path(job["results"]).rglob(f"checkpoint_{name}.pth"), None)
        for name in ("final", "latest")
    )
    checkpoint = final or latest
    plans["continue_training"] = checkpoint is not None
    if job["epochs"]:
        plans["configurations"][CONFIGURATION]["batch_size"] = job["batch_size"]
    trainer = Trainer(plans, CONFIGURATION, 0, dataset, device)
    if job["epochs"]:
        trainer.num_epochs = job["epochs"]
        trainer.num_iterations_per_epoch = job["iterations_per_epoch"]
        trainer.num_val_iterations_per_epoch = max(job["iterations_per_epoch"] // 5, 1)
    trainer.save_every = 1
    # Its planner takes this for a number of threads and its trainer for one of processes.
    os.environ["nnUNet_n_proc_DA"] = "0"  # noqa: SIM112, nnU-Net's own spelling
    trainer.initialize()
    if checkpoint:
        refuse_code(checkpoint)
        trainer.load_checkpoint(str(checkpoint))
    if not final:
        trainer.run_training()
    return trainer


def refuse_code(checkpoint: Path):
    """Read a checkpoint as data alone, which fails where it holds anything that would be run.

    nnU-Net itself reads it without that care.
    """
    with torch.serialization.safe_globals(NUMBERS):
        torch.load(checkpoint, map_location="cpu", weights_only=True)


def predict(trainer: Trainer, images, spacings_mm: list, *, mirrors: bool) -> list:
    """Return the probability of being nodule of every image (z, y, x) [HU], each of its shape."""
    trainer.set_deep_supervision_enabled(False)
    predictor = nnUNetPredictor(
        use_mirroring=mirrors,
        perform_everything_on_device=trainer.device.type == "cuda",
        device=trainer.device,
        allow_tqdm=False,
    )
    predictor.manual_initialization(
        trainer.network,
        trainer.plans_manager,
        trainer.configuration_manager,
        [trainer.network.state_dict()],
        trainer.dataset_json,
        type(trainer).__name__,
        trainer.inference_allowed_mirroring_axes,
    )
    found = []
    for number, spacing_mm in enumerate(spacings_mm):
        image = images[f"arr_{number}"][None].astype(np.float32)
        answer = predictor.predict_single_npy_array(
            image, {"spacing": spacing_mm}, None, None, True
        )
        found.append(answer[1][1].astype(np.float16))
        print(f"crops: {number + 1} of {len(spacings_mm)} predicted", flush=True)
    return found


def plan_notes(trainer: Trainer) -> dict:
    """Return what nnU-Net chose for these images."""
    plan = trainer.configuration_manager
    return {
        "num_parameters": sum(p.numel() for p in trainer.network.parameters()),
        "spacing_mm": [float(length) for length in plan.spacing],
        "patch_vox": [int(length) for length in plan.patch_size],
        "batch_size": int(plan.batch_size),
    }


def main(path):
    """Do the job that a JSON file describes."""
    job = json.loads(Path(path).read_text())
    plan(job)
    torch.set_num_threads(job["threads"])
    trainer = train(job)
    probability = predict(
        trainer, np.load(job["crops"]), job["spacings_mm"], mirrors=job["mirrors"]
    )
    np.savez(job["answer"], *probability, notes=json.dumps(plan_notes(trainer)))


if __name__ == "__main__":
    main(sys.argv[1])
