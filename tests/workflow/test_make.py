"""The Makefile's own behaviour; installing itself is what a fresh checkout tests."""

import os
import re
import time

import pytest
from workflow_copy import ROOT, call


@pytest.fixture
def folder(tmp_path):
    """A folder with the Makefile, the lists of packages, and an environment that is complete."""
    for part in ("Makefile", "envs/requirements.txt", "envs/constraints.txt"):
        (tmp_path / part).parent.mkdir(exist_ok=True)
        (tmp_path / part).write_text((ROOT / part).read_text())
    return tmp_path


def fake_environment(folder):
    """Put an environment in place that notes each call of its Python."""
    binary = folder / ".venv" / "bin" / "python"
    binary.parent.mkdir(parents=True)
    binary.write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls.txt\n')
    binary.chmod(0o755)


def calls(folder) -> list:
    """Return how the fake Python was called."""
    path = folder / "calls.txt"
    return path.read_text().splitlines() if path.exists() else []


def test_the_environment_is_installed_once_and_again_when_a_pin_changes(folder):
    fake_environment(folder)
    assert call(folder, "make", "env").returncode == 0
    assert len(calls(folder)) == 2
    assert "-r envs/requirements.txt -c envs/constraints.txt" in calls(folder)[0]
    assert calls(folder)[1] == "scripts/fetch_viewer.py"
    assert call(folder, "make", "env").returncode == 0
    assert len(calls(folder)) == 2
    later = time.time() + 5
    os.utime(folder / "envs" / "constraints.txt", (later, later))
    assert call(folder, "make", "env").returncode == 0
    assert len(calls(folder)) == 4


def test_a_failed_installation_is_not_taken_for_a_whole_one(folder):
    fake_environment(folder)
    binary = folder / ".venv" / "bin" / "python"
    binary.write_text("#!/bin/sh\nexit 1\n")
    assert call(folder, "make", "env").returncode != 0
    assert not (folder / ".venv" / ".installed").exists()


@pytest.mark.parametrize(
    ("program", "phrase"),
    [
        ("exit 1", "older than 3.11"),
        ('case "$*" in *ensurepip*) exit 1;; *) exit 0;; esac', "python3-venv"),
    ],
)
def test_a_python_that_will_not_do_is_one_sentence(folder, program, phrase):
    python = folder / "python"
    python.write_text(f"#!/bin/sh\n{program}\n")
    python.chmod(0o755)
    result = call(folder, "make", "env", f"PYTHON={python}")
    assert result.returncode != 0
    errors = [line for line in result.stdout.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, result.stdout
    assert phrase in errors[0]
    assert "to mend it" in errors[0]


def test_run_hands_flags_on(folder):
    fake_environment(folder)
    assert call(folder, "make", "run", "ARGS=--configfile config/sample.yaml").returncode == 0
    assert calls(folder)[-1] == "scripts/run_workflow.py --configfile config/sample.yaml"


def test_clean_works_before_anything_is_installed(folder):
    assert call(folder, "make", "clean").returncode == 0


def test_help_names_every_command(folder):
    result = call(folder, "make", "help")
    for target in re.findall(r"^([a-z-]+):.*##", (folder / "Makefile").read_text(), re.M):
        assert target in result.stdout
