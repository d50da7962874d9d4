"""Files of one run in a results folder, for scripts that a person starts."""

import importlib.util
import json
from pathlib import Path

from quorum.errors import InputError

ENSEMBLE = -1  # fold of an ensemble


def require_packages(*names: str):
    """Raise an InputError when a package that only exports need is not installed."""
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"the package {missing[0]} is not installed",
            "what envs/requirements-export.txt names",
            "run: make env-export",
        )


def run_name(fold: int, seed: int) -> str:
    """Return a run's name below its experiment, as the rules write it; fold -1 is the ensemble."""
    return "ensemble" if fold == ENSEMBLE else f"fold{fold}_seed{seed}"


def add_run_flags(parser):
    """Add the flags that say which predictions are handed on."""
    parser.add_argument("--results", default="results", help="the results folder")
    parser.add_argument("--experiment", required=True, help="whose predictions")
    parser.add_argument("--fold", type=int, default=0, help="the run's fold")
    parser.add_argument("--seed", type=int, default=0, help="the run's seed")
    parser.add_argument(
        "--ensemble", dest="fold", action="store_const", const=ENSEMBLE,
        help="in place of --fold and --seed: all runs together, on the locked test part",
    )  # fmt: skip
    parser.add_argument("--consensus", default="majority", help="as in the configuration")
    parser.add_argument("--nodules", nargs="*", help="nodule or patient ids; all by default")


def run_file(results, rule: str, experiment: str, *, name: str) -> Path:
    """Return `<results>/<rule>/<experiment>/<name>`.

    Raises
    ------
    InputError
        When the experiment or the run isn't there, with those that are.
    """
    folder = Path(results, rule)
    if not (folder / experiment).is_dir():
        there = (
            sorted(path.name for path in folder.iterdir() if path.is_dir())
            if folder.is_dir()
            else []
        )
        raise InputError(
            f"{folder} holds no experiment {experiment!r}",
            f"one of {there}" if there else f"the results of the rule {rule}",
            "correct --experiment or --results, or run the experiment first",
        )
    path = folder / experiment / name
    if not path.exists():
        there = (
            sorted(other.name for other in path.parent.iterdir()) if path.parent.is_dir() else []
        )
        raise InputError(
            f"{path} doesn't exist",
            f"a run of {experiment}; there are {there}",
            "open the test part: compare_with_readers.opens_test_part"
            if name.startswith(run_name(ENSEMBLE, 0))
            else "correct --fold or --seed, or run that fold first",
        )
    return path


def read_record(path) -> dict:
    """Return a run's record.json.

    Raises
    ------
    InputError
        When it is missing or no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"the record {path} can't be read ({error})",
            "the record.json that train_model writes beside model.pt",
            "train the run again",
        ) from error


def some_shards(results, rule: str, suffix: str) -> list:
    """Return the files `shardNN<suffix>` of a rule, sorted.

    Raises
    ------
    InputError
        When there is none.
    """
    paths = sorted(Path(results, rule).glob(f"shard[0-9][0-9]{suffix}"))
    if not paths:
        raise InputError(
            f"{Path(results, rule)} holds no shardNN{suffix}",
            f"the results of the rule {rule}",
            "correct --results, or run the pipeline first",
        )
    return paths
