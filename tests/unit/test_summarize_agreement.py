"""Statistics of agreement: known answers, the libraries' own, and the collection's figures."""

import krippendorff
import numpy as np
import pytest
import summarize_agreement
from annotation_factory import make_tables, real_tables
from hypothesis import given, settings
from hypothesis import strategies as st

from quorum.agreement_measures import pingouin_icc
from quorum.agreement_statistics import (
    alpha_of,
    coincidences,
    icc_of,
    interval,
    mean_square_sums,
    positive_agreement,
    value_counts,
)
from quorum.errors import InputError
from quorum.tables import read_table

SCALE = (1, 2, 3, 4, 5)
NAN = float("nan")
# Krippendorff 2011, "Computing Krippendorff's alpha-reliability", section C: four observers,
# twelve units; alpha is 0.743 nominal and 0.815 ordinal.
KRIPPENDORFF = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
    [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
]


@pytest.mark.parametrize(("level", "expected"), [("nominal", 0.743), ("ordinal", 0.815)])
def test_alpha_of_krippendorffs_own_example(level, expected):
    counts = value_counts(np.array(KRIPPENDORFF).T.tolist(), SCALE)
    found = alpha_of(coincidences(counts).sum(axis=0), level)
    assert found == pytest.approx(expected, abs=5e-4)


RATED = st.lists(
    st.lists(st.sampled_from([1, 2, 3, 4, 5, NAN]), min_size=4, max_size=4), min_size=2, max_size=9
)


@settings(deadline=None, max_examples=100)
@given(RATED, st.sampled_from(["nominal", "ordinal"]))
def test_alpha_is_the_librarys(values, level):
    counts = value_counts(values, SCALE)
    used = counts[counts.sum(axis=1) > 1]
    if (used.sum(axis=0) > 0).sum() < 2:
        return
    expected = krippendorff.alpha(
        value_counts=used, value_domain=list(SCALE), level_of_measurement=level
    )
    assert alpha_of(coincidences(counts).sum(axis=0), level) == pytest.approx(expected)


def test_icc_is_shrout_and_fleiss_and_pingouins():
    # Shrout and Fleiss 1979, table 2: six targets, four judges; ICC(1,1) is 0.17.
    table = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    found = icc_of(mean_square_sums(table).sum(axis=0))
    assert found == pytest.approx(0.166, abs=5e-4)
    assert pingouin_icc(table) == pytest.approx(found, abs=5e-4)
    random = np.random.default_rng(0).normal(size=(40, 4)) + np.arange(40)[:, None] / 9
    assert pingouin_icc(random.tolist()) == pytest.approx(
        icc_of(mean_square_sums(random.tolist()).sum(axis=0)), abs=1e-6
    )


def test_readers_that_agree_wholly_and_nodules_of_one_reader():
    assert icc_of(mean_square_sums([[3, 3], [5, 5, 5], [9]]).sum(axis=0)) == pytest.approx(1.0)
    assert mean_square_sums([[4.0], [NAN, 2.0], []]).tolist() == [[0] * 6] * 3


def test_existence():
    # Four readers: all four marked one, two marked another, one a third.
    both, either = positive_agreement([4, 2, 1], [4, 4, 4]).sum(axis=0)
    assert (both, either) == (14, 21)
    assert positive_agreement([3], [3]).tolist() == [[6, 6]]


def test_an_interval_resamples_whole_patients():
    terms, patients = np.array([[1.0, 1.0]] * 10), ["a"] * 5 + ["b"] * 5
    low, high = interval(terms, patients, lambda s: s[:, 0] / s[:, 1], resamples=50, seed=0)
    assert (low, high) == (1.0, 1.0)
    terms[5:, 0] = 0.0
    low, high = interval(terms, patients, lambda s: s[:, 0] / s[:, 1], resamples=200, seed=0)
    assert (low, high) == (0.0, 1.0)  # both drawn from one patient alone
    lone = interval(terms, ["a"] * 10, lambda s: s[:, 0], resamples=50, seed=0)
    assert np.isnan(lone).all()


