"""What all tests share: the repository's root and the optional folder of real files."""

import os
from pathlib import Path

import pytest
from needs import ROOT, require


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's top folder."""
    return ROOT


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real LIDC-IDRI files that QUORUM_REAL_DATA names."""
    folder = os.environ.get("QUORUM_REAL_DATA", "")
    require(bool(folder) and Path(folder).is_dir(), "QUORUM_REAL_DATA names no folder")
    return Path(folder)
