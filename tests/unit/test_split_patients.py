"""A locked test part and folds: disjoint by patient, balanced, seeded."""

import numpy as np
import pandas as pd
import pytest
import split_patients
from annotation_factory import make_tables, real_tables
from hypothesis import given, settings
from hypothesis import strategies as st
from split_patients import assign_parts, count_strata, part_shares

from quorum.errors import InputError
from quorum.tables import read_table, write_table


def run(nodules, out, test_fraction=0.2, num_folds=5, seed=0) -> pd.DataFrame:
    split_patients.main(
        [
            "--nodules",
            str(nodules),
            "--test-fraction",
            str(test_fraction),
            "--num-folds",
            str(num_folds),
            "--seed",
            str(seed),
            "--out-splits",
            str(out),
        ]
    )
    return read_table(out, "splits")


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    path = tmp_path_factory.mktemp("four") / "nodules.csv"
    nodules = read_table(real_tables()["nodules"], "nodules")
    write_table(nodules[nodules["num_annotations"] == 4], path, "nodules", {})
    return path


def random_nodules(numbers: list, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    patients = [f"P{k:03d}" for k, number in enumerate(numbers) for _ in range(number)]
    return pd.DataFrame(
        {
            "patient_id": patients,
            "diameter_mm": random.uniform(3, 40, len(patients)),
            "malignancy_median": random.integers(2, 11, len(patients)) / 2,
        }
    )


def test_the_897_are_balanced_and_a_patient_is_in_one_part(tmp_path, four):
    splits = run(four, tmp_path / "splits.csv")
    nodules = read_table(four, "nodules")
    assert splits["patient_id"].is_unique
    assert set(splits["patient_id"]) == set(nodules["patient_id"])
    assert set(splits["part"]) == {"test", *(f"fold{k}" for k in range(5))}
    assert splits.set_index("patient_id")["num_nodules"].to_dict() == (
        nodules["patient_id"].value_counts().to_dict()
    )
    parts = nodules.merge(splits, on="patient_id").groupby("part")
    shares = parts.size() / len(nodules)
    assert shares["test"] == pytest.approx(0.2, abs=0.005)
    assert shares.drop("test").to_numpy() == pytest.approx(0.16, abs=0.005)
    for column in ("diameter_mm", "malignancy_median"):
        assert np.ptp(parts[column].mean()) < 0.1 * nodules[column].mean()
    small = parts["diameter_mm"].agg(lambda d: (d <= nodules["diameter_mm"].quantile(1 / 3)).mean())
    assert small.to_numpy() == pytest.approx(1 / 3, abs=0.02)


def test_patients_with_two_scans_are_in_one_part(tmp_path):
    sizes = ((4,),) * 12
    patients = [f"PATIENT-{k // 2:04d}" for k in range(12)]
    tables = make_tables(tmp_path, sizes, patients)
    splits = run(tables["nodules"], tmp_path / "splits.csv", 0.25, 3)
    assert len(splits) == 6
    assert set(splits["num_nodules"]) == {2}


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 9), min_size=7, max_size=40),
    st.integers(1, 6),
    st.sampled_from([0.0, 0.1, 0.25, 0.5]),
    st.integers(0, 10**6),
)
def test_every_part_holds_a_patient_and_every_patient_is_in_one(numbers, folds, fraction, seed):
    counts = count_strata(random_nodules(numbers, seed))
    shares = part_shares(fraction, folds)
    parts = assign_parts(counts, shares, seed)
    assert set(parts) == set(counts.index)
    assert set(parts.values()) == set(shares)
    assert sum(shares.values()) == pytest.approx(1)
    assert ("test" in shares) == (fraction > 0)


def test_the_seed_alone_changes_the_split(tmp_path, four):
    first = run(four, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes() == bytes_of(four, tmp_path / "b.csv", seed=0)
    other = run(four, tmp_path / "c.csv", seed=1)
    assert (first["part"] != other["part"]).sum() > 100


def bytes_of(nodules, out, seed) -> bytes:
    run(nodules, out, seed=seed)
    return out.read_bytes()


def test_order_of_rows_changes_nothing(tmp_path, four):
    nodules = read_table(four, "nodules")
    shuffled = nodules.sample(frac=1, random_state=3)
    write_table(shuffled, tmp_path / "shuffled.csv", "nodules", {})
    same = run(tmp_path / "shuffled.csv", tmp_path / "b.csv")
    pd.testing.assert_frame_equal(run(four, tmp_path / "a.csv"), same)


def test_too_few_patients_say_how_many_are_needed(tmp_path):
    tables = make_tables(tmp_path)
    with pytest.raises(InputError, match=r"3 patients.*at least 6 patients"):
        run(tables["nodules"], tmp_path / "splits.csv")
    assert not (tmp_path / "splits.csv").exists()


@pytest.mark.parametrize(("fraction", "folds"), [(1.0, 5), (-0.1, 5), (0.2, 0)])
def test_impossible_fractions(tmp_path, four, fraction, folds):
    with pytest.raises(InputError, match="from 0 to below 1"):
        run(four, tmp_path / "splits.csv", fraction, folds)


def test_missing_malignancy_is_no_class():
    nodules = random_nodules([1, 2, 3], 0).assign(malignancy_median=np.nan)
    assert not [name for name in count_strata(nodules) if name.startswith("malignancy")]
