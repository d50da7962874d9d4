"""Where the repository is, and what a test does without a part that it needs."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def require(condition: bool, reason: str):
    """Skip with the reason where a part is missing; in CI, where all parts must be, fail."""
    if condition:
        return
    if os.environ.get("CI"):
        pytest.fail(f"missing in CI: {reason}")
    pytest.skip(reason)
