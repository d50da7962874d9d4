"""Inverted scales are found where they are, and not where they aren't."""

import compare_ratings
import numpy as np
import pandas as pd
import pytest
from annotation_factory import make_tables, real_tables

from quorum.inverted_scales import (
    inverted_cases,
    inverted_summary,
    is_early,
    joint_frequencies,
    share_of_sums,
)
from quorum.tables import read_table

DRAWS = {"resamples": 100, "seed": 0}


def test_early_cases_are_the_first_399():
    names = ["LIDC-IDRI-0001", "LIDC-IDRI-0399", "LIDC-IDRI-0400", "PATIENT-0001"]
    assert is_early(names).tolist() == [True, True, False, False]


def test_frequencies_sum_to_one_given_malignancy():
    found = joint_frequencies(np.array([0, 0, 4]), np.array([0, 1, 4]), np.array([0, 0, 2]))
    assert found.sum(axis=(1, 2)) == pytest.approx(np.ones(5))
    assert found[0, 0, 0] > found[0, 4, 4]


def test_the_share_of_a_mixture():
    # 100 later: 70 ones, 5 fives. Early: a fifth inverted gives 0.8 * 5 + 0.2 * 70 = 18 fives.
    assert share_of_sums(np.array([100, 18, 100, 70, 5.0])) == pytest.approx(0.2)
    assert share_of_sums(np.array([100, 5, 100, 70, 5.0])) == pytest.approx(0.0)


def made(share_inverted: float) -> tuple:
    """Annotations and nodules of 600 cases, a share of the early 399 of them inverted."""
    random = np.random.default_rng(1)
    rows = []
    for number in range(1, 601):
        is_inverted = number <= 399 * share_inverted
        for _ in range(2):
            malignancy = random.integers(1, 6)
            upright = random.choice([1, 2, 3, 4, 5], p=[0.7, 0.15, 0.08, 0.04, 0.03], size=2)
            shown = 6 - upright if is_inverted else upright
            rows.append((f"LIDC-IDRI-{number:04d}", f"1.{number}", *shown, malignancy))
    names = ["patient_id", "series_uid", "lobulation", "spiculation", "malignancy"]
    annotations = pd.DataFrame(rows, columns=names)
    medians = {name: f"{name}_median" for name in names[2:]}
    return annotations, annotations.rename(columns=medians)


def test_inverted_cases_are_found():
    annotations, nodules = made(0.25)
    cases = inverted_cases(nodules)
    truth = cases["patient_id"] <= "LIDC-IDRI-0099"
    assert cases.loc[truth, "is_suspect"].mean() > 0.7
    assert cases.loc[~truth, "is_suspect"].mean() < 0.03
    summary = inverted_summary(annotations, cases, **DRAWS)
    shares = summary[summary["statistic"] == "inverted_share_of_early"]
    assert shares["value"].tolist() == pytest.approx([0.25, 0.25], abs=0.05)


def test_none_are_found_where_none_are():
    annotations, nodules = made(0.0)
    summary = inverted_summary(annotations, inverted_cases(nodules), **DRAWS)
    shares = summary[summary["statistic"] == "inverted_share_of_early"]
    assert (shares["high"] < 0.08).all()
    assert (shares["low"] < 0.0).all()


def run(tables, folder) -> tuple:
    words = [f"--{name}={tables[name]}" for name in ("annotations", "nodules")]
    outputs = [f"--out-{name}={folder / name}.csv" for name in ("cases", "summary")]
    compare_ratings.main([*words, *outputs, "--bootstrap-resamples=100"])
    cases = read_table(folder / "cases.csv", "inverted_cases")
    return cases, read_table(folder / "summary.csv", "inverted_summary")


def test_a_tiny_cohort(tmp_path):
    cases, _ = run(make_tables(tmp_path), tmp_path)
    assert len(cases) == 3
    assert not cases["is_suspect"].any()


def test_the_collection_has_no_hundred_inverted_cases(real_data, tmp_path):
    cases, summary = run(real_tables(), tmp_path)
    shares = summary[summary["statistic"] == "inverted_share_of_early"].set_index("rating")
    assert (shares["high"] < 0.07).all()  # TCIA's 100 of 399 would be 0.25
    later = cases[~cases["is_early"]]["is_suspect"].mean()
    assert cases[cases["is_early"]]["is_suspect"].mean() < later + 0.02
    correlations = summary[summary["statistic"].str.startswith("correlation")]["value"]
    assert (correlations > 0.3).all()
