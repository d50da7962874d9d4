"""Plain settings: read from YAML, laid over each other, checked against a closed schema.

Apart from `settings`, so that scripts which check a plan of theirs don't depend, in their code's
digest, on how the whole configuration is checked.
"""

import copy
import difflib
from pathlib import Path

import jsonschema
import yaml

from quorum.errors import InputError

# A schema that no value fits: what no schema names is read as YAML.
ANYTHING_ELSE = {"not": {}}
NOTHING = ("null", "~", "")
SCHEMAS = Path(__file__).resolve().parents[2] / "workflow" / "schemas"


def load_yaml(path):
    """Return the content of a YAML file, read safely."""
    return yaml.safe_load(Path(path).read_text(encoding="utf-8"))


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


def read_typed(value, schema: dict):
    """Return a value with texts read as YAML wherever the schema wants something else.

    Snakemake reads `--config block={key: 8}` as texts: `{"key": "8"}`. A text that isn't what the
    schema wants either way is left as it is, for `check_against` to name it.
    """
    if isinstance(value, dict):
        known = schema.get("properties", {})
        return {
            key: read_typed(inner, known.get(key, ANYTHING_ELSE)) for key, inner in value.items()
        }
    if isinstance(value, list):
        items = schema.get("items", ANYTHING_ELSE)
        value = [read_typed(member, items) for member in value]
    if not isinstance(value, str):
        return value
    is_valid = jsonschema.Draft202012Validator(schema).is_valid
    if value in NOTHING and is_valid(None):
        return None
    if is_valid(value):
        return value
    try:
        typed = yaml.safe_load(value)
    except yaml.YAMLError:
        return value
    return typed if schema == ANYTHING_ELSE or is_valid(typed) else value


def nearest_phrase(name: str, valid: list) -> str:
    """Return a phrase that names the valid name nearest to `name`, or all of them."""
    near = difflib.get_close_matches(str(name), valid, n=1, cutoff=0.5)
    return f"{near[0]!r}, the nearest valid name" if near else f"one of {', '.join(valid)}"


def merge(base: dict, diff: dict) -> dict:
    """Return `base` with `diff` laid over it, key by key at every level."""
    merged = copy.deepcopy(base)
    for key, value in diff.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged
