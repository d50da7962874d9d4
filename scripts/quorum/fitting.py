"""Fit one run: a network's weights by training, or a baseline's few numbers."""

import json
import os

import numpy as np
import torch

from quorum import checkpoints
from quorum.baselines import fit_baseline
from quorum.cases import load_cases
from quorum.code import code_digest
from quorum.command import LOG
from quorum.memory_limits import memory_told, no_room, out_of_memory
from quorum.plans import check_cube
from quorum.staging import near_cubes
from quorum.stores import StreamedStore, fits_memory, load_store, store_digest

EXIT_TEMPORARY = 75  # sysexits.h EX_TEMPFAIL: try again
THRESHOLDS = [round(0.2 + 0.05 * k, 2) for k in range(13)]


def open_stores(plan: dict, args, *, cubes, parts: dict, device: str) -> tuple:
    """Return the cubes to train on and those to validate on: in the CPU's memory, or streamed.

    Which of several GPUs a process has is known only once Lightning has started it: the run moves
    them there (`Run.setup`).

    Parameters
    ----------
    plan : dict
    args : argparse.Namespace
        loading, memory_mb, threads.
    cubes : quorum.shards.CubeSet
    parts : dict
        Indices by `train`, `validate`.
    device : str
        What they are moved to later: they have to fit there.
    """
    num_cubes = len(parts["train"]) + len(parts["validate"])
    limits = {"device": device, "memory_mb": args.memory_mb}
    loading = args.loading
    if loading == "auto":
        fits = fits_memory(num_cubes, cubes.shape_vox, **limits)
        loading = "memory" if fits else "workers"
    LOG.info("%d cubes, loading: %s", num_cubes, loading)
    if loading == "workers":
        cubes = near_cubes(cubes)
    has_staple = plan["settings"]["target"] == "staple"
    stores = []
    for name, options in (
        ("train", {"has_staple": has_staple}),
        ("validate", {"consensus": plan["consensus"]}),
    ):
        if loading == "memory":
            options["workers"] = args.threads
            stores.append(load_store(cubes, parts[name], **options))
        else:
            stores.append(StreamedStore(cubes, parts[name], **options))
    return tuple(stores)


def fit_network(plan, args, *, cubes, parts):
    """Train a network; return the model's own part, history rows, notes, checkpoints' folder.

    Where there is nothing to write, the exit status: 75 when the run was told to end and goes on
    from its checkpoint another time, 0 in a process that is not the first.
    """
    from quorum.trainers import fit
    from quorum.training import Run

    settings = plan["settings"]
    check_cube(settings, cubes.shape_vox)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    num_cubes = len(parts["train"]) + len(parts["validate"])
    with memory_told(no_room, num_cubes, "cpu"):
        stores = open_stores(plan, args, cubes=cubes, parts=parts, device=device)
    if args.find_batch_size:
        return report_batch_size(settings, args, stores=stores, device=device)
    key = {
        "plan": {name: plan[name] for name in ("name", "consensus", "settings")},
        "data": store_digest(*stores),
        "code": code_digest("train_model", f"quorum.networks.{settings['network']['name']}"),
        "run": [args.fold, args.num_folds, args.seed],
        "processes": args.devices * args.nodes,
    }
    folder, state = checkpoints.find_state(args.checkpoints, key, resumed=args.resume)
    if state:
        LOG.info("going on after step %d", state["step"])
    options = {"device": device, "workers": args.threads, "board": args.out_tensorboard}
    with memory_told(no_room, num_cubes, "cpu"):
        run = Run(settings, args.seed, stores=stores, folder=folder, state=state, options=options)
    with memory_told(out_of_memory, settings, device):
        fit(run, devices=args.devices, nodes=args.nodes)
        if run.is_terminated or run.global_rank:
            return EXIT_TEMPORARY if run.is_terminated else 0
        found, notes = answer_of(run)
    notes["num_gpus"] = args.devices * args.nodes if device == "cuda" else 0
    return found, run.state["history"], {**notes, "data_sha256": key["data"]}, folder


def answer_of(run) -> tuple:
    """Return what a trained run found, for its model, and notes for its record."""
    from quorum.evaluation import choose_answer, flip_sets, pick_answer

    settings, best = run.settings, run.state["best"]
    run.place_stores(run.options["device"])
    run.network.load_state_dict(best["weights"])
    predict = run.speed.predictor(run.network.to(run.options["device"]).eval())
    flips = flip_sets(settings["flip_axes"])
    found = choose_answer(predict, run.validation_store, settings, THRESHOLDS, flips=flips)
    entropy = found.pop("cross_entropy_by_temperature")
    chosen = pick_answer(found, has_flips=True)
    notes = {
        "answer": {**chosen, "temperature": found["temperature"], "answers": found["answers"]},
        "cross_entropy_by_temperature": entropy,
        "num_parameters": sum(p.numel() for p in run.network.parameters()),
        "num_steps": run.state["step"],
        "best_step": best["step"],
        "speed": {**run.speed.as_record(), "compiling": run.compiling},
        "training_s": round(sum(row[5] for row in run.state["history"]), 3),
        "earlier_sessions_s": round(run.earlier_s, 3),
        "energy_j": run.state.get("energy_j"),
    }
    return {"weights": best["weights"], **found, **chosen}, notes


def report_batch_size(settings: dict, args, *, stores, device: str) -> int:
    """Log the largest batch whose step fits into memory; return the exit status."""
    from quorum.speed import choose_speed
    from quorum.training import make_network
    from quorum.trials import Trial, find_batch_size

    speed, most = choose_speed(settings["speed"], device), len(stores[0])
    with memory_told(no_room, most + len(stores[1]), device):
        # Both are held, as in a run, where they lie on the device.
        train, validation = (store.to(device) for store in stores)
        trial = Trial(make_network(settings, args.seed, device).to(device), settings, train, speed)
    size = find_batch_size(trial, most=most, limit_mb=args.memory_mb)
    LOG.info("beside %d cubes to train on and %d to validate on", most, len(validation))
    LOG.info("the largest batch that fits: %d crops (up to %d were tried)", size, most)
    return os.EX_OK


def fit_numbers(plan, args, *, cubes, parts):
    """Fit a baseline; the same answer as `fit_network`, without history and checkpoints."""
    method, consensus = plan["settings"]["method"], plan["consensus"]
    cases = load_cases(cubes, parts["train"], seed=args.seed, consensus=consensus)
    numbers = fit_baseline(method, cases)
    LOG.info("%s: %s", method, json.dumps(numbers))
    found = {"numbers": numbers, "threshold": 0.5, "postprocess": "none"}
    if args.out_tensorboard:
        # A baseline has no steps; the rule's folder is there all the same.
        os.makedirs(args.out_tensorboard, exist_ok=True)
    num_fitted = sum(np.size(value) for value in numbers.values()) - 1  # training_dice apart
    return found, [], {"num_parameters": num_fitted, "num_steps": 0, "num_gpus": 0}, None
