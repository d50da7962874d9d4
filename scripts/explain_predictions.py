"""Where a network looked: activation maps of a few nodules, beside those of drawn weights.

Reads
    --plan         YAML of plan_experiment
    --model        model.pt of train_model
    --predictions  HDF5 of predict_cubes of the same run: clicks, crops and the answer
    --shards       every shard of cubes
    --slices       slices.parquet, where the network's inputs hold the place in the chest
Writes
    --out-maps     HDF5 (see scripts/quorum/explanation_files.py): map and random, float16 (nodule,
                   method, z, y, x) on the stored cube's grid, 0 to 1
    --out-sanity   table explanation_sanity: how alike maps are after weights were drawn anew
Method
    Nodules drawn by the seed among those in which the network drew anything, the click nearest to
    the centre. Every method asks the same: what raises the logit, on average over what the trained
    network drew (see scripts/quorum/explaining.py). The sanity check draws the last quarter, half,
    three quarters, and all of the layers' weights anew and maps again: a map that stays the same
    explains the picture, not the network. Occlusion is drawn anew for all layers alone.
Source
    Selvaraju 2017 (10.1109/ICCV.2017.74); the sanity check: Adebayo 2018 (arXiv 1810.03292).
"""

import numpy as np
import pandas as pd

from quorum.command import LOG, log_counts, make_parser, progress, provenance, run_command
from quorum.errors import InputError
from quorum.explanation_files import WORDS, write_explanations
from quorum.files import write_whole
from quorum.plans import read_plan
from quorum.predictions import open_predictions
from quorum.shards import open_shards, readable
from quorum.tables import column_names, write_table


def read_answers(path, model: dict, names) -> tuple:
    """Return the chosen answers of a run, and how many nodules had none.

    Returns
    -------
    answers : dict
        nodule_id to (z0 y0 x0 of the crop, bool mask in the crop).
    num_empty : int
    """
    answers, num_empty = {}, 0
    with readable(path), open_predictions(path) as file:
        run = {key: file.attrs[key] for key in ("experiment", "fold", "seed")}
        if run != {key: model[key] for key in run}:
            raise InputError(
                f"{path} is of {run}",
                f"predictions of {model['experiment']}, fold {model['fold']}, seed {model['seed']}",
                "give model and predictions of one run",
            )
        ids = file["nodule_id"].asstr()[()].tolist()
        column = int(np.argmin(file["offsets_mm"][()]))
        for name in names(ids):
            row = ids.index(name)
            box = file["inside_crop"][row, column].astype(int)
            window = tuple(slice(a, b) for a, b in zip(box[:3], box[3:], strict=True))
            mask = file["probability"][row, column][window] >= file.attrs["threshold"]
            if mask.any():
                answers[name] = (box[:3], mask)
            else:
                num_empty += 1
    return answers, num_empty


def chooser(count: int, seed: int):
    """Return a function that draws up to `count` of some ids, the same ones at each call."""

    def choose(ids):
        order = np.random.default_rng(seed).permutation(len(ids))
        return [ids[k] for k in order[:count]]

    return choose


def crop_inputs(cubes, index: int, start, settings: dict):
    """Return what the network sees of one nodule: float32 (1, channels, z, y, x)."""
    from quorum.batches import cut_batch, plain_draw
    from quorum.stores import load_store

    store = load_store(cubes, [index])
    return cut_batch(store, plain_draw([0], start), tuple(settings["crop_vox"]), settings)[0]


def parse_args(argv):
    """Return the parsed flags."""
    parser = make_parser(__doc__)
    for name, words in (("plan", "YAML of plan_experiment"), ("model", "model.pt of train_model"),
                        ("predictions", "HDF5 of predict_cubes")):  # fmt: skip
        parser.add_argument(f"--{name}", required=True, help=words)
    parser.add_argument("--shards", required=True, nargs="+", help="shards of cubes")
    parser.add_argument("--slices", nargs="*", help="slices.parquet, where inputs hold the place")
    parser.add_argument("--num-nodules", required=True, type=int, help="nodules to explain")
    parser.add_argument("--methods", required=True, nargs="+", choices=list(WORDS))
    parser.add_argument("--patch-vox", required=True, nargs=3, type=int, help="for occlusion")
    parser.add_argument("--seed", required=True, type=int, help="of nodules and drawn weights")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--out-maps", required=True, help="HDF5 to write")
    parser.add_argument("--out-sanity", required=True, help="CSV to write")
    return parser.parse_args(argv)


def read_run(args) -> tuple:
    """Return the model and the cubes that the flags name, checked to belong together."""
    from quorum.models import read_model, refuse_other_kind, refuse_other_plan
    from quorum.places import add_places

    plan, model, cubes = read_plan(args.plan), read_model(args.model), open_shards(args.shards)
    add_places(cubes, plan["settings"], args.slices)
    refuse_other_plan(model, plan)
    refuse_other_kind(model, cubes.data_kind)
    if model["settings"]["method"] != "network":
        raise InputError(
            f"{model['experiment']} is no network", "a network", "explain another experiment"
        )
    return model, cubes


def explain_all(model: dict, cubes, answers: dict, args) -> tuple:
    """Return the methods that the head allows, maps on the cubes' grid, and the check's rows."""
    from quorum.explaining import explain_crops
    from quorum.predicting import fitted_network
    from quorum.training import make_network

    fresh = make_network(model["settings"], model["seed"] + args.seed + 1).eval()
    place = {str(name): index for index, name in enumerate(cubes.nodule_id)}
    crops = (
        (name, start, crop_inputs(cubes, place[name], start, model["settings"]), mask)
        for name, (start, mask) in progress(answers.items(), "nodules")
    )
    options = {"patch_vox": args.patch_vox, "cube_vox": cubes.shape_vox}
    networks = (fitted_network(model), fresh)
    found = explain_crops(networks, crops, methods=args.methods, **options)
    for lacking in sorted(set(args.methods) - set(found[0])):
        LOG.info("no %s: the head of %s does not allow it", WORDS[lacking], model["experiment"])
    return found


def main(argv=None):
    """Parse, read, explain, write."""
    args = parse_args(argv)
    import torch

    torch.set_num_threads(args.threads)
    model, cubes = read_run(args)
    choose = chooser(args.num_nodules, args.seed)
    answers, num_empty = read_answers(args.predictions, model, choose)
    methods, found, rows = explain_all(model, cubes, answers, args)
    run = {key: model[key] for key in ("experiment", "fold", "seed")}
    run["data_kind"], made_by = cubes.data_kind, provenance(__file__, args)
    attributes = {**run, "methods": methods, "made_by": made_by}
    with write_whole(args.out_maps) as temporary:
        write_explanations(temporary, attributes, nodule_id=list(answers), found=found)
    columns = column_names("explanation_sanity")
    sanity = pd.DataFrame([{**run, **row} for row in rows], columns=columns)
    write_table(sanity, args.out_sanity, "explanation_sanity", made_by)
    dropped = {"the network drew nothing": num_empty}
    log_counts("nodules", came_in=len(answers) + num_empty, dropped=dropped, went_out=len(answers))


if __name__ == "__main__":
    run_command(main)
