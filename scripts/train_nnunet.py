"""Train nnU-Net on the same nodules and folds, and predict the scored fold as every network does.

Reads
    --splits  splits.csv: patient_id, part
    --shards  every shard of cubes
    --nodules, --slices, --contours, --root  for native inputs alone: nodules.csv, the tables
              series_slices of all shards with the folder that their paths are relative to, and
              contours.parquet
    --python  the Python of nnU-Net's own environment (make env-nnunet)
Writes
    --out-predictions  HDF5 (see scripts/quorum/predictions.py)
    --out-record       record.json: budget, plan, parameters, time, versions
Method
    Run k is scored on fold k and trains on the others but fold k + 1, which nnU-Net validates
    on, as train_model does. --inputs cubes: CT of 1 mm with the consensus as label. --inputs
    native: the same field on the lattice of its series (slices at uneven places: linear onto equal
    steps), the consensus of the outlines drawn there; nnU-Net chooses spacing and anisotropy. What
    was not scanned has nnU-Net's ignore label. nnU-Net plans its network by itself (3d_fullres).
    It predicts the crop around each click, with --flips averaged over mirrored axes as it does by
    itself, without post-processing; from native inputs its probability is resampled to the crop of
    1 mm, linearly. Its answer is where it is at least one half.
    --epochs 0 is its own schedule (1000 epochs of 250 batches as large as it plans); any other
    number is a small budget, and the experiment's name then ends in _small. It draws without a
    seed.
Source
    Isensee 2021, nnU-Net, doi 10.1038/s41592-020-01008-z (nnunetv2).
"""

import json
import shutil
import time

import numpy as np

from quorum import checkpoints
from quorum.clicks import click_points, crop_starts
from quorum.command import LOG, log_counts, make_parser, progress, provenance, run_command
from quorum.files import write_whole
from quorum.nnunet_data import check_environment, run_job, write_dataset
from quorum.nnunet_inputs import INPUTS, open_inputs, to_grid
from quorum.plans import nodules_of, run_parts
from quorum.predictions import PredictionsWriter
from quorum.records import hardware
from quorum.series_masks import grid_of
from quorum.shards import open_shards
from quorum.tables import read_table

HALF = 0.5


def name_of(epochs: int, inputs: str) -> str:
    """Return what the experiment is called in every table: native inputs, a small budget say so."""
    return f"nnunet{'_native' if inputs == 'native' else ''}{'_small' if epochs else ''}"


def cut_crops(inputs, chosen: list, *, offsets_mm, crop_vox, seed: int) -> tuple:
    """Return every click's crop.

    Parameters
    ----------
    inputs : quorum.nnunet_inputs.CubeInputs or NativeInputs
    chosen : list of int
        Nodules.

    Returns
    -------
    clicks : float64 (n, offsets, 3)
        Voxels (z, y, x) of the cube.
    starts : int64 (n, offsets, 3)
        First voxel of the crop.
    windows : list of Geometry
        Of the crops of 1 mm, nodule by nodule.
    pictures : list of Picture
        The same fields of the inputs.
    """
    clicks, starts, windows, pictures = [], [], [], []
    cubes = inputs.cubes
    for k in progress(chosen, "nodules to predict"):
        points = click_points(
            cubes.readers(k),
            int(cubes.num_readers[k]),
            nodule_id=str(cubes.nodule_id[k]),
            offsets_mm=offsets_mm,
            seed=seed,
            spacing_mm=cubes.spacing_mm,
        )
        first, picture = crop_starts(points, crop_vox, cubes.shape_vox), inputs.picture(k)
        clicks.append(points)
        starts.append(first)
        for corner in first:
            box = [(a, a + side) for a, side in zip(corner, crop_vox, strict=True)]
            windows.append(grid_of(cubes, k).part(box))
            pictures.append(picture.cut(windows[-1]))
    return np.stack(clicks), np.stack(starts), windows, pictures


