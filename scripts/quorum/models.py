"""The file model.pt: what a run fitted, and what it may be applied to."""

import pickle

import torch

from quorum.errors import InputError
from quorum.files import write_whole

SCHEMA, SCHEMA_VERSION = "quorum-model", 3


def write_model(path, model: dict):
    """Write a fitted model whole.

    Parameters
    ----------
    path : str or Path
    model : dict
        experiment, settings, consensus, fold, num_folds, seed, data_kind, spacing_mm, threshold
        and postprocess (chosen on the validation fold), and `numbers` (a baseline's) or `weights`,
        temperature, is_flipped and answers (a network's; see quorum.evaluation.choose_answer).
    """
    with write_whole(path) as temporary:
        torch.save({"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **model}, temporary)


def read_model(path) -> dict:
    """Return a fitted model.

    Raises
    ------
    InputError
        When the file is missing, damaged, or no model.
    """
    try:
        model = torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(
            f"the model {path} can't be read ({str(error).splitlines()[0]})",
            "a model.pt of train_model",
            "train it again",
        ) from error
    if not isinstance(model, dict) or model.get("schema") != SCHEMA:
        raise InputError(f"{path} is no model", "a model.pt of train_model", "train it again")
    if model["schema_version"] != SCHEMA_VERSION:
        raise InputError(
            f"{path} is of schema version {model['schema_version']}",
            f"version {SCHEMA_VERSION}",
            "train it again",
        )
    return model


def refuse_other_kind(model: dict, data_kind: str):
    """Raise an InputError when phantoms and real images would meet in one model."""
    if (model["data_kind"] == "phantom") != (data_kind == "phantom"):
        raise InputError(
            f"the model was fitted on {model['data_kind']} data, the shards hold {data_kind} data",
            "a model and shards that are both phantom or both real",
            "train on the same source: phantom weights hold held-out patients' shapes",
        )


def refuse_other_plan(model: dict, plan: dict):
    """Raise an InputError when a model was fitted under another plan."""
    if model["experiment"] != plan["name"] or model["settings"] != plan["settings"]:
        theirs, ours = model["settings"], plan["settings"]
        keys = [key for key in sorted({*theirs, *ours}) if theirs.get(key) != ours.get(key)]
        raise InputError(
            f"the model was fitted for the experiment {model['experiment']} and the plan is "
            f"{plan['name']} (differing: {', '.join(keys) or 'the name'})",
            "weights of the plan's own network",
            "train this experiment, or give the plan that belongs to the model",
        )
