"""Train a 3D network on the readers' suspicion of malignancy, for one fold and seed.

Reads
    --labels  labels.csv of label_malignancy
    --splits  splits.csv: patient_id, part
    --shards  every shard of cubes
Writes
    --out-model    model.pt (torch.load with weights_only=True): weights of the best validation,
                   settings, the threshold chosen on the validation fold, and the baseline
    --out-history  history.csv, one row a step (schema: classifier_history)
Method
    The label is the radiologists' suspicion by one rule of label_malignancy, not a diagnosis;
    nodules that the rule drops are left out. Run k is scored on fold k, validates on fold k + 1
    (mod K) and trains on the other folds, as train_model; the test part is never opened. Crops of
    the same cubes, changed at random as train_model does; binary cross-entropy weighted by class,
    AdamW, one cycle of the learning rate. The weights with the lowest validation loss are kept, and
    the threshold with the highest accuracy there. Beside it stands a baseline: the logistic
    regression of the label on the diameter alone, fitted and cut on the same nodules; that diameter
    is the mean over the readers' own outlines. It trains in minutes: a run that was killed begins
    anew, with the same batches.
Source
    Zhou 2016 (10.1109/CVPR.2016.319) for pooling and head; Loshchilov 2019 (arXiv 1711.05101);
    Smith 2018 (arXiv 1708.07120) for the learning rate.
"""

import json

import numpy as np
import pandas as pd

from quorum.command import LOG, log_counts, make_parser, provenance, run_command
from quorum.plans import run_parts
from quorum.shards import open_shards
from quorum.suspicion import (
    choose_threshold,
    diameter_probability,
    fit_diameter,
    labelled_nodules,
    read_targets,
)
from quorum.tables import column_names, read_table, write_table


def parse_args(argv):
    """Return the parsed flags."""
    parser = make_parser(__doc__)
    parser.add_argument("--labels", required=True, help="labels.csv of label_malignancy")
    parser.add_argument("--label-rule", required=True, help="a rule of that table")
    parser.add_argument("--settings", required=True, help="the block train_classifier as JSON")
    parser.add_argument("--splits", required=True, help="splits.csv")
    parser.add_argument("--shards", required=True, nargs="+", help="shards of cubes")
    parser.add_argument("--fold", required=True, type=int, help="the fold that is scored")
    parser.add_argument("--num-folds", required=True, type=int, help="how many folds there are")
    parser.add_argument("--seed", required=True, type=int, help="seed of weights and batches")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--out-model", required=True, help="model.pt to write")
    parser.add_argument("--out-history", required=True, help="history.csv to write")
    return parser.parse_args(argv)


def fit_network(settings: dict, cubes, *, chosen: dict, targets, args) -> tuple:
    """Return what a run fitted, for its model, and its history's rows.

    Parameters
    ----------
    settings : dict
    cubes : CubeSet
    chosen : dict
        Indices by `train` and `validate`.
    targets : int (n,)
        One a cube.
    args : Namespace
        seed, threads.
    """
    import torch

    from quorum.classifying import fit_classifier, fitted_classifier, predict_logits, suspicion
    from quorum.stores import load_store

    device = "cuda" if torch.cuda.is_available() else "cpu"
    indices = [chosen[name] for name in ("train", "validate")]
    stores = [load_store(cubes, some, workers=args.threads).to(device) for some in indices]
    wanted = [torch.as_tensor(targets[some], dtype=torch.float32) for some in indices]
    weights, weight, rows = fit_classifier(
        stores, wanted, settings, seed=args.seed, device=device
    )  # fmt: skip
    network = fitted_classifier({"settings": settings, "weights": weights}).to(device)
    probability = suspicion(predict_logits(network, stores[1], settings), weight)
    found = {"weights": weights, "positive_weight": weight}
    found["threshold"] = choose_threshold(probability, targets[indices[1]])
    return found, rows


def fit_baseline(diameter_mm, targets, chosen: dict) -> dict:
    """Return the regression on the diameter, fitted on `train`, its threshold of `validate`."""
    train, validate = chosen["train"], chosen["validate"]
    fitted = fit_diameter(diameter_mm[train], targets[train])
    probability = diameter_probability(diameter_mm[validate], fitted)
    return {**fitted, "threshold": choose_threshold(probability, targets[validate])}


def main(argv=None):
    """Parse, read, fit, write."""
    args = parse_args(argv)
    cubes, splits = open_shards(args.shards), read_table(args.splits, "splits")
    targets = read_targets(read_table(args.labels, "malignancy_labels"), args.label_rule, cubes)
    parts = run_parts(args.fold, args.num_folds)
    # The scored fold too, of which only labels are counted: one without both ends here.
    chosen = {name: labelled_nodules(cubes, splits, parts[name], targets) for name in parts}
    for name, some in chosen.items():
        LOG.info("%s: %d nodules, %d suspicious", name, len(some), targets[some].sum())
    import torch

    from quorum.classifying import CLASSIFIER_FILE, check_settings
    from quorum.models import write_model

    torch.set_num_threads(args.threads)
    settings = json.loads(args.settings)
    check_settings(settings, cubes.shape_vox)
    found, rows = fit_network(settings, cubes, chosen=chosen, targets=targets, args=args)
    found["diameter"] = fit_baseline(np.asarray(cubes.diameter_mm), targets, chosen)
    run = {"label_rule": args.label_rule, "fold": args.fold, "seed": args.seed}
    run["data_kind"] = cubes.data_kind
    history = pd.DataFrame(rows).assign(**run)[column_names("classifier_history")]
    write_table(history, args.out_history, "classifier_history", provenance(__file__, args))
    model = {**run, "num_folds": args.num_folds, "settings": settings, **found}
    write_model(args.out_model, model, CLASSIFIER_FILE)
    num_used = sum(map(len, chosen.values()))
    dropped = {"dropped by the rule": int((targets < 0).sum())}
    dropped["in the test part"] = len(cubes) - num_used - dropped["dropped by the rule"]
    log_counts("nodules", came_in=len(cubes), dropped=dropped, went_out=num_used)


if __name__ == "__main__":
    run_command(main)
