"""Table 1 counts patients, series and nodules right; Dice by group is the mean of its nodules."""

import json

import describe_splits
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_tables import arguments, fill_rows

from quorum.errors import InputError
from quorum.header_table import header_json
from quorum.patient_facts import UNKNOWN, age_years, header_facts, read_facts
from quorum.table_one import cut, model_dice
from quorum.tables import read_table, write_table

# Patient, series, nodule, diameter [mm], Dice of seed 0 and of seed 1.
NODULES = [
    ("A", "1.1", "n1", 5.0, 0.6, 0.8),
    ("A", "1.1", "n2", 6.0, 0.8, 0.8),
    ("A", "1.2", "n3", 7.0, 0.9, 0.9),
    ("B", "1.3", "n4", 40.0, 0.5, 0.7),
    ("C", "1.4", "n5", 9.0, None, None),
]
HEADERS = {
    "1.1": {"00100040": ["F"], "00101010": ["061Y"], "00180010": ["VISIPAQUE"]},
    "1.2": {"00100040": ["F"], "00101010": ["061Y"]},
    "1.3": {"00100040": ["M"]},
}


def header(values: dict) -> str:
    """Return a header as DICOM JSON."""
    return json.dumps({tag: {"vr": "LO", "Value": value} for tag, value in values.items()})


def score_rows(seed: int) -> list:
    """Return one run's scores; a click further off, a reader's row and another reference too."""
    rows = []
    for patient, series, nodule, diameter, *dice in NODULES:
        same = {"experiment": "net", "fold": 0, "seed": seed, "part": "fold0", "offset_mm": 0.0,
                "nodule_id": nodule, "patient_id": patient, "series_uid": series,
                "data_kind": "scan", "diameter_mm": diameter}  # fmt: skip
        rows.append({**same, "subject": "model", "reference": "consensus", "dice": dice[seed]})
        rows.append({**same, "subject": "model", "reference": "reader1", "dice": 0.1})
        rows.append({**same, "subject": "reader1", "reference": "consensus", "dice": 0.1})
        far = {**same, "offset_mm": 8.0}
        rows.append({**far, "subject": "model", "reference": "consensus", "dice": 0.1})
    return rows


@pytest.fixture
def flags(tmp_path):
    """The script's flags, with their tables written."""
    series = sorted({row[1] for row in NODULES})
    tables = {
        "nodules": ("nodules", [
            {"nodule_id": n, "patient_id": p, "series_uid": s, "diameter_mm": d}
            for p, s, n, d, *_ in NODULES
        ]),
        "splits": ("splits", [
            {"patient_id": "A", "part": "fold0", "num_nodules": 3},
            {"patient_id": "B", "part": "fold1", "num_nodules": 1},
            {"patient_id": "C", "part": "test", "num_nodules": 1},
        ]),
        "findings": ("findings", [
            {"series_uid": uid, "source_series_uid": uid, "data_kind": "scan",
             "manufacturer": "GE" if uid < "1.3" else "Siemens", "decision": "accepted",
             "slice_spacing_mm": 1.0 + k, "pixel_spacing_mm": 0.7, "kernel": None}
            for k, uid in enumerate(series)
        ]),
    }  # fmt: skip
    named = {}
    for name, (table, rows) in tables.items():
        named[f"--{name}"] = tmp_path / f"{name}.csv"
        write_table(fill_rows(table, rows), named[f"--{name}"], table, {"script": "tests"})
    rows = [
        {"series_uid": uid, "source_series_uid": uid, "sop_instance_uid": f"{uid}.{k}",
         "slice_index": k, "header": header(values)}
        for uid, values in HEADERS.items() for k in range(2)
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "headers.parquet")
    named["--headers"] = tmp_path / "headers.parquet"
    paths = []
    for seed in (0, 1):
        paths.append(tmp_path / f"scores{seed}.csv")
        write_table(fill_rows("scores", score_rows(seed)), paths[-1], "scores", {"script": "tests"})
    outputs = {"--out-table1": tmp_path / "t1.csv", "--out-performance": tmp_path / "p.csv"}
    return [*arguments(named, outputs), "--scores", *map(str, paths)]


def run(flags, tmp_path):
    """Return both tables."""
    describe_splits.main(flags)
    table = read_table(tmp_path / "t1.csv", "table_one")
    return table, read_table(tmp_path / "p.csv", "performance")


