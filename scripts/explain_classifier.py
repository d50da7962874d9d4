"""Where a classifier looked: activation maps of a few nodules, beside those of drawn weights.

Reads
    --model   model.pt of train_classifier
    --scores  table classifier_scores: the run's own answers
    --shards  every shard of cubes
Writes
    --out-maps     HDF5 (see scripts/quorum/explanation_files.py): map and random, float16 (nodule,
                   method, z, y, x) on the stored cube's grid, 0 to 1
    --out-sanity   table explanation_sanity: how alike maps are after weights were drawn anew
Method
    Nodules drawn by the seed among those of the run's scored fold that it called suspicious. Every
    method asks what raises the logit of suspicion, by the code of explain_predictions with the
    whole crop in place of what a network drew. The class activation map is exact: the logit is its
    mean over the crop, plus the bias, before what lowers the logit is cut off. The sanity check as
    there.
Source
    Zhou 2016 (10.1109/CVPR.2016.319); Selvaraju 2017 (10.1109/ICCV.2017.74); the sanity check:
    Adebayo 2018 (arXiv 1810.03292).
"""

import numpy as np
import pandas as pd

from quorum.command import log_counts, make_parser, progress, provenance, run_command
from quorum.errors import InputError
from quorum.explanation_files import CLASSIFIER, WORDS, write_explanations
from quorum.files import write_whole
from quorum.shards import open_shards
from quorum.tables import column_names, read_table, write_table


def parse_args(argv):
    """Return the parsed flags."""
    parser = make_parser(__doc__)
    parser.add_argument("--model", required=True, help="model.pt of train_classifier")
    parser.add_argument("--scores", required=True, help="scores of score_classifier")
    parser.add_argument("--shards", required=True, nargs="+", help="shards of cubes")
    parser.add_argument("--num-nodules", required=True, type=int, help="nodules to explain")
    parser.add_argument("--methods", required=True, nargs="+", choices=list(WORDS))
    parser.add_argument("--patch-vox", required=True, nargs=3, type=int, help="for occlusion")
    parser.add_argument("--seed", required=True, type=int, help="of nodules and drawn weights")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--out-maps", required=True, help="HDF5 to write")
    parser.add_argument("--out-sanity", required=True, help="CSV to write")
    return parser.parse_args(argv)


def choose_nodules(scores: pd.DataFrame, model: dict, *, count: int, seed: int) -> tuple:
    """Return up to `count` nodules that a run called suspicious, how many it did not, and all.

    Raises
    ------
    InputError
        When the table has no row of the run.
    """
    run = {name: model[name] for name in ("label_rule", "fold", "seed")}
    rows = scores[np.logical_and.reduce([scores[name] == run[name] for name in run])]
    if not len(rows):
        raise InputError(
            f"the scores hold nothing of {run}", "scores of the model's run", "score it first"
        )
    called = sorted(rows.loc[rows["probability"] >= rows["threshold"], "nodule_id"])
    order = np.random.default_rng(seed).permutation(len(called))
    return [called[k] for k in order[:count]], len(rows) - len(called), len(rows)


def explain_all(model: dict, cubes, chosen: list, args) -> tuple:
    """Return the methods, maps on the cubes' grid, and the check's rows."""
    from quorum.classifying import fitted_classifier, make_classifier, middle_crop, middle_start
    from quorum.explaining import explain_crops
    from quorum.stores import load_store

    settings = model["settings"]
    fresh = make_classifier(settings, model["seed"] + args.seed + 1).eval()
    place = {str(name): index for index, name in enumerate(cubes.nodule_id)}
    start, mask = middle_start(cubes.shape_vox, settings), np.ones(settings["crop_vox"], bool)
    crops = (
        (name, start, middle_crop(load_store(cubes, [place[name]]), 0, settings), mask)
        for name in progress(chosen, "nodules")
    )
    options = {"patch_vox": args.patch_vox, "cube_vox": cubes.shape_vox}
    networks = (fitted_classifier(model), fresh)
    return explain_crops(networks, crops, methods=args.methods, **options)


def main(argv=None):
    """Parse, read, explain, write."""
    args = parse_args(argv)
    import torch

    from quorum.classifying import CLASSIFIER_FILE, refuse_other_run
    from quorum.models import read_model

    torch.set_num_threads(args.threads)
    model, cubes = read_model(args.model, CLASSIFIER_FILE), open_shards(args.shards)
    refuse_other_run(model, model["label_rule"], cubes.data_kind)
    scores = read_table(args.scores, "classifier_scores")
    chosen, num_other, num_scored = choose_nodules(
        scores, model, count=args.num_nodules, seed=args.seed
    )
    methods, found, rows = explain_all(model, cubes, chosen, args)
    run = {"experiment": f"{CLASSIFIER}{model['label_rule']}"}
    run |= {key: model[key] for key in ("fold", "seed")} | {"data_kind": cubes.data_kind}
    made_by = provenance(__file__, args)
    with write_whole(args.out_maps) as temporary:
        attributes = {**run, "methods": methods, "made_by": made_by}
        write_explanations(temporary, attributes, nodule_id=chosen, found=found)
    columns = column_names("explanation_sanity")
    sanity = pd.DataFrame([{**run, **row} for row in rows], columns=columns)
    write_table(sanity, args.out_sanity, "explanation_sanity", made_by)
    dropped = {"not called suspicious": num_other}
    dropped["beyond --num-nodules"] = num_scored - num_other - len(chosen)
    log_counts("nodules", came_in=num_scored, dropped=dropped, went_out=len(chosen))


if __name__ == "__main__":
    run_command(main)
