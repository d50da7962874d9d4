"""Labels of suspicion by rule, and the table of diagnoses."""

import label_malignancy
import numpy as np
import pytest
from annotation_factory import make_tables, real_tables
from hypothesis import given
from hypothesis import strategies as st

from quorum.diagnoses import read_diagnoses
from quorum.errors import InputError
from quorum.tables import read_table


@pytest.mark.parametrize(
    ("ratings", "expected"),
    [
        ([5, 4, 4, 3], ["suspicious"] * 5),
        ([1, 2, 2, 3], ["unsuspicious"] * 5),
        ([3, 3, 3, 3], ["dropped", "unsuspicious", "suspicious", "dropped", "dropped"]),
        ([1, 3, 3, 4], ["dropped", "unsuspicious", "suspicious", "unsuspicious", "dropped"]),
        ([3, 3, 3, 4], ["dropped", "unsuspicious", "suspicious", "suspicious", "suspicious"]),
        ([2, 4], ["dropped", "unsuspicious", "suspicious", "dropped", "dropped"]),
        ([], ["dropped"] * 5),
    ],
)
def test_rules(ratings, expected):
    found = [decide(np.array(ratings, float)) for decide in label_malignancy.RULES.values()]
    assert found == expected


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_mirrored_ratings_get_the_other_label(ratings):
    other = {"suspicious": "unsuspicious", "unsuspicious": "suspicious", "dropped": "dropped"}
    for name in ("median_without_3", "mean_without_3", "majority_of_decided"):
        decide = label_malignancy.RULES[name]
        mirrored = decide(6 - np.array(ratings, float))
        assert mirrored == other[decide(np.array(ratings, float))]


def run(nodules, folder, *more) -> dict:
    names = {"labels": "malignancy_labels", "counts": "label_counts", "diagnoses": "diagnoses"}
    outputs = [f"--out-{name}={folder / name}.csv" for name in names]
    label_malignancy.main([f"--nodules={nodules}", *outputs, *more])
    return {name: read_table(folder / f"{name}.csv", schema) for name, schema in names.items()}


def test_every_nodule_gets_one_label_a_rule(tmp_path):
    tables = make_tables(tmp_path)
    found = run(tables["nodules"], tmp_path)
    count = len(read_table(tables["nodules"], "nodules"))
    assert found["labels"].groupby("rule").size().tolist() == [count] * 5
    assert found["counts"].groupby("rule")["num_nodules"].sum().tolist() == [count] * 5
    assert len(found["diagnoses"]) == 0


def test_the_897_and_the_157(real_data, tmp_path):
    nodules = read_table(real_tables()["nodules"], "nodules")
    four = nodules[nodules["num_annotations"] == 4]
    labels = label_malignancy.count_labels(label_malignancy.label_nodules(four))
    counts = labels.set_index(["rule", "label"])["num_nodules"]
    assert counts["median_without_3"].to_dict() == {
        "suspicious": 340, "unsuspicious": 303, "dropped": 254,
    }  # fmt: skip
    assert counts["median_3_unsuspicious", "unsuspicious"] == 303 + 254
    table = real_data / "lidc-xml" / "tcia-diagnosis-data-2012-04-20.xls"
    found = run(real_tables()["nodules"], tmp_path, f"--diagnosis={table}")["diagnoses"]
    assert found["patient_id"].nunique() == len(found) == 157
    assert found["diagnosis"].value_counts().to_dict() == {
        "malignant, metastatic": 51, "malignant, primary": 43, "benign": 36, "unknown": 27,
    }  # fmt: skip


def test_a_table_that_is_no_xls_is_one_sentence(tmp_path):
    path = tmp_path / "table.xls"
    path.write_text("patient,diagnosis\n")
    with pytest.raises(InputError, match=r"can't be read as \.xls"):
        read_diagnoses(path)
    with pytest.raises(InputError, match=r"can't be read as \.xls"):
        read_diagnoses(tmp_path / "none.xls")