def run(tables, folder, **names) -> tuple:
    """Compare the readers of the nodules and summarise; return both tables."""
    import compare_readers

    names = {"nodules": tables["nodules"], "all-nodules": tables["nodules"]} | names
    geometry = [f"--{name}={tables[name]}" for name in ("series", "contours")]
    agreement = folder / "agreement.csv"
    compare_readers.main(
        [*geometry, f"--slices={tables['slices']}", f"--nodules={names['nodules']}",
         f"--out-agreement={agreement}", "--threads=2"]
    )  # fmt: skip
    words = [f"--{name}={path}" for name, path in names.items()]
    outputs = [f"--out-{name}={folder / name}.csv" for name in ("summary", "extremes")]
    summarize_agreement.main(
        [*geometry, *words, f"--annotations={tables['annotations']}", f"--agreement={agreement}",
         "--bootstrap-resamples=50", *outputs]
    )  # fmt: skip
    summary = read_table(folder / "summary.csv", "reader_agreement")
    return summary, read_table(folder / "extremes.csv", "extremes")


def value_of(summary, measure: str) -> float:
    rows = summary[(summary["stratum"] == "all") & (summary["measure"] == measure)]
    return float(rows["value"].iloc[0])


def test_a_tiny_cohort(tmp_path):
    summary, extremes = run(make_tables(tmp_path), tmp_path)
    assert set(summary["stratum"]) >= {"all", "diameter_mm", "slice_spacing_mm"}
    assert value_of(summary, "diversity") == pytest.approx(1 - value_of(summary, "iou"))
    flagged = summary[summary["measure"].isin(["alpha_spiculation", "alpha_lobulation"])]
    assert flagged["note"].str.contains("inverted").all()
    assert np.isnan(value_of(summary, "alpha_margin"))  # every rating is 3
    shares = [value_of(summary, f"share_marked_by_{count}") for count in (1, 2, 3, 4)]
    assert shares == pytest.approx([1 / 7, 0, 1 / 7, 5 / 7])
    assert set(extremes["kind"]) == {"most", "least"}
    assert extremes.groupby(["kind", "rank"])["mean_iou"].first()["most"].is_monotonic_decreasing


def test_the_897(real_data, tmp_path):
    """Readers' agreement as it was measured with pylidc's own masks."""
    import select_nodules

    tables = real_tables()
    keys = ("min_diameter_mm", "max_diameter_mm", "max_slice_thickness_mm", "num_patients")
    criteria = dict.fromkeys(keys) | {"patients": [], "seed": 0}
    criteria |= {"min_annotations": 4, "max_annotations": 4}
    words = [f"--{name}={tables[name]}" for name in ("nodules", "series", "slices")]
    chosen = tmp_path / "nodules.csv"
    import json

    select_nodules.main(
        [*words, "--files", f"--criteria={json.dumps(criteria)}", f"--out-nodules={chosen}",
         f"--out-attrition={tmp_path / 'a.csv'}"]
    )  # fmt: skip
    summary, _ = run(tables, tmp_path, nodules=chosen)
    measured = {"dice": 0.773, "iou": 0.642, "diversity": 0.358}
    for measure, expected in measured.items():
        assert value_of(summary, measure) == pytest.approx(expected, abs=1e-3)
    row = summary[(summary["stratum"] == "all") & (summary["measure"] == "iou")].iloc[0]
    assert (row["num_nodules"], row["num_patients"]) == (897, 554)
    assert row["low"] < row["value"] < row["high"]
    assert value_of(summary, "alpha_malignancy") == pytest.approx(0.431, abs=1e-3)
    assert value_of(summary, "icc_diameter_mm") == pytest.approx(0.935, abs=1e-3)


def test_a_missing_table_is_one_sentence(tmp_path):
    names = ("nodules", "all-nodules", "agreement", "annotations", "contours", "series")
    words = [f"--{name}={tmp_path}/none.csv" for name in names]
    outputs = [f"--out-{name}={tmp_path}/{name}.csv" for name in ("summary", "extremes")]
    with pytest.raises(InputError, match="can't be read"):
        summarize_agreement.main([*words, *outputs])


def test_empty_cohorts_are_valid():
    assert value_counts([], SCALE).shape == (0, 5)
    assert coincidences(np.zeros((0, 5), int)).sum() == 0
