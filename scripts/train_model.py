"""Fit one run of an experiment: a network's weights, or a baseline's few numbers.

Reads
    --plan    YAML of plan_experiment
    --splits  splits.csv: patient_id, part
    --shards  every shard of cubes
Writes
    --out-model    model.pt (torch.load with weights_only=True): weights or numbers, the plan, the
                   threshold and post-processing chosen on the validation fold, data_kind
    --out-history  history.csv, one row a step (none for a baseline)
    --out-record   record.json: plan and its diff to the base, digests of data and split,
                   versions, hardware, number of GPUs, seeds, git state, parameters, steps, time
                   (this session's, and all sessions' up to their last checkpoints), energy, peak
                   memory (process, children, GPU), what is not deterministic
    --out-tensorboard  the history as TensorBoard's files, while it goes on
Method
    Run k is scored on fold k, validates on fold k + 1 (mod K) and trains on the other folds; the
    test part is never opened. The cubes of those folds lie in memory (1.0 MB a nodule of
    (40, 80, 80)) or, where they don't fit, worker processes read them ahead; either way batches
    are the same functions of (seed, step, rank). --checkpoints keeps the state, keyed by plan,
    data, code, fold and seed: a run that was killed goes on from the last whole checkpoint; it
    ends with 75 after SIGTERM, and the folder goes once the run has ended well.
Source
    The recipe: stored cube (40, 80, 80), random crop (32, 64, 64), flips in x and y, shifts up to
    (4, 8, 8), strided 3D U-Net, Dice (Milletari 2016, arXiv 1606.04797) and cross-entropy,
    AdamW (Loshchilov 2019, arXiv 1711.05101).
"""

import signal
import sys
import time
from pathlib import Path

import pandas as pd
import torch

from quorum import checkpoints
from quorum.boards import Board
from quorum.command import LOG, make_parser, provenance, run_command
from quorum.fitting import EXIT_TEMPORARY, fit_network, fit_numbers
from quorum.models import write_model
from quorum.places import add_places
from quorum.plans import nodules_of, read_plan, run_parts
from quorum.records import write_record
from quorum.shards import open_shards
from quorum.tables import read_table, write_table

HISTORY = ("step", "epoch", "loss", "learning_rate", "validation_dice", "duration_s")


def parse_args(argv):
    """Return the parsed flags."""
    parser = make_parser(__doc__)
    parser.add_argument("--plan", required=True, help="YAML of plan_experiment")
    parser.add_argument("--splits", required=True, help="splits.csv")
    parser.add_argument("--shards", required=True, nargs="+", help="shards of cubes")
    parser.add_argument("--slices", nargs="*", help="slices.parquet, where inputs hold the place")
    parser.add_argument("--fold", required=True, type=int, help="the fold that is scored")
    parser.add_argument("--num-folds", required=True, type=int, help="how many folds there are")
    parser.add_argument("--seed", required=True, type=int, help="seed of weights and batches")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--devices", type=int, default=1, help="GPUs on each machine, if any")
    parser.add_argument("--nodes", type=int, default=1, help="machines")
    parser.add_argument("--checkpoints", required=True, help="folder kept until the run has ended")
    parser.add_argument(
        "--loading",
        choices=("auto", "memory", "workers"),
        default="auto",
        help="cubes in memory, or read by worker processes; auto: in memory where they fit",
    )
    parser.add_argument("--memory-mb", type=int, help="what this job may use; else what is free")
    parser.add_argument(
        "--find-batch-size",
        action="store_true",
        help="only try which batch fits into memory, say it, and write nothing",
    )
    parser.add_argument(
        "--resume", help="go on from this run's folder of checkpoints, wherever it lies; else stop"
    )
    parser.add_argument("--out-model", required=True, help="model.pt to write")
    parser.add_argument("--out-history", required=True, help="history.csv to write")
    parser.add_argument("--out-tensorboard", help="folder for TensorBoard's files")
    parser.add_argument("--out-record", required=True, help="record.json to write")
    return parser.parse_args(argv)


def main(argv=None):
    """Parse, read, fit, write; 75 when SIGTERM ended it after a checkpoint."""
    args, started_s = parse_args(argv), time.monotonic()
    # Until the loop takes over, there is nothing to save: end at once, to be tried again.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_TEMPORARY))
    torch.set_num_threads(args.threads)
    plan = read_plan(args.plan)
    parts = run_parts(args.fold, args.num_folds)
    cubes, splits = open_shards(args.shards), read_table(args.splits, "splits")
    add_places(cubes, plan["settings"], args.slices)
    # The scored fold too, although nothing of it is read: an empty one ends here, not hours later.
    indices = {name: nodules_of(cubes, splits, parts[name]) for name in parts}
    for name, chosen in indices.items():
        LOG.info("%s: %d nodules (%s)", name, len(chosen), ", ".join(parts[name]))
    fit_method = fit_network if plan["settings"]["method"] == "network" else fit_numbers
    fitted = fit_method(plan, args, cubes=cubes, parts=indices)
    if isinstance(fitted, int):
        LOG.info("ended by SIGTERM; run again to go on" if fitted else "nothing to write")
        return fitted
    found, rows, notes, folder = fitted
    if args.out_tensorboard and not Path(args.out_tensorboard).is_dir():
        # A baseline has no step, and a run that was already trained needs none.
        Board(args.out_tensorboard, rows).close()
    run = {"experiment": plan["name"], "fold": args.fold, "seed": args.seed}
    shared = {**run, "data_kind": cubes.data_kind}
    history = pd.DataFrame(rows, columns=HISTORY).assign(**shared)
    write_table(history, args.out_history, "history", provenance(__file__, args))
    notes |= {"duration_s": round(time.monotonic() - started_s, 1), **shared}
    notes["total_duration_s"] = notes["duration_s"] + notes.get("earlier_sessions_s", 0.0)
    write_record(args.out_record, plan, notes=notes, made_by=provenance(__file__, args))
    fixed = {"settings": plan["settings"], "consensus": plan["consensus"]}
    spacing = {"num_folds": args.num_folds, "spacing_mm": cubes.spacing_mm}
    write_model(args.out_model, {**shared, **fixed, **spacing, **found})
    if folder:
        checkpoints.remove_folder(folder)
    return 0


if __name__ == "__main__":
    run_command(main)
