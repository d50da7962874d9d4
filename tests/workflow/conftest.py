"""What the workflow's tests share: one tiny run, and copies to change things in."""

import os
import shutil
from pathlib import Path

import pytest
from workflow_copy import TINY, copy_project, failed_logs, only_worker, tiny


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory) -> Path:
    """A copy of the project in which the tiny configuration has run; treat it as read-only.

    Parallel workers share one run.
    """
    shared = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        shared = shared.parent
    folder = shared / "tiny_run"
    with only_worker(shared / "tiny_run.lock"):
        if not (folder / "done").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            copy_project(folder)
            (folder / "config" / "tiny.yaml").write_text(TINY)
            result = tiny(folder)
            assert result.returncode == 0, result.stdout[-6000:] + failed_logs(folder)
            (folder / "output.txt").write_text(result.stdout)
            (folder / "done").touch()
    return folder


@pytest.fixture
def tiny_copy(tiny_run, tmp_path) -> Path:
    """A copy of the tiny run, results and all, to change things in."""
    folder = tmp_path / "project"
    shutil.copytree(tiny_run, folder, symlinks=True)
    return folder


@pytest.fixture
def project(tmp_path) -> Path:
    """A fresh copy of the project without results."""
    return copy_project(tmp_path / "project")
