"""Linters agree."""

import sys

from workflow_copy import ROOT, call, snakemake


def test_snakemakes_own_linter(project):
    result = snakemake(project, "--lint")
    assert result.returncode == 0, result.stdout
    assert "good condition" in result.stdout


def test_the_linter_agrees_for_a_local_source(project):
    root = project / "files"
    root.mkdir()
    result = snakemake(project, "--lint", "--config", f"source={{kind: local, root: {root}}}")
    assert result.returncode == 0, result.stdout


def test_snakefmt():
    result = call(ROOT, sys.executable, "-m", "snakefmt", "--check", "Snakefile", "workflow")
    assert result.returncode == 0, result.stdout


def test_ruff():
    result = call(ROOT, sys.executable, "-m", "ruff", "check", "--no-cache", ".")
    assert result.returncode == 0, result.stdout[-4000:]
