"""The file model.pt: what a run fitted, and what it may be applied to."""

import pickle
from dataclasses import dataclass

import torch

from quorum.errors import InputError
from quorum.files import write_whole


@dataclass(frozen=True)
class ModelFile:
    """What kind of model a file holds, and which script makes it."""

    schema: str
    version: int
    made_by: str


SEGMENTATION_FILE = ModelFile("quorum-model", 3, "train_model")


def write_model(path, model: dict, kind: ModelFile = SEGMENTATION_FILE):
    """Write a fitted model whole.

    Parameters
    ----------
    path : str or Path
    model : dict
        Of a segmentation: experiment, settings, consensus, fold, num_folds, seed, data_kind,
        spacing_mm, threshold and postprocess (chosen on the validation fold), and `numbers` (a
        baseline's) or `weights`, temperature, is_flipped and answers (a network's; see
        quorum.evaluation.choose_answer). Of a classifier: see quorum.classifying.
    """
    with write_whole(path) as temporary:
        torch.save({"schema": kind.schema, "schema_version": kind.version, **model}, temporary)


def read_model(path, kind: ModelFile = SEGMENTATION_FILE) -> dict:
    """Return a fitted model.

    Raises
    ------
    InputError
        When the file is missing, damaged, no model, or one of another kind or version.
    """
    expected = f"a model.pt of {kind.made_by} ({kind.schema} version {kind.version})"
    mend = f"train it again with {kind.made_by}"
    try:
        model = torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise InputError(
            f"the model {path} can't be read ({str(error).splitlines()[0]})", expected, mend
        ) from error
    model = model if isinstance(model, dict) else {}
    found = model.get("schema"), model.get("schema_version")
    if found != (kind.schema, kind.version):
        told = "no model" if found[0] is None else f"a {found[0]} of version {found[1]}"
        raise InputError(f"{path} holds {told}", expected, mend)
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
