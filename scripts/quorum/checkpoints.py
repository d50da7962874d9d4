"""Checkpoints of a run: atomic, keyed by what made them, and proof against torn files.

    <folder>/<key>/key.json                         what the key was made from
    <folder>/<key>/step00000120-<sha256[:16]>.pt    the newest two are kept

The digest in the name is that of the file's bytes, so a torn or damaged file is told apart and the
one before it is used. A run of other settings, data or code has another key, hence another folder,
and never sees these files.
"""

import hashlib
import io
import json
import logging
import re
import shutil
from pathlib import Path

import torch

from quorum.errors import InputError
from quorum.files import sha256_text, write_whole

LOG = logging.getLogger("quorum")
NAME = re.compile(r"step(\d{8})-([0-9a-f]{16})\.pt")
NUM_KEPT = 2


def run_key(parts: dict) -> str:
    """Return the key of a run: a digest of its plan, data, code, fold and seed."""
    return sha256_text(json.dumps(parts, sort_keys=True))[:16]


def open_folder(folder, parts: dict) -> Path:
    """Return this run's folder of checkpoints, made if it is not there."""
    own = Path(folder, run_key(parts))
    own.mkdir(parents=True, exist_ok=True)
    with write_whole(own / "key.json") as temporary:
        temporary.write_text(json.dumps(parts, indent=1, sort_keys=True) + "\n")
    return own


def save_checkpoint(folder, step: int, state: dict) -> Path:
    """Write the state after `step` steps whole, then remove all but the newest two.

    Parameters
    ----------
    folder : str or Path
        Of `open_folder`.
    step : int
    state : dict
        Tensors, numbers, texts, lists and dicts: what `torch.load(weights_only=True)` reads.
    """
    stream = io.BytesIO()
    torch.save(state, stream)
    content = stream.getvalue()
    name = f"step{step:08d}-{hashlib.sha256(content).hexdigest()[:16]}.pt"
    with write_whole(Path(folder, name)) as temporary:
        temporary.write_bytes(content)
    others = [path for path in list_checkpoints(folder) if path.name != name]
    # One of the same step was written before its validation, and this one after it.
    older = [path for path in others if int(NAME.fullmatch(path.name)[1]) != step]
    for path in [*(set(others) - set(older)), *older[NUM_KEPT - 1 :]]:
        path.unlink(missing_ok=True)
    return Path(folder, name)


def list_checkpoints(folder) -> list:
    """Return the paths of all checkpoints, the newest first."""
    paths = [path for path in Path(folder).glob("step*.pt") if NAME.fullmatch(path.name)]
    return sorted(paths, key=lambda path: (int(NAME.fullmatch(path.name)[1]), path.name))[::-1]


def load_newest(folder):
    """Return the newest whole checkpoint's state, or None; torn ones are named and left aside."""
    for path in list_checkpoints(folder):
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest()[:16] == NAME.fullmatch(path.name)[2]:
            return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
        LOG.warning("the checkpoint %s is torn; the one before it is used", path.name)
    return None


def newest_name(folder) -> str:
    """Return the newest checkpoint's path for a message, or `none yet`."""
    paths = list_checkpoints(folder)
    return str(paths[0]) if paths else "none yet"


def find_state(folder, parts: dict, *, resumed=None) -> tuple:
    """Return the folder that a run keeps its checkpoints in, and the newest state there, or None.

    Parameters
    ----------
    folder : str or Path
        Where every run has its own folder.
    parts : dict
        What this run's key is made from.
    resumed : str or Path, optional
        One run's folder, wherever it lies: the run goes on from it and in it, else it stops.

    Raises
    ------
    InputError
        When the folder to resume is another run's, or holds no whole checkpoint.
    """
    if not resumed:
        own = open_folder(folder, parts)
        return own, load_newest(own)
    refuse_other_run(resumed, parts)
    state = load_newest(resumed)
    if state is None:
        raise InputError(
            f"{resumed} holds no whole checkpoint",
            "a file step*.pt that was written whole",
            "leave --resume out, and this run starts from its own",
        )
    return Path(resumed), state


def refuse_other_run(resumed, parts: dict):
    """Raise an InputError unless the folder `resumed` holds checkpoints of this very run.

    Parameters
    ----------
    resumed : str or Path
        One run's folder, the one with key.json.
    parts : dict
        What this run's key is made from.
    """
    path = Path(resumed, "key.json")
    try:
        other = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(
            f"{resumed} holds no checkpoints ({error})",
            "a folder with key.json",
            "correct --resume",
        ) from error
    differing = differences(other, json.loads(json.dumps(parts)))
    if differing:
        raise InputError(
            f"the checkpoints in {resumed} belong to another run: {'; '.join(differing)}",
            "checkpoints of the same plan, data, code, fold, seed and number of processes",
            "leave --resume out, and this run starts from its own",
        )


def differences(theirs, ours, place: str = "") -> list:
    """Return in words where two nested values differ, each by its dotted key."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        keys = sorted({*theirs, *ours})
        pairs = ((f"{place}.{key}".strip("."), theirs.get(key), ours.get(key)) for key in keys)
        return [text for name, a, b in pairs for text in differences(a, b, name)]
    return [] if theirs == ours else [f"{place} was {theirs} and is {ours}"]


def remove_folder(own):
    """Remove a run's checkpoints once it has ended well, and the folder they lay in if empty."""
    shutil.rmtree(own, ignore_errors=True)
    parent = Path(own).parent
    if parent.is_dir() and not any(parent.iterdir()):
        parent.rmdir()
