"""Score the classifiers of one label on the folds that they held out, beside the diameter alone.

Reads
    --models  model.pt of train_classifier, of every fold and seed
    --labels  labels.csv of label_malignancy
    --splits  splits.csv: patient_id, part
    --shards  every shard of cubes
Writes
    --out-scores       one row a nodule, fold and seed (schema: classifier_scores)
    --out-summary      AUROC, average precision, accuracy, Brier score and calibration error of the
                       classifier, of the diameter alone, and their difference (classifier_summary)
    --out-calibration  the share of suspicious nodules by predicted probability
                       (classifier_calibration)
Method
    The label is the radiologists' suspicion, not a diagnosis. The probability of a nodule is that
    of its middle crop, corrected for the weights of the classes. Folds of a seed are pooled, seeds
    averaged; 95 % intervals by resampling whole patients (quorum.bootstrap), the same draws for
    classifier and diameter.
Source
    Measures: scikit-learn. Efron and Tibshirani 1993 for the interval.
"""

import numpy as np
import pandas as pd

from quorum.command import LOG, log_counts, make_parser, progress, provenance, run_command
from quorum.errors import InputError
from quorum.shards import open_shards
from quorum.suspicion import (
    SUSPICIOUS,
    UNSUSPICIOUS,
    calibrate,
    diameter_probability,
    labelled_nodules,
    read_targets,
    summarize,
)
from quorum.tables import column_names, read_table, write_table

TABLES = ("scores", "summary", "calibration")


def parse_args(argv):
    """Return the parsed flags."""
    parser = make_parser(__doc__)
    parser.add_argument("--models", required=True, nargs="+", help="model.pt of every run")
    parser.add_argument("--labels", required=True, help="labels.csv of label_malignancy")
    parser.add_argument("--label-rule", required=True, help="a rule of that table")
    parser.add_argument("--splits", required=True, help="splits.csv")
    parser.add_argument("--shards", required=True, nargs="+", help="shards of cubes")
    parser.add_argument("--resamples", required=True, type=int, help="bootstrap resamples")
    parser.add_argument("--seed", required=True, type=int, help="seed of the resamples")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    for name in TABLES:
        parser.add_argument(f"--out-{name}", required=True, help="CSV to write")
    return parser.parse_args(argv)


def score_run(model: dict, cubes, chosen: list, targets) -> pd.DataFrame:
    """Return the rows of one run: its probability of each nodule of its scored fold.

    Parameters
    ----------
    model : dict
        Of quorum.models.read_model.
    cubes : CubeSet
    chosen : list of int
        The nodules of the fold that have a label.
    targets : int (n,)
        One a cube.
    """
    import torch

    from quorum.classifying import fitted_classifier, predict_logits, suspicion
    from quorum.stores import load_store

    device = "cuda" if torch.cuda.is_available() else "cpu"
    network, store = fitted_classifier(model).to(device), load_store(cubes, chosen).to(device)
    logits = predict_logits(network, store, model["settings"])
    probability = suspicion(logits, model["positive_weight"])
    diameter_mm = np.asarray(cubes.diameter_mm)[chosen]
    return pd.DataFrame({
        **{name: model[name] for name in ("label_rule", "fold", "seed")},
        "nodule_id": [str(cubes.nodule_id[k]) for k in chosen],
        "patient_id": [str(cubes.patient_id[k]) for k in chosen],
        "data_kind": cubes.data_kind,
        "label": np.where(targets[chosen] == 1, SUSPICIOUS, UNSUSPICIOUS),
        "probability": probability,
        "threshold": model["threshold"],
        "diameter_mm": diameter_mm,
        "diameter_probability": diameter_probability(diameter_mm, model["diameter"]),
        "diameter_threshold": model["diameter"]["threshold"],
    })  # fmt: skip


def read_models(paths, label_rule: str, data_kind: str) -> list:
    """Return the classifiers, each of this label, no run twice."""
    from quorum.classifying import CLASSIFIER_FILE, refuse_other_run
    from quorum.models import read_model

    models = [read_model(path, CLASSIFIER_FILE) for path in paths]
    for model in models:
        refuse_other_run(model, label_rule, data_kind)
    runs = [(model["fold"], model["seed"]) for model in models]
    if len(set(runs)) < len(runs):
        raise InputError(
            "a fold and seed has two models", "one model a fold and seed", "name each model once"
        )
    return models


def main(argv=None):
    """Parse, read, score, write."""
    args = parse_args(argv)
    import torch

    torch.set_num_threads(args.threads)
    cubes, splits = open_shards(args.shards), read_table(args.splits, "splits")
    targets = read_targets(read_table(args.labels, "malignancy_labels"), args.label_rule, cubes)
    parts = []
    for model in progress(read_models(args.models, args.label_rule, cubes.data_kind), "runs"):
        chosen = labelled_nodules(cubes, splits, [f"fold{model['fold']}"], targets)
        parts.append(score_run(model, cubes, chosen, targets))
    scores = pd.concat(parts, ignore_index=True)
    summary = summarize(scores, resamples=args.resamples, seed=args.seed)
    for row in summary:
        if row["fold"] is None and row["measure"] == "auroc":
            LOG.info("%s: AUROC %.3f (%.3f to %.3f), n = %d", row["subject"], row["value"],
                     row["low"], row["high"], row["num_nodules"])  # fmt: skip
    made_by = provenance(__file__, args)
    for name, rows in zip(TABLES, (scores, summary, calibrate(scores)), strict=True):
        table = f"classifier_{name}"
        frame = pd.DataFrame(rows, columns=column_names(table))
        write_table(frame, getattr(args, f"out_{name}"), table, made_by)
    num_scored = scores["nodule_id"].nunique()
    dropped = {"dropped by the rule": int((targets < 0).sum())}
    dropped["in another part of the split"] = len(cubes) - num_scored - sum(dropped.values())
    log_counts("nodules", came_in=len(cubes), dropped=dropped, went_out=num_scored)


if __name__ == "__main__":
    run_command(main)
