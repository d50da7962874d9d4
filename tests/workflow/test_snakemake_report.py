"""Snakemake's own report: it is made from a run, and its captions state that run's counts."""

import pandas as pd
import pytest
from workflow_copy import snakemake, tiny


@pytest.mark.slow
def test_snakemakes_own_report_states_the_runs_counts(tiny_copy):
    result = tiny(tiny_copy, "--report", "report.html")
    assert result.returncode == 0, result.stdout[-3000:]
    page = (tiny_copy / "report.html").read_text()
    nodules = pd.read_csv(tiny_copy / "results" / "select_nodules" / "nodules.csv")
    steps = pd.read_csv(tiny_copy / "results" / "select_nodules" / "attrition.csv")
    counts = f"to {len(nodules)} nodules of {nodules['patient_id'].nunique()} patients"
    assert f"from {steps['num_in'][0]:,} groups of annotations {counts}" in page
    assert "by 100 resamples of whole patients" in page
    assert "PHANTOM DATA" in page
    for name in ("cohort-flow.svg", "attrition.csv", "summary.csv", "checks.csv"):
        assert name in page


@pytest.mark.slow
def test_a_report_before_any_result_is_one_sentence(project):
    result = snakemake(project, "--report", "report.html")
    assert result.returncode != 0
    (sentence,) = [line for line in result.stdout.splitlines() if "marked for report" in line]
    assert sentence.endswith("does not exist.")
    assert not (project / "report.html").exists()
