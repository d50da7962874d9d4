"""Experiment plans: what a plan holds, whether it can work, and which nodules are whose."""

import pandas as pd
import yaml

from quorum.closed_schema import SCHEMAS, check_against, load_yaml
from quorum.errors import InputError
from quorum.networks import check_crop, check_inputs, complete_network


def make_plan(name: str, settings: dict, consensus) -> dict:
    """Return a complete plan: the settings, checked, with the network's own defaults filled in.

    Raises
    ------
    InputError
        For a missing or unknown key, method, network, loss, target, optimizer or schedule (with
        the nearest valid name), or a crop that the network can't halve.
    """
    schema = load_yaml(SCHEMAS / "config.schema.yaml")["properties"]["train_model"]
    origin = f"the experiment {name}"
    check_against(settings, schema, origin)
    if not any(weight > 0 for weight in settings["losses"].values()):
        raise InputError(f"{origin} has no loss", "a weight above 0", "set train_model.losses")
    settings = {**settings, "network": complete_network(settings["network"])}
    check_crops(settings, origin)
    check_inputs(settings["network"], settings["inputs"])
    return {"name": name, "consensus": consensus, "settings": settings}


def check_crops(settings: dict, origin: str):
    """Raise an InputError for crops the network can't halve, or a training crop that is larger."""
    crop_vox, training_vox = settings["crop_vox"], training_crop(settings)
    check_crop(settings["network"], crop_vox)
    check_crop(settings["network"], training_vox)
    if any(small > large for small, large in zip(training_vox, crop_vox, strict=True)):
        raise InputError(
            f"{origin} has the training crop {list(training_vox)}, larger than {list(crop_vox)}",
            "a training crop inside crop_vox",
            "change training_crop_vox",
        )


def training_crop(settings: dict) -> tuple:
    """Return the crop that training uses: (z, y, x) in voxels."""
    return tuple(settings["training_crop_vox"] or settings["crop_vox"])


def check_cube(settings: dict, cube_vox):
    """Raise an InputError when a crop is larger than the stored cube."""
    if any(side > whole for side, whole in zip(settings["crop_vox"], cube_vox, strict=True)):
        raise InputError(
            f"the crop {list(settings['crop_vox'])} is larger than the cube {list(cube_vox)}",
            "a crop inside the stored cube",
            "lower train_model.crop_vox, or raise extract_cubes.shape_vox",
        )


def read_plan(path) -> dict:
    """Return the plan in a YAML file of plan_experiment.

    Raises
    ------
    InputError
        When it is missing, no YAML, or no plan.
    """
    try:
        plan = load_yaml(path)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            f"the plan {path} can't be read ({str(error).splitlines()[0]})",
            "a YAML file made by plan_experiment",
            "make it again",
        ) from error
    if not isinstance(plan, dict) or not {"name", "settings", "consensus"} <= set(plan):
        raise InputError(
            f"{path} is no plan",
            "a YAML file with name, settings and consensus",
            "make it with the rule plan_experiment",
        )
    made = make_plan(plan["name"], plan["settings"], plan["consensus"])
    return {**made, "diff": plan.get("diff", {})}


def run_parts(fold: int, num_folds: int) -> dict:
    """Return the parts that run `fold` trains on, validates on and is scored on.

    Raises
    ------
    InputError
        When there is no such fold, or no third fold to train on.
    """
    if num_folds < 3 or not 0 <= fold < num_folds:
        raise InputError(
            f"fold {fold} of {num_folds} folds was asked for",
            "at least 3 folds, counted from 0: one scored, one for validation, the rest to train",
            "correct run_folds or split_patients.num_folds",
        )
    held_out = (fold, (fold + 1) % num_folds)
    return {
        "score": [f"fold{fold}"],
        "validate": [f"fold{held_out[1]}"],
        "train": [f"fold{k}" for k in range(num_folds) if k not in held_out],
    }


def nodules_of(cubes, splits: pd.DataFrame, parts: list) -> list:
    """Return the indices in `cubes` of the nodules whose patient is in one of the parts, by id.

    Sorted by nodule_id, so that how nodules fall into shards changes nothing.

    Raises
    ------
    InputError
        When a nodule's patient is in no part of the split, or no nodule is in these parts.
    """
    part_of = dict(zip(splits["patient_id"], splits["part"], strict=True))
    lost = sorted(set(map(str, cubes.patient_id)) - set(part_of))
    if lost:
        raise InputError(
            f"the patient {lost[0]} ({len(lost)} in all) of the shards is in no part of the split",
            "a split of the same cohort",
            "make the split again with split_patients",
        )
    chosen = [k for k in range(len(cubes)) if part_of[str(cubes.patient_id[k])] in parts]
    if not chosen:
        raise InputError(
            f"{' and '.join(parts)} hold no nodule",
            "at least one nodule in every fold that a run uses",
            "use fewer folds, or more patients",
        )
    return sorted(chosen, key=lambda k: str(cubes.nodule_id[k]))
