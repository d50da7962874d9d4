"""What all tests share: the repository's root and the optional folder of real files."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's top folder."""
    return ROOT


def require(condition: bool, reason: str):
    """Skip with the reason where a part is missing; in CI, where all parts must be, fail."""
    if condition:
        return
    if os.environ.get("CI"):
        pytest.fail(f"missing in CI: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real LIDC-IDRI files that QUORUM_REAL_DATA names."""
    folder = os.environ.get("QUORUM_REAL_DATA", "")
    require(bool(folder) and Path(folder).is_dir(), "QUORUM_REAL_DATA names no folder")
    return Path(folder)
