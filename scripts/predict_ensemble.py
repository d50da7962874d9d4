"""Apply all runs of an experiment together to the locked test part, from a user's click.

Reads
    --plan         YAML of plan_experiment
    --models       model.pt of train_model, of every fold and seed
    --splits       splits.csv
    --shards       every shard of cubes
    --frozen-plan  plan.json of freeze_plan: without it nothing of the test part is predicted
Writes
    --out-predictions  HDF5 as predict_cubes writes it, part `test`, fold and seed -1; further
                       attributes num_members, seeds, analysis_plan_sha256 (the frozen plan's)
Method
    The probability is the mean of the members', each with its own temperature and with flips
    where its own validation fold gained by them. The threshold is the mean of the members', and a
    step of post-processing is done where more than half of them chose it: no fold is left that no
    member has trained on, so the ensemble chooses nothing by itself. A baseline's answer is the
    share of its members.
Source
    Lakshminarayanan 2017, arXiv 1612.01474 (deep ensembles).
"""

import numpy as np
import torch

from quorum.command import log_counts, make_parser, provenance, run_command
from quorum.errors import InputError
from quorum.evaluation import pick_answer
from quorum.files import write_whole
from quorum.frozen_plan import TEST, read_frozen_plan
from quorum.models import read_model, refuse_other_kind, refuse_other_plan
from quorum.places import add_places
from quorum.plans import nodules_of, read_plan
from quorum.postprocessing import NONE, STEPS
from quorum.predicting import (
    baseline_predictor,
    finished_predictor,
    share_predictor,
    write_clicks,
)
from quorum.predictions import PredictionsWriter
from quorum.shards import open_shards
from quorum.tables import read_table

ENSEMBLE = -1  # fold and seed of an ensemble


def joint_answer(answers: list) -> dict:
    """Return threshold and post-processing of an ensemble from its members' answers."""
    half = len(answers) / 2
    chosen = [answer["postprocess"].split("+") for answer in answers]
    steps = [step for step in STEPS if sum(step in own for own in chosen) > half]
    threshold = float(np.mean([answer["threshold"] for answer in answers]))
    return {"threshold": threshold, "postprocess": "+".join(steps) or NONE}


def mean_predictor(members: list):
    """Return a predictor whose probability is the mean of its members'; image of the first."""

    def predict(index, clicks):
        boxes, share, *rest = members[0](index, clicks)
        total = share.astype(np.float64)
        for member in members[1:]:
            total += member(index, clicks)[1]
        return boxes, (total / len(members)).astype(np.float32), *rest

    return predict


def check_members(models: list, plan: dict, data_kind: str):
    """Raise an InputError unless the models are different runs of the plan's experiment."""
    for model in models:
        refuse_other_plan(model, plan)
        refuse_other_kind(model, data_kind)
    runs = [(model["fold"], model["seed"]) for model in models]
    twice = sorted({run for run in runs if runs.count(run) > 1})
    if twice:
        raise InputError(
            f"the run of fold {twice[0][0]} and seed {twice[0][1]} was named twice",
            "each member once",
            "correct --models",
        )


def make_predictor(models: list, *, cubes, has_flips: bool):
    """Return the ensemble's predictor, and its threshold and post-processing."""
    if models[0]["settings"]["method"] != "network":
        members = [baseline_predictor(model, cubes=cubes) for model in models]
        return mean_predictor(members), {"threshold": 0.5, "postprocess": NONE}
    answers = [pick_answer(model, has_flips) for model in models]
    members = [
        share_predictor(model, cubes=cubes, is_flipped=answer["is_flipped"])
        for model, answer in zip(models, answers, strict=True)
    ]
    answer = joint_answer(answers)
    return finished_predictor(mean_predictor(members), answer), answer


def parse_args(argv):
    """Return the parsed flags."""
    parser = make_parser(__doc__)
    parser.add_argument("--plan", required=True, help="YAML of plan_experiment")
    parser.add_argument("--models", required=True, nargs="+", help="model.pt of every member")
    parser.add_argument("--splits", required=True, help="splits.csv")
    parser.add_argument("--shards", required=True, nargs="+", help="shards of cubes")
    parser.add_argument("--slices", nargs="*", help="slices.parquet, where inputs hold the place")
    parser.add_argument("--frozen-plan", required=True, help="plan.json of freeze_plan")
    parser.add_argument(
        "--click-offsets-mm", required=True, nargs="+", type=float, help="distances, mm"
    )
    parser.add_argument("--flips", required=True, choices=("True", "False"), help="test-time flips")
    parser.add_argument("--seed", required=True, type=int, help="seed of the clicks")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--out-predictions", required=True, help="HDF5 to write")
    return parser.parse_args(argv)


def main(argv=None):
    """Parse, read, predict, write."""
    args = parse_args(argv)
    torch.set_num_threads(args.threads)
    frozen = read_frozen_plan(args.frozen_plan)
    plan, models = read_plan(args.plan), [read_model(path) for path in args.models]
    cubes, splits = open_shards(args.shards), read_table(args.splits, "splits")
    add_places(cubes, plan["settings"], args.slices)
    check_members(models, plan, cubes.data_kind)
    chosen = nodules_of(cubes, splits, [TEST])
    predict, answer = make_predictor(models, cubes=cubes, has_flips=args.flips == "True")
    attributes = {"experiment": plan["name"], "fold": ENSEMBLE, "seed": ENSEMBLE, **answer}
    attributes |= {"part": TEST, "data_kind": cubes.data_kind}
    attributes |= {"method": plan["settings"]["method"], "made_by": provenance(__file__, args)}
    names = [str(cubes.nodule_id[k]) for k in chosen]
    shape = {"offsets_mm": args.click_offsets_mm, "cube_vox": cubes.shape_vox}
    with (
        write_whole(args.out_predictions) as temporary,
        PredictionsWriter(temporary, attributes, nodule_id=names, **shape) as writer,
    ):
        seeds = sorted({model["seed"] for model in models})
        writer.file.attrs.update(num_members=len(models), seeds=np.array(seeds, np.int64))
        writer.file.attrs["analysis_plan_sha256"] = frozen["plan_sha256"]
        clicks = {"offsets_mm": args.click_offsets_mm, "seed": args.seed}
        write_clicks(writer, predict, cubes=cubes, chosen=chosen, **clicks)
    outside = {"in another part of the split": len(cubes) - len(chosen)}
    log_counts("nodules", came_in=len(cubes), dropped=outside, went_out=len(chosen))


if __name__ == "__main__":
    run_command(main)
