"""Fit one run of an experiment: a network's weights, or a baseline's few numbers.

Reads
    --plan    YAML of plan_experiment
    --splits  splits.csv: patient_id, part
    --shards  every shard of cubes
Writes
    --out-model    model.pt (torch.load with weights_only=True): weights or numbers, the plan, the
                   threshold and post-processing chosen on the validation fold, data_kind
    --out-history  history.csv, one row a step (none for a baseline)
    --out-record   record.json: plan, digests of data and split, versions, hardware, seeds,
                   parameters, steps, time, peak memory, what is not deterministic
Method
    Run k is scored on fold k, validates on fold k + 1 (mod K) and trains on the other folds; the
    test part is never opened. All cubes of those folds are held in memory as integers (4 bytes a
    voxel: 1.0 MB a nodule of (40, 80, 80), 0.9 GB for 897). Batches are functions of (seed, step,
    rank). --checkpoints keeps the state, keyed by plan, data, code, fold and seed: a run that was
    killed goes on from the last whole checkpoint; it ends with 75 after SIGTERM, and the folder
    goes once the run has ended well.
Source
    The recipe: stored cube (40, 80, 80), random crop (32, 64, 64), flips in x and y, shifts up to
    (4, 8, 8), strided 3D U-Net, Dice (Milletari 2016, arXiv 1606.04797) and cross-entropy,
    AdamW (Loshchilov 2019, arXiv 1711.05101).
"""

import json
import signal
import sys
import time

import numpy as np
import pandas as pd
import torch

from quorum import checkpoints
from quorum.baselines import fit_baseline
from quorum.batches import load_store, store_digest
from quorum.cases import load_cases
from quorum.code import code_digest
from quorum.command import LOG, make_parser, provenance, run_command
from quorum.models import write_model
from quorum.plans import check_cube, nodules_of, read_plan, run_parts
from quorum.records import write_record
from quorum.shards import open_shards
from quorum.tables import read_table, write_table

EXIT_TEMPORARY = 75  # sysexits.h EX_TEMPFAIL: try again
THRESHOLDS = [round(0.2 + 0.05 * k, 2) for k in range(13)]
HISTORY = ("step", "epoch", "loss", "learning_rate", "validation_dice", "duration_s")


def fit_network(plan, args, *, cubes, parts):
    """Train a network; return the model's own part, history rows, notes, checkpoints' folder.

    Where there is nothing to write, the exit status: 75 when the run was told to end and goes on
    from its checkpoint another time, 0 in a process that is not the first.
    """
    from quorum.evaluation import choose_answer
    from quorum.training import Run, fit

    settings = plan["settings"]
    check_cube(settings, cubes.shape_vox)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    options = {"device": device, "has_staple": settings["target"] == "staple"}
    train = load_store(cubes, parts["train"], **options)
    validation = load_store(cubes, parts["validate"], device=device, consensus=plan["consensus"])
    key = {
        "plan": plan,
        "data": store_digest(train, validation),
        "code": code_digest("train_model", f"quorum.networks.{settings['network']['name']}"),
        "run": [args.fold, args.num_folds, args.seed],
    }
    if args.resume:
        checkpoints.refuse_other_run(args.resume, key)
    folder = checkpoints.open_folder(args.checkpoints, key)
    state = checkpoints.load_newest(folder)
    if state:
        LOG.info("going on after step %d", state["step"])
    run = Run(settings, args.seed, train=train, validation=validation, folder=folder, state=state)
    fit(run, devices=args.devices, nodes=args.nodes)
    if run.is_terminated or run.global_rank:
        return EXIT_TEMPORARY if run.is_terminated else 0
    best = run.state["best"]
    run.network.load_state_dict(best["weights"])
    answer = choose_answer(run.network.eval(), validation, settings, THRESHOLDS)
    found = {"weights": best["weights"], **answer}
    notes = {
        "answer": answer,
        "data_sha256": key["data"],
        "num_parameters": sum(p.numel() for p in run.network.parameters()),
        "num_steps": run.state["step"],
        "best_step": best["step"],
    }
    return found, run.state["history"], notes, folder


def fit_numbers(plan, args, *, cubes, parts):
    """Fit a baseline; the same answer as `fit_network`, without history and checkpoints."""
    method, consensus = plan["settings"]["method"], plan["consensus"]
    cases = load_cases(cubes, parts["train"], seed=args.seed, consensus=consensus)
    numbers = fit_baseline(method, cases)
    LOG.info("%s: %s", method, json.dumps(numbers))
    found = {"numbers": numbers, "threshold": 0.5, "postprocess": "none"}
    num_fitted = sum(np.size(value) for value in numbers.values()) - 1  # training_dice apart
    return found, [], {"num_parameters": num_fitted, "num_steps": 0}, None


def parse_args(argv):
    """Return the parsed flags."""
    parser = make_parser(__doc__)
    parser.add_argument("--plan", required=True, help="YAML of plan_experiment")
    parser.add_argument("--splits", required=True, help="splits.csv")
    parser.add_argument("--shards", required=True, nargs="+", help="shards of cubes")
    parser.add_argument("--fold", required=True, type=int, help="the fold that is scored")
    parser.add_argument("--num-folds", required=True, type=int, help="how many folds there are")
    parser.add_argument("--seed", required=True, type=int, help="seed of weights and batches")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--devices", type=int, default=1, help="GPUs on each machine, if any")
    parser.add_argument("--nodes", type=int, default=1, help="machines")
    parser.add_argument("--checkpoints", required=True, help="folder kept until the run has ended")
    parser.add_argument("--resume", help="go on only from this very folder, else stop")
    parser.add_argument("--out-model", required=True, help="model.pt to write")
    parser.add_argument("--out-history", required=True, help="history.csv to write")
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
    # The scored fold too, although nothing of it is read: an empty one ends here, not hours later.
    indices = {name: nodules_of(cubes, splits, parts[name]) for name in parts}
    for name, chosen in indices.items():
        LOG.info("%s: %d nodules (%s)", name, len(chosen), ", ".join(parts[name]))
    fit_method = fit_network if plan["settings"]["method"] == "network" else fit_numbers
    fitted = fit_method(plan, args, cubes=cubes, parts=indices)
    if isinstance(fitted, int):
        LOG.info("nothing to write; ended by SIGTERM, run again to go on" if fitted else "done")
        return fitted
    found, rows, notes, folder = fitted
    run = {"experiment": plan["name"], "fold": args.fold, "seed": args.seed}
    shared = {**run, "data_kind": cubes.data_kind}
    history = pd.DataFrame(rows, columns=HISTORY).assign(**shared)
    write_table(history, args.out_history, "history", provenance(__file__, args))
    notes |= {"duration_s": round(time.monotonic() - started_s, 1), **shared}
    write_record(args.out_record, plan, notes=notes, made_by=provenance(__file__, args))
    fixed = {"settings": plan["settings"], "consensus": plan["consensus"]}
    spacing = {"num_folds": args.num_folds, "spacing_mm": cubes.spacing_mm}
    write_model(args.out_model, {**shared, **fixed, **spacing, **found})
    if folder:
        checkpoints.remove_folder(folder)
    return 0


if __name__ == "__main__":
    run_command(main)
