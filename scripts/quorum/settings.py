"""The configuration: its closed schema, its source, its experiments, and who owns `results/`.

Read when Snakemake reads the Snakefile, so nothing here imports more than the standard library,
yaml and jsonschema.
"""

import json
import os
from pathlib import Path

from quorum.closed_schema import (
    SCHEMAS,
    check_against,
    load_yaml,
    merge,
    nearest_phrase,
    read_typed,
)
from quorum.errors import InputError
from quorum.files import write_whole
from quorum.sweeps import OWN_KEYS, sweep_points

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = ROOT / "config" / "experiments"
SERIES_RULES = {
    "phantom": "simulate_series",
    "local": "find_series",
    "idc": "download_series",
    "tcia": "download_series",
}


def type_config(config: dict):
    """Give values that the command line set the type that the schema wants, in place."""
    config.update(read_typed(config, load_yaml(SCHEMAS / "config.schema.yaml")))


def validate_config(config: dict):
    """Check the configuration and every experiment it names against their closed schemas.

    Raises
    ------
    InputError
        Naming the key, and for an unknown key or name the nearest valid one.
    """
    # Here, because that package checks its own keys with this project's schema functions.
    from quorum.networks import complete_network

    schema = load_yaml(SCHEMAS / "config.schema.yaml")
    check_against(config, schema, "the configuration")
    for name in experiment_names(config):
        settings = experiment_settings(config, name)
        schema_of_block = schema["properties"]["train_model"]
        check_against(settings, schema_of_block, f"config/experiments/{name}.yaml")
        seeds_of(config, name)
        if settings["method"] == "network":
            complete_network(settings["network"])
    check_together(config)


def check_together(config: dict):
    """Check what a schema can't: values that must fit each other.

    Raises
    ------
    InputError
        For folds that don't exist, bounds that exclude everything, a crop larger than the cube, or
        native images that are gone when they are wanted.
    """
    num_folds = config["split_patients"]["num_folds"]
    folds = [fold for fold in config["run_folds"] if fold >= num_folds]
    if folds:
        raise InputError(
            f"run_folds names the folds {folds}",
            f"folds from 0 to {num_folds - 1}",
            "correct run_folds, or raise split_patients.num_folds",
        )
    check_native(config)
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
    for name in experiment_names(config):
        crop = experiment_settings(config, name)["crop_vox"]
        cube = config["extract_cubes"]["shape_vox"]
        if any(inner > outer for inner, outer in zip(crop, cube, strict=True)):
            raise InputError(
                f"the experiment {name!r} has crop_vox {crop} and a cube is {cube} (z, y, x)",
                "a crop that fits into the cube",
                "lower train_model.crop_vox, or raise extract_cubes.shape_vox",
            )


def check_native(config: dict):
    """Raise an InputError when nnU-Net wants images that go as soon as their cubes are made."""
    wants = config["train_nnunet"]["schedules"] and "native" in config["train_nnunet"]["inputs"]
    source = config["source"]
    if wants and source["kind"] != "local" and not source["keep_dicom"]:
        raise InputError(
            "train_nnunet.inputs names native, and the images go once their cubes are written",
            "images that stay",
            "set source.keep_dicom: true, or take inputs: [cubes]",
        )


def read_experiment(name: str) -> dict:
    """Return what `config/experiments/<name>.yaml` holds; of a sweep's point, the sweep's file.

    Raises
    ------
    InputError
        When there is no such file, with the nearest name.
    """
    stem = name.partition("~")[0]
    known = sorted(path.stem for path in EXPERIMENTS.glob("*.yaml"))
    if stem not in known:
        raise InputError(
            f"the experiment {name!r} is not in config/experiments",
            nearest_phrase(stem, known),
            f"correct it, or write config/experiments/{stem}.yaml",
        )
    return load_yaml(EXPERIMENTS / f"{stem}.yaml") or {}


def experiment_names(config: dict) -> list:
    """Return the experiments that the configuration names, a sweep as its points."""
    names = []
    for name in config["experiments"]:
        content = read_experiment(name)
        names += [name] if "~" in name else sweep_points(name, content)
    return list(dict.fromkeys(names))


