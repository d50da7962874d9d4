"""Apply one run's model to the nodules of the fold that it held out, from a user's click.

Reads
    --plan    YAML of plan_experiment
    --model   model.pt of train_model
    --splits  splits.csv
    --shards  every shard of cubes
Writes
    --out-predictions  HDF5 (see scripts/quorum/predictions.py): probability float16 (nodule,
                       offset, z, y, x) on the stored cube's grid, click_zyx_vox, offsets_mm;
                       samples uint8 (nodule, sample, z, y, x) of a network that draws outlines
    --out-gains        gains.csv, one row a step after the network: what it gains on this fold
Method
    The click is one seeded reader's own centre, moved by each offset in one direction drawn at
    random. A network sees the crop around the click, kept inside the stored cube; what is not
    covered repeats the nearest covered voxel. Its probability is that of its logits over the
    temperature, as the mean over flips of the axes it was trained to flip where the validation
    fold gained by them, after the post-processing (quorum.postprocessing) chosen there. A baseline
    gives 0 or 1.
Source
    The recipe's centre crop at prediction; test-time flips: Krizhevsky 2012 (10.1145/3065386).
"""

import pandas as pd
import torch

from quorum.command import LOG, log_counts, make_parser, provenance, run_command
from quorum.errors import InputError
from quorum.evaluation import flip_sets, pick_answer
from quorum.files import write_whole
from quorum.frozen_plan import TEST
from quorum.models import read_model, refuse_other_kind, refuse_other_plan
from quorum.places import add_places
from quorum.plans import nodules_of, read_plan
from quorum.predicting import (
    baseline_predictor,
    finished_predictor,
    load_network,
    share_predictor,
    write_clicks,
)
from quorum.predictions import PredictionsWriter
from quorum.sampling import num_samples, write_samples
from quorum.shards import open_shards
from quorum.stores import load_store
from quorum.tables import read_table, write_table


def parse_args(argv):
    """Return the parsed flags."""
    parser = make_parser(__doc__)
    parser.add_argument("--plan", required=True, help="YAML of plan_experiment")
    parser.add_argument("--model", required=True, help="model.pt of train_model")
    parser.add_argument("--splits", required=True, help="splits.csv")
    parser.add_argument("--shards", required=True, nargs="+", help="shards of cubes")
    parser.add_argument("--slices", nargs="*", help="slices.parquet, where inputs hold the place")
    parser.add_argument("--part", required=True, help="the fold that the model held out")
    parser.add_argument(
        "--click-offsets-mm", required=True, nargs="+", type=float, help="distances, mm"
    )
    parser.add_argument("--flips", required=True, choices=("True", "False"), help="test-time flips")
    parser.add_argument("--seed", required=True, type=int, help="seed of the clicks")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--out-predictions", required=True, help="HDF5 to write")
    parser.add_argument("--out-gains", help="CSV to write")
    return parser.parse_args(argv)


def check_part(model: dict, part: str):
    """Raise an InputError unless the part is the fold that the model held out."""
    if part == TEST:
        raise InputError(
            "the locked test part would be predicted without a frozen analysis plan",
            f"fold{model['fold']}",
            "predict the test part with predict_ensemble, which asks for plan.json of freeze_plan",
        )
    if part != f"fold{model['fold']}":
        raise InputError(
            f"the model of fold {model['fold']} would be applied to {part}, which it has seen",
            f"fold{model['fold']}",
            "correct --part, or use that fold's own model",
        )


def scored_gains(model: dict, answer: dict, *, cubes, chosen: list, is_flipped: bool):
    """Return what each step after a network gains on the nodules, truncated ones apart."""
    from quorum.gains import COLUMNS, measure_gains

    whole = [k for k in chosen if not cubes.is_truncated[k]]
    if model["settings"]["method"] != "network" or not whole:
        return pd.DataFrame(columns=COLUMNS)
    settings, (network, device) = model["settings"], load_network(model, cubes=cubes)
    store = load_store(cubes, whole, device=device, consensus=model["consensus"])
    flips = flip_sets(settings["flip_axes"] if is_flipped else [])
    answer = {**answer, "temperature": model["temperature"]}
    return measure_gains(network, store, settings=settings, answer=answer, flips=flips)


def write_gains(path, gains, attributes: dict):
    """Write the table of gains, with the run that the attributes name."""
    run = {key: attributes[key] for key in ("experiment", "fold", "seed", "data_kind")}
    write_table(gains.assign(**run), path, "gains", attributes["made_by"])


def main(argv=None):
    """Parse, read, predict, write."""
    args = parse_args(argv)
    torch.set_num_threads(args.threads)
    plan, model = read_plan(args.plan), read_model(args.model)
    cubes, splits = open_shards(args.shards), read_table(args.splits, "splits")
    add_places(cubes, plan["settings"], args.slices)
    refuse_other_plan(model, plan)
    refuse_other_kind(model, cubes.data_kind)
    check_part(model, args.part)
    chosen = nodules_of(cubes, splits, [args.part])
    method = model["settings"]["method"]
    if method == "network":
        answer = pick_answer(model, args.flips == "True")
        predict = share_predictor(model, cubes=cubes, is_flipped=answer["is_flipped"])
        predict = finished_predictor(predict, answer)
        LOG.info("flips: %s, postprocess: %s", answer["is_flipped"], answer["postprocess"])
    else:
        answer = {key: model[key] for key in ("threshold", "postprocess")}
        predict = baseline_predictor(model, cubes=cubes)
    attributes = {key: model[key] for key in ("experiment", "fold", "seed")}
    attributes |= {key: answer[key] for key in ("threshold", "postprocess")}
    attributes |= {"part": args.part, "data_kind": cubes.data_kind, "method": method}
    attributes["made_by"] = provenance(__file__, args)
    names = [str(cubes.nodule_id[k]) for k in chosen]
    shape = {"offsets_mm": args.click_offsets_mm, "cube_vox": cubes.shape_vox}
    shape["num_samples"] = num_samples(model)
    with (
        write_whole(args.out_predictions) as temporary,
        PredictionsWriter(temporary, attributes, nodule_id=names, **shape) as writer,
    ):
        clicks = {"offsets_mm": args.click_offsets_mm, "seed": args.seed}
        write_clicks(writer, predict, cubes=cubes, chosen=chosen, **clicks)
        if shape["num_samples"]:
            write_samples(writer, model, cubes=cubes, chosen=chosen, seed=args.seed)
    if args.out_gains:
        may_flip = {"is_flipped": args.flips == "True"}
        gains = scored_gains(model, answer, cubes=cubes, chosen=chosen, **may_flip)
        write_gains(args.out_gains, gains, attributes)
    outside = {"in another part of the split": len(cubes) - len(chosen)}
    log_counts("nodules", came_in=len(cubes), dropped=outside, went_out=len(chosen))


if __name__ == "__main__":
    run_command(main)