def test_table_1_counts_patients_series_and_nodules(flags, tmp_path):
    table, _ = run(flags, tmp_path)
    rows = table.set_index(["part", "characteristic", "level"])
    counts = ["num_patients", "num_series", "num_nodules"]
    assert rows.loc[("all", "size", "all"), counts].tolist() == [3, 4, 5]
    assert rows.loc[("folds", "size", "all"), counts].tolist() == [2, 3, 4]
    assert rows.loc[("test", "size", "all"), counts].tolist() == [1, 1, 1]
    assert rows.loc[("all", "sex", "female"), counts].tolist() == [1, 2, 3]
    assert rows.loc[("all", "sex", UNKNOWN), counts].tolist() == [1, 1, 1]
    assert rows.loc[("all", "sex", "male"), "share"] == pytest.approx(1 / 3)
    assert rows.loc[("all", "manufacturer", "GE"), counts].tolist() == [1, 2, 3]
    assert rows.loc[("all", "kernel", UNKNOWN), "share"] == 1
    contrast = rows.loc[("all", "contrast", "named in the header"), "share"]
    assert contrast == pytest.approx(1 / 4)
    assert rows.loc[("all", "contrast", "none named"), "share"] == pytest.approx(2 / 4)


def test_table_1_gives_numbers_of_patients_series_and_nodules(flags, tmp_path):
    table, _ = run(flags, tmp_path)
    rows = table.set_index(["part", "characteristic"])
    assert rows.loc[("all", "diameter_mm"), ["minimum", "median", "maximum"]].tolist() == [5, 7, 40]
    assert rows.loc[("all", "slice_spacing_mm"), ["minimum", "median"]].tolist() == [1, 2.5]
    age = rows.loc[("all", "age_years")]
    assert (age["median"], age["share"]) == (61, pytest.approx(1 / 3))
    assert pd.isna(rows.loc[("test", "age_years"), "median"])


def test_dice_by_group_is_the_mean_over_nodules_of_the_mean_over_seeds(flags, tmp_path):
    _, table = run(flags, tmp_path)
    rows = table.set_index(["characteristic", "level"])
    assert rows.loc[("all", "all"), "value"] == pytest.approx((0.7 + 0.8 + 0.9 + 0.6) / 4)
    assert rows.loc[("all", "all"), ["num_nodules", "num_patients"]].tolist() == [4, 2]
    assert rows.loc[("diameter_mm", "6 to < 8"), "value"] == pytest.approx(0.85)
    assert rows.loc[("diameter_mm", "< 6"), "value"] == pytest.approx(0.7)
    assert rows.loc[("sex", "female"), "value"] == pytest.approx(0.8)
    assert rows.loc[("part", "fold1"), "value"] == pytest.approx(0.6)
    empty = rows.loc[("part", "test")]
    assert pd.isna(empty["value"])
    assert empty["num_nodules"] == 0
    assert pd.isna(rows.loc[("sex", "male"), "low"])  # one patient has no interval


def test_a_truncated_nodule_is_in_no_mean():
    own = {"experiment": "net", "subject": "model", "reference": "consensus", "offset_mm": 0.0}
    rows = [{**own, "nodule_id": "a", "dice": 0.8, "is_truncated": False},
            {**own, "nodule_id": "b", "dice": 0.1, "is_truncated": True}]  # fmt: skip
    assert model_dice(pd.DataFrame(rows))["dice"].tolist() == [0.8]
    assert model_dice(pd.DataFrame(rows[1:])).empty


def test_a_real_header_states_sex_and_age(real_data):
    path = next((real_data / "lidc-dicom").rglob("*.dcm"))
    facts = header_facts(header_json(path))
    assert set(facts) == {"sex", "age_years", "contrast"}
    assert facts["contrast"] in ("named in the header", "none named")


@pytest.mark.parametrize(
    ("text", "years"),
    [("067Y", 67), ("006M", 0.5), ("000Y", None), ("", None), (None, None), ("abc", None)],
)
def test_age_strings(text, years):
    assert age_years(text) == years


def test_a_number_on_an_edge_belongs_to_the_group_above():
    assert cut(pd.Series([5.9, 6, 8, None]), (6, 8)).tolist() == [
        "< 6", "6 to < 8", ">= 8", UNKNOWN,
    ]  # fmt: skip


def test_no_headers_give_no_facts(tmp_path):
    schema = pa.schema([("source_series_uid", pa.string()), ("header", pa.string())])
    pq.write_table(schema.empty_table(), tmp_path / "h.parquet")
    assert len(read_facts([tmp_path / "h.parquet"])) == 0


def test_a_split_of_another_cohort_and_scores_of_another_kind_are_refused(flags, tmp_path):
    splits = tmp_path / "splits.csv"
    text = splits.read_text()
    splits.write_text("\n".join(line for line in text.splitlines() if not line.startswith("B,")))
    with pytest.raises(InputError, match="the patient B of the nodules is in no part"):
        describe_splits.main(flags)
    splits.write_text(text)
    scores = tmp_path / "scores1.csv"
    scores.write_text(scores.read_text().replace(",scan,", ",phantom,"))
    with pytest.raises(InputError, match="series and scores are of phantom and scan data"):
        describe_splits.main(flags)
    assert not (tmp_path / "t1.csv").exists()
