"""The configuration: its closed schema, its source, its experiments, and who owns `results/`.

Read when Snakemake reads the Snakefile, so nothing here imports more than the standard library,
yaml and jsonschema.
"""

import copy
import difflib
import json
import os
from pathlib import Path

import jsonschema
import yaml

from quorum.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
SCHEMAS = ROOT / "workflow" / "schemas"
EXPERIMENTS = ROOT / "config" / "experiments"
SERIES_RULES = {"phantom": "simulate_series", "local": "find_series"}


def load_yaml(path):
    """Return the content of a YAML file, read safely."""
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


def validate_config(config: dict):
    """Check the configuration and every experiment it names against their closed schemas.

    Raises
    ------
    InputError
        Naming the key, and for an unknown key or name the nearest valid one.
    """
    schema = load_yaml(SCHEMAS / "config.schema.yaml")
    check_against(config, schema, "the configuration")
    known = sorted(path.stem for path in EXPERIMENTS.glob("*.yaml"))
    for name in config["experiments"]:
        if name not in known:
            raise InputError(
                f"the experiment {name!r} is not in config/experiments",
                nearest_phrase(name, known),
                f"correct it, or write config/experiments/{name}.yaml",
            )
        check_against(
            experiment_settings(config, name),
            schema["properties"]["train_model"],
            f"config/experiments/{name}.yaml",
        )
    check_together(config)


def check_together(config: dict):
    """Check what a schema can't: values that must fit each other.

    Raises
    ------
    InputError
        For folds that don't exist, bounds that exclude everything, or a crop larger than the cube.
    """
    num_folds = config["split_patients"]["num_folds"]
    folds = [fold for fold in config["run_folds"] if fold >= num_folds]
    if folds:
        raise InputError(
            f"run_folds names the folds {folds}",
            f"folds from 0 to {num_folds - 1}",
            "correct run_folds, or raise split_patients.num_folds",
        )
    cohort = config["select_nodules"]
    for low, high in (
        ("min_annotations", "max_annotations"),
        ("min_diameter_mm", "max_diameter_mm"),
    ):
        if None not in (cohort[low], cohort[high]) and cohort[low] > cohort[high]:
            raise InputError(
                f"select_nodules.{low} is {cohort[low]} and select_nodules.{high} {cohort[high]}",
                "a lower bound that is not above the upper one",
                "correct one of the two",
            )
    for name in config["experiments"]:
        crop = experiment_settings(config, name)["crop_vox"]
        cube = config["extract_cubes"]["shape_vox"]
        if any(inner > outer for inner, outer in zip(crop, cube, strict=True)):
            raise InputError(
                f"the experiment {name!r} has crop_vox {crop} and a cube is {cube} (z, y, x)",
                "a crop that fits into the cube",
                "lower train_model.crop_vox, or raise extract_cubes.shape_vox",
            )


def check_against(value, schema: dict, origin: str):
    """Raise an InputError for the first place where `value` breaks `schema`."""
    errors = sorted(
        jsonschema.Draft202012Validator(schema).iter_errors(value),
        key=lambda error: (len(error.absolute_path), str(error.absolute_path)),
    )
    if not errors:
        return
    error = errors[0]
    place = ".".join(str(part) for part in error.absolute_path) or "the top level"
    if error.validator == "additionalProperties":
        valid = sorted(error.schema.get("properties", {}))
        unknown = next(key for key in error.instance if key not in valid)
        raise InputError(
            f"{origin} has the unknown key {unknown!r} at {place}",
            nearest_phrase(unknown, valid),
            "correct its spelling or remove it (config/README.md lists every key)",
        )
    if error.validator == "required":
        lacking = next(key for key in error.validator_value if key not in error.instance)
        raise InputError(
            f"{origin} lacks the key {lacking!r} at {place}",
            error.schema["properties"][lacking]["description"],
            "add it (config/README.md lists every key with its default)",
        )
    meaning = error.schema.get("description", "a value that the schema allows")
    raise InputError(
        f"{origin} has {error.instance!r} at {place}",
        f"{meaning} ({error.message})",
        "correct it (config/README.md lists every key with its values)",
    )


def nearest_phrase(name: str, valid: list) -> str:
    """Return a phrase that names the valid name nearest to `name`, or all of them."""
    near = difflib.get_close_matches(str(name), valid, n=1, cutoff=0.5)
    return f"{near[0]!r}, the nearest valid name" if near else f"one of {', '.join(valid)}"


def experiment_settings(config: dict, name: str) -> dict:
    """Return the block `train_model` with the diff of `config/experiments/<name>.yaml`."""
    diff = load_yaml(EXPERIMENTS / f"{name}.yaml") or {}
    settings = merge(config["train_model"], diff)
    return settings


def merge(base: dict, diff: dict) -> dict:
    """Return `base` with `diff` laid over it, key by key at every level."""
    merged = copy.deepcopy(base)
    for key, value in diff.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def source_settings(config: dict) -> dict:
    """Return the source's kind, the rule that supplies its series, and its expanded root.

    Only `source.root` expands an environment variable, and only `$QUORUM_REAL_DATA`.

    Raises
    ------
    InputError
        When a local source has no root, or the variable is not set.
    """
    source = config["source"]
    kind, root = source["kind"], source["root"]
    if kind == "local":
        if not root:
            raise InputError(
                "source.kind is local and source.root is empty",
                "the folder of your own files",
                "set it: --config 'source={root: /path/to/folder}'",
            )
        if "$QUORUM_REAL_DATA" in root and not os.environ.get("QUORUM_REAL_DATA"):
            raise InputError(
                "source.root names $QUORUM_REAL_DATA, which is not set",
                "the environment variable with the folder of real files",
                "export QUORUM_REAL_DATA=/path/to/folder",
            )
        root = root.replace("$QUORUM_REAL_DATA", os.environ.get("QUORUM_REAL_DATA", ""))
        if not Path(root).is_dir():
            raise InputError(
                f"source.root {root!r} is no folder",
                "the folder of your own files",
                "correct source.root in your config file",
            )
    return {**source, "root": root, "rule": SERIES_RULES[kind]}


def results_owner(config: dict) -> dict:
    """Return what a results folder is bound to: the source's kind, root and list of volumes."""
    return {key: config["source"][key] for key in ("kind", "root", "volumes")}


def refuse_other_results(config: dict):
    """Raise an InputError when the results folder was made from another source."""
    marker = Path(config["pathvars"]["results"], "source.json")
    if not marker.is_file():
        return
    owner, ours = json.loads(marker.read_text()), results_owner(config)
    if owner != ours:
        raise InputError(
            f"the folder {marker.parent} holds results of the source {owner}, "
            f"and this run's is {ours}",
            "results of one source in one folder",
            "move that folder away, or choose another: --config 'pathvars={results: other}'",
        )


def claim_results(config: dict):
    """Write down which source the results folder belongs to."""
    marker = Path(config["pathvars"]["results"], "source.json")
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.write_text(json.dumps(results_owner(config), indent=1) + "\n")
