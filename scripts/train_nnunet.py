"""Train nnU-Net on the same cubes and folds, and predict the scored fold as every network does.

Reads
    --splits  splits.csv: patient_id, part
    --shards  every shard of cubes
    --python  the Python of nnU-Net's own environment (make env-nnunet)
Writes
    --out-predictions  HDF5 (see scripts/quorum/predictions.py)
    --out-record       record.json: budget, parameters, time, versions
Method
    Run k is scored on fold k and trains on the others but fold k + 1, which nnU-Net validates
    on, as train_model does. The cubes go in as CT of 1 mm with the consensus as label; what was
    not scanned has nnU-Net's ignore label. nnU-Net plans its network for them by itself
    (3d_fullres). It predicts the crop around each click, mirrored along all axes as it always
    does, without post-processing; its answer is where the probability is at least one half.
    --epochs 0 is its own schedule (1000 epochs of 250 batches); any other number is a small
    budget, and the experiment is then called nnunet_small. It draws without a seed.
Source
    Isensee 2021, nnU-Net, doi 10.1038/s41592-020-01008-z (nnunetv2).
"""

import json
import shutil
import time

import numpy as np

from quorum import checkpoints
from quorum.clicks import click_points, crop_starts
from quorum.command import LOG, log_counts, make_parser, provenance, run_command
from quorum.files import write_whole
from quorum.nnunet_data import run_job, write_dataset
from quorum.plans import nodules_of, run_parts
from quorum.predictions import PredictionsWriter
from quorum.records import hardware
from quorum.shards import open_shards
from quorum.tables import read_table

HALF = 0.5


def name_of(epochs: int) -> str:
    """Return what the experiment is called in every table: a small budget says so."""
    return "nnunet_small" if epochs else "nnunet"


def cut_crops(cubes, chosen: list, *, offsets_mm, crop_vox, seed: int) -> tuple:
    """Return every click's crop.

    Returns
    -------
    clicks : float64 (n, offsets, 3)
        Voxels (z, y, x) of the cube.
    starts : int64 (n, offsets, 3)
        First voxel of the crop.
    crops : int16 (n * offsets, z, y, x) [HU]
        Nodule by nodule; what is not covered repeats the nearest covered voxel.
    """
    clicks, starts, crops = [], [], []
    for k in chosen:
        points = click_points(
            cubes.readers(k),
            int(cubes.num_readers[k]),
            nodule_id=str(cubes.nodule_id[k]),
            offsets_mm=offsets_mm,
            seed=seed,
            spacing_mm=cubes.spacing_mm,
        )
        first, image = crop_starts(points, crop_vox, cubes.shape_vox), cubes.image(k)
        clicks.append(points)
        starts.append(first)
        for corner in first:
            window = (slice(a, a + side) for a, side in zip(corner, crop_vox, strict=True))
            crops.append(image[tuple(window)])
    return np.stack(clicks), np.stack(starts), np.stack(crops)


def parse_args(argv):
    """Return the parsed flags."""
    parser = make_parser(__doc__)
    parser.add_argument("--splits", required=True, help="splits.csv")
    parser.add_argument("--shards", required=True, nargs="+", help="shards of cubes")
    parser.add_argument("--consensus", required=True, help="what is learned: majority, staple, ..")
    parser.add_argument("--fold", required=True, type=int, help="the fold that is scored")
    parser.add_argument("--num-folds", required=True, type=int, help="how many folds there are")
    parser.add_argument("--crop-vox", required=True, nargs=3, type=int, help="z y x at prediction")
    parser.add_argument(
        "--click-offsets-mm", required=True, nargs="+", type=float, help="distances, mm"
    )
    parser.add_argument("--seed", required=True, type=int, help="seed of the clicks")
    parser.add_argument("--epochs", required=True, type=int, help="0: nnU-Net's own schedule")
    parser.add_argument("--iterations-per-epoch", required=True, type=int, help="batches an epoch")
    parser.add_argument("--python", required=True, help="Python of nnU-Net's environment")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--folder", required=True, help="nnU-Net's files, until it has ended well")
    parser.add_argument("--out-predictions", required=True, help="HDF5 to write")
    parser.add_argument("--out-record", required=True, help="record.json to write")
    return parser.parse_args(argv)


def write_predictions(args, cubes, chosen: list, crops: tuple, probability):
    """Write nnU-Net's probabilities as predict_cubes writes a network's."""
    clicks, starts, _ = crops
    size = np.array(args.crop_vox)
    attributes = {"experiment": name_of(args.epochs), "fold": args.fold, "seed": 0}
    attributes |= {"part": f"fold{args.fold}", "data_kind": cubes.data_kind, "threshold": HALF}
    attributes |= {"method": "nnunet", "made_by": provenance(__file__, args)}
    names = [str(cubes.nodule_id[k]) for k in chosen]
    shape = {"offsets_mm": args.click_offsets_mm, "cube_vox": cubes.shape_vox}
    share = probability.astype(np.float32).clip(0, 1).reshape(*clicks.shape[:2], *args.crop_vox)
    with (
        write_whole(args.out_predictions) as temporary,
        PredictionsWriter(temporary, attributes, nodule_id=names, **shape) as writer,
    ):
        for row, column in np.ndindex(*clicks.shape[:2]):
            box = np.concatenate([starts[row, column], starts[row, column] + size])
            there = {"click": clicks[row, column], "box": box}
            writer.put(row, column, **there, probability=share[row, column])


def main(argv=None):
    """Parse, convert, let nnU-Net train and predict, convert back."""
    args, started_s = parse_args(argv), time.monotonic()
    cubes, splits = open_shards(args.shards), read_table(args.splits, "splits")
    parts = run_parts(args.fold, args.num_folds)
    indices = {name: nodules_of(cubes, splits, parts[name]) for name in parts}
    for name, chosen in indices.items():
        LOG.info("%s: %d nodules (%s)", name, len(chosen), ", ".join(parts[name]))
    split = {
        ours: [str(cubes.nodule_id[k]) for k in indices[theirs]]
        for ours, theirs in (("train", "train"), ("val", "validate"))
    }
    budget = {"epochs": args.epochs, "iterations_per_epoch": args.iterations_per_epoch}
    key = {**budget, "split": split, "consensus": args.consensus}
    key["made_by"] = provenance(__file__, args)["input_sha256"]
    folder = checkpoints.open_folder(args.folder, key)
    write_dataset(folder, cubes, indices["train"] + indices["validate"], args.consensus)
    options = {"offsets_mm": args.click_offsets_mm, "crop_vox": args.crop_vox, "seed": args.seed}
    crops = cut_crops(cubes, indices["score"], **options)
    job = {**budget, "split": split, "threads": args.threads}
    probability, num_parameters = run_job(folder, args.python, crops[2], job)
    write_predictions(args, cubes, indices["score"], crops, probability)
    notes = {"experiment": name_of(args.epochs), "fold": args.fold, **budget}
    notes |= {"is_small_budget": bool(args.epochs), "num_parameters": num_parameters}
    notes |= {"duration_s": round(time.monotonic() - started_s, 1), "data_kind": cubes.data_kind}
    notes |= {"hardware": hardware(), "made_by": provenance(__file__, args)}
    with write_whole(args.out_record) as temporary:
        temporary.write_text(json.dumps(notes, indent=1, sort_keys=True) + "\n")
    shutil.rmtree(folder)
    log_counts("nodules", came_in=len(indices["score"]), dropped={}, went_out=len(crops[0]))


if __name__ == "__main__":
    run_command(main)
