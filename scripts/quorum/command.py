"""What every script shares on its command line: help, errors, log, progress, provenance."""

import argparse
import importlib.metadata
import json
import logging
import os
import sys
import time
from pathlib import Path

from quorum.errors import InputError
from quorum.files import sha256_file, sha256_text

LOG = logging.getLogger("quorum")
PROGRESS_EVERY_S = 10.0
PACKAGES = ("numpy", "scipy", "pandas", "pyarrow", "h5py", "pydicom", "SimpleITK", "torch", "monai")
# Stored where a flag's file is no table or shard but the images themselves, which have their own
# manifest: hashing them again would read the whole collection once more.
MAX_DIGEST_BYTES = 2 << 30


def make_parser(doc: str) -> argparse.ArgumentParser:
    """Return a parser whose help is the module docstring, as written."""
    return argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )


def run_command(main):
    """Run a script's `main`; an InputError becomes one sentence on stderr and exit status 1."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        status = main()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    raise SystemExit(status or 0)


def progress(items, label: str, total: int | None = None):
    """Yield the items and log, at most every 10 s, how many are done and the time left."""
    if total is None:
        items = list(items)
        total = len(items)
    start = last = time.monotonic()
    for done, item in enumerate(items):
        yield item
        now = time.monotonic()
        if now - last >= PROGRESS_EVERY_S:
            last = now
            left_s = (now - start) / (done + 1) * (total - done - 1)
            LOG.info("%s: %d of %d done, about %.0f s left", label, done + 1, total, left_s)


def log_counts(label: str, *, came_in: int, dropped: dict, went_out: int):
    """Log how many items came in, were dropped for which reason, and went out.

    Raises
    ------
    RuntimeError
        When the three do not add up: an item would be lost without a reason.
    """
    LOG.info("%s: %d in", label, came_in)
    for reason, count in dropped.items():
        LOG.info("%s: %d dropped: %s", label, count, reason)
    LOG.info("%s: %d out", label, went_out)
    if came_in != sum(dropped.values()) + went_out:
        raise RuntimeError(f"{label}: {came_in} in, {dropped} dropped, {went_out} out: no sum")


def provenance(script: str, args: argparse.Namespace) -> dict:
    """Return what made an output: script, flags, digests of inputs, versions.

    Parameters
    ----------
    script : str
        `__file__` of the script.
    args : argparse.Namespace
        Its parsed flags. Every value that names an existing file is given with its SHA-256;
        names starting with `out` are outputs and left out.

    Returns
    -------
    dict
        JSON-ready; the same on any machine for the same inputs, flags and versions.
    """
    from quorum.code import code_digest

    flags, inputs = {}, {}
    for name, value in sorted(vars(args).items()):
        if name.startswith("out"):
            continue
        values = value if isinstance(value, list) else [value]
        files = [Path(v) for v in values if isinstance(v, str | Path) and os.path.isfile(v)]
        for path, short in zip(files, short_names(files), strict=True):
            if path.stat().st_size <= MAX_DIGEST_BYTES:
                inputs[f"{name}:{short}"] = sha256_file(path)
        if not files:
            flags[name] = [str(v) if isinstance(v, Path) else v for v in values]
    stem = Path(script).stem
    return {
        "script": stem,
        "code_digest": code_digest(stem),
        "config_digest": sha256_text(json.dumps(flags, sort_keys=True))[:16],
        "flags": flags,
        "input_sha256": inputs,
        "versions": installed_versions(),
    }


def short_names(paths: list) -> list:
    """Return each path's last parts, as few as tell the paths apart; equal paths share a name."""
    deepest = max((len(path.parts) for path in paths), default=1)
    names = []
    for length in range(1, deepest + 1):
        names = ["/".join(path.parts[-length:]) for path in paths]
        if len(set(names)) == len(set(paths)):
            break
    return names


def installed_versions() -> dict:
    """Return the versions of Quorum and of the packages that shape its results."""
    from quorum import __version__

    versions = {"quorum": __version__, "python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return versions