def seeds_of(config: dict, name: str) -> list:
    """Return the seeds of an experiment: its own, or the configuration's.

    Raises
    ------
    InputError
        When its own are no list of whole numbers.
    """
    content = read_experiment(name)
    if "seeds" not in content:
        return config["seeds"]
    schema = load_yaml(SCHEMAS / "config.schema.yaml")["properties"]["seeds"]
    origin = f"config/experiments/{name.partition('~')[0]}.yaml, seeds,"
    check_against(content["seeds"], schema, origin)
    return content["seeds"]


def experiment_diff(name: str) -> dict:
    """Return how an experiment differs from the block `train_model`: its file, and its point.

    Raises
    ------
    InputError
        When the sweep has no such point, with the nearest name.
    """
    content, stem = read_experiment(name), name.partition("~")[0]
    points = sweep_points(stem, content)
    # Without a point, a sweep's name stands for what all its points share.
    if name not in points and name != stem:
        raise InputError(
            f"the experiment {name!r} is no point of config/experiments/{stem}.yaml",
            nearest_phrase(name, sorted(points)),
            "correct it, or name the sweep for all its points",
        )
    return merge({k: v for k, v in content.items() if k not in OWN_KEYS}, points.get(name, {}))


def experiment_settings(config: dict, name: str) -> dict:
    """Return the block `train_model` with the experiment's diff laid over it.

    The keys of `network` belong to the network that is named: where the experiment names another
    one, none of the base's are taken over.
    """
    base, diff = config["train_model"], experiment_diff(name)
    other = diff.get("network", {}).get("name", base["network"].get("name"))
    if other != base["network"].get("name"):
        base = {**base, "network": {}}
    return merge(base, diff)


def source_settings(config: dict) -> dict:
    """Return the source's kind, the rule that supplies its series, and its expanded root.

    A source of our own has the working folder as root: its paths are relative to that. Only
    `source.root` expands an environment variable, and only `$QUORUM_REAL_DATA`.

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
    return {**source, "root": root or ".", "rule": SERIES_RULES[kind]}


def is_streamed(source: dict) -> bool:
    """Tell whether a shard's images go as soon as its cubes are made, before others are fetched."""
    return source["kind"] in ("idc", "tcia") and not source["keep_dicom"]


def shards_at_once(config: dict) -> int:
    """Return how many shards' images may be on the disk at the same time: all, if not streamed."""
    source, num_shards = config["source"], config["plan_shards"]["num_shards"]
    return source["concurrent_shards"] if is_streamed(source) else num_shards


def fill_in_path(config: dict, path: str) -> str:
    """Return a path with `<results>` and the like filled in from the block `pathvars`.

    Raises
    ------
    InputError
        When path variables name each other in a circle.
    """
    pathvars = config["pathvars"]
    for _ in range(len(pathvars) + 1):
        for name, value in pathvars.items():
            path = path.replace(f"<{name}>", value)
    if any(f"<{name}>" in path for name in pathvars):
        raise InputError(
            f"the path variables name each other in a circle ({pathvars})",
            "paths",
            "correct the block pathvars",
        )
    return path


def results_owner(config: dict) -> dict:
    """Return what a results folder is bound to: the source's kind, root and list of volumes."""
    return {key: config["source"][key] for key in ("kind", "root", "volumes")}


def refuse_other_results(config: dict):
    """Raise an InputError when the results folder was made from another source."""
    marker = Path(fill_in_path(config, "<results>/source.json"))
    if not marker.is_file():
        return
    try:
        owner, ours = json.loads(marker.read_text()), results_owner(config)
    except ValueError as error:
        raise InputError(
            f"{marker} can't be read ({error})",
            "the name of the source that the folder's results were made from",
            f"remove {marker} if they are of this run's source, else move the folder away",
        ) from error
    if owner != ours:
        raise InputError(
            f"the folder {marker.parent} holds results of the source {owner}, "
            f"and this run's is {ours}",
            "results of one source in one folder",
            "move that folder away, or choose another: --config 'pathvars={results: other}'",
        )


def claim_results(config: dict):
    """Write down which source the results folder belongs to."""
    marker = Path(fill_in_path(config, "<results>/source.json"))
    with write_whole(marker) as temporary:
        temporary.write_text(json.dumps(results_owner(config), indent=1) + "\n")
