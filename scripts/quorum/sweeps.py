"""Sweeps: an experiment's YAML that names several values becomes several experiments.

    sweep: {optimizer.learning_rate: [0.001, 0.003], target: [majority, soft]}  # each with each
    sweep: [{batch_size: 2, max_steps: 4000}, {batch_size: 4, max_steps: 2000}]  # these alone
    seeds: [0, 1, 2]  # in place of the configuration's

Each point is an experiment of its own, `<name>~learning_rate=0.001~target=soft`, a wildcard as
any other; `experiments: [<name>]` stands for all of them.
"""

import itertools
import re

from quorum.errors import InputError

OWN_KEYS = ("sweep", "seeds")
NAME = re.compile(r"[a-z0-9_]+(~[a-z0-9_]+=[A-Za-z0-9.+_-]+)*")


def sweep_points(name: str, content: dict) -> dict:
    """Return the diff of every experiment that a file stands for, by the experiment's name.

    Parameters
    ----------
    name : str
        The file's.
    content : dict
        What it holds.

    Returns
    -------
    dict
        Nested diffs without `sweep` and `seeds`; one, of the name itself, where nothing is swept.

    Raises
    ------
    InputError
        When the sweep is no grid or list of points, or two points would have one name.
    """
    sweep = content.get("sweep")
    if sweep is None:
        return {name: {}}
    points = read_points(name, sweep)
    keys = sorted({key for point in points for key in point})
    last = [key.split(".")[-1] for key in keys]
    short = {
        key: end if last.count(end) == 1 else key.replace(".", "_")
        for key, end in zip(keys, last, strict=True)
    }
    found = {}
    for point in points:
        parts = [f"{short[key]}={value_text(point[key])}" for key in sorted(point)]
        full = "~".join([name, *parts])
        if full in found or not NAME.fullmatch(full):
            raise InputError(
                f"the sweep of config/experiments/{name}.yaml gives {full!r} "
                f"{'twice' if full in found else ', which is no name'}",
                "points that differ, with values of letters, digits and . + - _",
                "correct the sweep",
            )
        found[full] = nested(point)
    return found


def read_points(name: str, sweep) -> list:
    """Return a sweep's points, each a dict of dotted keys to values."""
    if isinstance(sweep, dict) and sweep and all(isinstance(v, list) and v for v in sweep.values()):
        return [
            dict(zip(sweep, values, strict=True)) for values in itertools.product(*sweep.values())
        ]
    if isinstance(sweep, list) and sweep and all(isinstance(p, dict) and p for p in sweep):
        return sweep
    raise InputError(
        f"config/experiments/{name}.yaml has the sweep {sweep!r}",
        "dotted keys of train_model, each with a list of values; or a list of such points",
        "correct the sweep",
    )


def value_text(value) -> str:
    """Return a value as a part of a name: lists joined by x, null as none."""
    if isinstance(value, list):
        return "x".join(value_text(member) for member in value)
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return str(value)


def nested(point: dict) -> dict:
    """Return dotted keys as nested dicts."""
    found = {}
    for dotted, value in point.items():
        *path, key = dotted.split(".")
        place = found
        for part in path:
            place = place.setdefault(part, {})
        place[key] = value
    return found
