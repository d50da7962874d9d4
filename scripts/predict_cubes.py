"""Apply one run's model to the nodules of a part of the split, from a user's click.

Reads
    --plan    YAML of plan_experiment
    --model   model.pt of train_model
    --splits  splits.csv
    --shards  every shard of cubes
Writes
    --out-predictions  HDF5 (see scripts/quorum/predictions.py): probability float16 (nodule,
                       offset, z, y, x) on the stored cube's grid, click_zyx_vox, offsets_mm
Method
    The click is one seeded reader's own centre, moved by each offset in one direction drawn at
    random. A network sees the crop around the click, kept inside the stored cube; what is not
    covered repeats the nearest covered voxel. Its probability is the mean over test-time flips
    of the axes it was trained to flip; where the validation fold said so, all but the component
    nearest to the click is set to 0. A baseline gives 0 or 1.
Source
    The recipe's centre crop at prediction; test-time flips: Krizhevsky 2012 (10.1145/3065386).
"""

import functools

import numpy as np
import torch

from quorum.baselines import apply_baseline
from quorum.batches import load_store
from quorum.cases import load_case
from quorum.clicks import click_points, crop_starts
from quorum.command import log_counts, make_parser, progress, provenance, run_command
from quorum.errors import InputError
from quorum.files import write_whole
from quorum.models import read_model, refuse_other_kind, refuse_other_plan
from quorum.plans import check_cube, nodules_of, read_plan
from quorum.postprocessing import keep_component
from quorum.predictions import PredictionsWriter
from quorum.shards import open_shards
from quorum.tables import read_table


def network_predictor(model: dict, *, cubes, has_flips: bool):
    """Return a function from (nodule, clicks) to boxes (n, 6) and probabilities of those boxes.

    Raises
    ------
    InputError
        When the weights are not of the plan's network, or the crop is larger than the cube.
    """
    from quorum.evaluation import crop_probability, flip_sets
    from quorum.networks import build_network
    from quorum.targets import num_heads

    settings = model["settings"]
    check_cube(settings, cubes.shape_vox)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = build_network(settings["network"], 1, num_heads(settings["target"]))
    try:
        network.load_state_dict(model["weights"])
    except RuntimeError as error:
        raise InputError(
            f"the weights do not fit the network {settings['network']['name']} "
            f"({str(error).splitlines()[0]})",
            "weights of the plan's own network",
            "train this experiment again",
        ) from error
    network = network.to(device, memory_format=torch.channels_last_3d).eval()
    flips = flip_sets(settings["flip_axes"] if has_flips else [])

    def predict(index, clicks):
        store = load_store(cubes, [index], device=device)
        starts = crop_starts(clicks, settings["crop_vox"], cubes.shape_vox)
        share = crop_probability(
            network, store, index=0, starts=starts, settings=settings, flips=flips
        )
        boxes = np.concatenate([starts, starts + np.array(settings["crop_vox"])], axis=1)
        share = share.cpu().numpy()
        if model["postprocess"] == "component":
            places = zip(share, clicks - starts, strict=True)
            share = np.stack([keep_component(s, model["threshold"], at) for s, at in places])
        return boxes, share

    return predict


def baseline_predictor(model: dict, *, cubes):
    """Return the same kind of function for a baseline, which sees the whole cube."""
    apply = functools.partial(apply_baseline, model["settings"]["method"], model["numbers"])

    def predict(index, clicks):
        shape, share = np.array(cubes.shape_vox), []
        for click in clicks:
            case = load_case(cubes, index, click)
            # The oracle is told the centre; off by as much as the click is.
            case.center = case.center + (click - clicks[0])
            share.append(apply(case).astype(np.float32))
        boxes = np.tile(np.concatenate([np.zeros(3, int), shape]), (len(clicks), 1))
        return boxes, np.stack(share)

    return predict


def parse_args(argv):
    """Return the parsed flags."""
    parser = make_parser(__doc__)
    parser.add_argument("--plan", required=True, help="YAML of plan_experiment")
    parser.add_argument("--model", required=True, help="model.pt of train_model")
    parser.add_argument("--splits", required=True, help="splits.csv")
    parser.add_argument("--shards", required=True, nargs="+", help="shards of cubes")
    parser.add_argument("--part", required=True, help="fold0, fold1, .. or test")
    parser.add_argument(
        "--click-offsets-mm", required=True, nargs="+", type=float, help="distances, mm"
    )
    parser.add_argument("--flips", required=True, choices=("True", "False"), help="test-time flips")
    parser.add_argument("--seed", required=True, type=int, help="seed of the clicks")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--out-predictions", required=True, help="HDF5 to write")
    return parser.parse_args(argv)


def check_part(model: dict, part: str):
    """Raise an InputError when the model was fitted on the part that it would be applied to."""
    if part not in ("test", f"fold{model['fold']}"):
        raise InputError(
            f"the model of fold {model['fold']} would be applied to {part}, which it has seen",
            f"test or fold{model['fold']}",
            "correct --part, or use that fold's own model",
        )


def main(argv=None):
    """Parse, read, predict, write."""
    args = parse_args(argv)
    torch.set_num_threads(args.threads)
    plan, model = read_plan(args.plan), read_model(args.model)
    cubes, splits = open_shards(args.shards), read_table(args.splits, "splits")
    refuse_other_plan(model, plan)
    refuse_other_kind(model, cubes.data_kind)
    check_part(model, args.part)
    chosen = nodules_of(cubes, splits, [args.part])
    method = model["settings"]["method"]
    if method == "network":
        predict = network_predictor(model, cubes=cubes, has_flips=args.flips == "True")
    else:
        predict = baseline_predictor(model, cubes=cubes)
    attributes = {
        key: model[key] for key in ("experiment", "fold", "seed", "threshold", "postprocess")
    }
    attributes |= {"part": args.part, "data_kind": cubes.data_kind, "method": method}
    attributes["made_by"] = provenance(__file__, args)
    names = [str(cubes.nodule_id[k]) for k in chosen]
    shape = {"offsets_mm": args.click_offsets_mm, "cube_vox": cubes.shape_vox}
    with (
        write_whole(args.out_predictions) as temporary,
        PredictionsWriter(temporary, attributes, nodule_id=names, **shape) as writer,
    ):
        for row, k in enumerate(progress(chosen, "nodules")):
            clicks = click_points(
                cubes.readers(k),
                int(cubes.num_readers[k]),
                nodule_id=names[row],
                offsets_mm=args.click_offsets_mm,
                seed=args.seed,
                spacing_mm=cubes.spacing_mm,
            )
            boxes, share = predict(k, clicks)
            for column, click in enumerate(clicks):
                writer.put(row, column, click=click, box=boxes[column], probability=share[column])
    outside = {"in another part of the split": len(cubes) - len(chosen)}
    log_counts("nodules", came_in=len(cubes), dropped=outside, went_out=len(chosen))


if __name__ == "__main__":
    run_command(main)