def parse_args(argv):
    """Return the parsed flags."""
    parser = make_parser(__doc__)
    parser.add_argument("--splits", required=True, help="splits.csv")
    parser.add_argument("--shards", required=True, nargs="+", help="shards of cubes")
    parser.add_argument("--inputs", choices=INPUTS, default=INPUTS[0], help="what it learns from")
    parser.add_argument("--nodules", nargs="?", help="nodules.csv")
    parser.add_argument("--slices", nargs="*", default=[], help="series_slices of all shards")
    parser.add_argument("--contours", nargs="?", help="contours.parquet")
    parser.add_argument("--root", default="", help="folder that the slices' paths are relative to")
    parser.add_argument("--consensus", required=True, help="what is learned: majority, staple, ..")
    parser.add_argument("--fold", required=True, type=int, help="the fold that is scored")
    parser.add_argument("--num-folds", required=True, type=int, help="how many folds there are")
    parser.add_argument("--crop-vox", required=True, nargs=3, type=int, help="z y x at prediction")
    parser.add_argument(
        "--click-offsets-mm", required=True, nargs="+", type=float, help="distances, mm"
    )
    parser.add_argument("--flips", required=True, choices=("True", "False"), help="test-time flips")
    parser.add_argument("--seed", required=True, type=int, help="seed of the clicks")
    parser.add_argument("--epochs", required=True, type=int, help="0: nnU-Net's own schedule")
    parser.add_argument("--iterations-per-epoch", required=True, type=int, help="batches an epoch")
    parser.add_argument("--batch-size", type=int, default=2, help="crops, of a small budget")
    parser.add_argument("--python", required=True, help="Python of nnU-Net's environment")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--folder", required=True, help="nnU-Net's files, until it has ended well")
    parser.add_argument("--out-predictions", required=True, help="HDF5 to write")
    parser.add_argument("--out-record", required=True, help="record.json to write")
    return parser.parse_args(argv)


def write_predictions(args, cubes, crops: tuple, probability: list):
    """Write nnU-Net's probabilities on the cubes' grids, as predict_cubes writes a network's."""
    chosen, clicks, starts, windows, pictures = crops
    size = np.array(args.crop_vox)
    attributes = {"experiment": name_of(args.epochs, args.inputs), "fold": args.fold, "seed": 0}
    attributes |= {"part": f"fold{args.fold}", "data_kind": cubes.data_kind, "threshold": HALF}
    attributes |= {"method": "nnunet", "made_by": provenance(__file__, args)}
    names = [str(cubes.nodule_id[k]) for k in chosen]
    shape = {"offsets_mm": args.click_offsets_mm, "cube_vox": cubes.shape_vox}
    with (
        write_whole(args.out_predictions) as temporary,
        PredictionsWriter(temporary, attributes, nodule_id=names, **shape) as writer,
    ):
        found = zip(np.ndindex(*clicks.shape[:2]), probability, pictures, windows, strict=True)
        for (row, column), own, picture, window in found:
            box = np.concatenate([starts[row, column], starts[row, column] + size])
            there = {"click": clicks[row, column], "box": box}
            share = to_grid(own.astype(np.float32), picture.geometry, window)
            writer.put(row, column, **there, probability=share.clip(0, 1))


def main(argv=None):
    """Parse, convert, let nnU-Net train and predict, convert back."""
    args, started_s = parse_args(argv), time.monotonic()
    check_environment(args.python)
    cubes, splits = open_shards(args.shards), read_table(args.splits, "splits")
    tables = {"nodules": args.nodules, "slices": args.slices, "contours": args.contours}
    inputs = open_inputs(args.inputs, cubes, args.consensus, root=args.root, **tables)
    parts = run_parts(args.fold, args.num_folds)
    indices = {name: nodules_of(cubes, splits, parts[name]) for name in parts}
    for name, chosen in indices.items():
        LOG.info("%s: %d nodules (%s)", name, len(chosen), ", ".join(parts[name]))
    split = {
        ours: [str(cubes.nodule_id[k]) for k in indices[theirs]]
        for ours, theirs in (("train", "train"), ("val", "validate"))
    }
    budget = {"epochs": args.epochs, "iterations_per_epoch": args.iterations_per_epoch}
    budget["batch_size"] = args.batch_size
    key = {**budget, "split": split, "consensus": args.consensus, "inputs": args.inputs}
    key["made_by"] = provenance(__file__, args)["input_sha256"]
    folder = checkpoints.open_folder(args.folder, key)
    write_dataset(folder, inputs, indices["train"] + indices["validate"])
    options = {"offsets_mm": args.click_offsets_mm, "crop_vox": args.crop_vox, "seed": args.seed}
    crops = (indices["score"], *cut_crops(inputs, indices["score"], **options))
    flips = args.flips == "True"
    job = {**budget, "split": split, "threads": args.threads, "mirrors": flips}
    probability, plan = run_job(folder, args.python, crops[-1], job)
    write_predictions(args, cubes, crops, probability)
    notes = {"experiment": name_of(args.epochs, args.inputs), "fold": args.fold, "seed": 0}
    notes |= {**budget, **plan}
    notes |= {"inputs": args.inputs, "is_small_budget": bool(args.epochs), "flips": flips}
    notes |= {"duration_s": round(time.monotonic() - started_s, 1), "data_kind": cubes.data_kind}
    notes |= {"hardware": hardware(), "made_by": provenance(__file__, args)}
    with write_whole(args.out_record) as temporary:
        temporary.write_text(json.dumps(notes, indent=1, sort_keys=True) + "\n")
    shutil.rmtree(folder)
    num_nodules = len(indices["score"])
    log_counts("nodules", came_in=num_nodules, dropped={}, went_out=num_nodules)


if __name__ == "__main__":
    run_command(main)
