"""The cohort, and a count for every criterion."""

import json

import pandas as pd
import pytest
import select_nodules
from annotation_factory import LOWEST_Z_MM, SPACING_MM, make_tables, real_tables
from hypothesis import given
from hypothesis import strategies as st

from quorum.cohort import apply_steps, drawn_patients, inside_volumes, within
from quorum.errors import InputError
from quorum.tables import read_table, write_table

ALL = {
    "min_annotations": 4,
    "max_annotations": 4,
    "min_diameter_mm": None,
    "max_diameter_mm": None,
    "max_slice_thickness_mm": None,
    "num_patients": None,
    "patients": [],
    "seed": 0,
}


def run(tables: dict, folder, files=None, **criteria) -> tuple:
    outputs = folder / "selected.csv", folder / "attrition.csv"
    flags = [
        word for name in ("nodules", "series", "slices") for word in (f"--{name}", tables[name])
    ]
    flags += ["--files", *([files] if files else [])]
    flags += ["--criteria", json.dumps(ALL | criteria)]
    flags += ["--out-nodules", outputs[0], "--out-attrition", outputs[1]]
    select_nodules.main([str(word) for word in flags])
    return read_table(outputs[0], "nodules"), read_table(outputs[1], "attrition")


def adds_up(attrition: pd.DataFrame) -> bool:
    chained = list(attrition["num_in"])[1:] == list(attrition["num_out"])[:-1]
    differences = attrition["num_in"] - attrition["num_dropped"] == attrition["num_out"]
    return chained and bool(differences.all())


def local_files(series_uids, **volume) -> pd.DataFrame:
    empty = dict.fromkeys(["row0", "column0", "slice0", "num_rows", "num_columns", "num_slices"])
    return pd.DataFrame(
        {
            "series_uid": list(series_uids),
            "source_series_uid": list(series_uids),
            "path": [f"{uid}.nii.gz" for uid in series_uids],
            "kind": "volume",
            "num_bytes": 1,
            "sop_instance_uid": None,
            **(empty | volume),
            "series_origin_x_mm": 0.0,
            "series_origin_y_mm": 0.0,
            "is_cut_out": bool(volume),
            "data_kind": "cut_out" if volume else "scan",
        }
    )


def test_the_default_keeps_897_and_says_where_the_others_went(tmp_path):
    selected, attrition = run(real_tables(), tmp_path)
    assert len(selected) == 897
    assert adds_up(attrition)
    assert list(attrition["num_dropped"]) == [14, 1740]
    assert attrition["num_in"].iloc[0] == 2651
    assert "14 series" in attrition["note"].iloc[0]


def test_the_count_of_thin_series(tmp_path):
    bounds = {"min_annotations": 3, "max_annotations": 8, "max_slice_thickness_mm": 2.5}
    selected, attrition = run(real_tables(), tmp_path, **bounds)
    assert len(selected) == 1192
    assert adds_up(attrition)


def test_diameters(tmp_path):
    selected, attrition = run(real_tables(), tmp_path, min_diameter_mm=8, max_diameter_mm=20)
    assert selected["diameter_mm"].between(8, 20).all()
    assert adds_up(attrition)
    assert list(attrition["criterion"])[2:] == [
        "mean diameter at least 8 mm",
        "mean diameter at most 20 mm",
    ]


def test_a_larger_draw_contains_the_smaller(tmp_path):
    drawn = [
        set(run(real_tables(), tmp_path, num_patients=n)[0]["patient_id"]) for n in (5, 30, 31)
    ]
    assert [len(patients) for patients in drawn] == [5, 30, 31]
    assert drawn[0] < drawn[1] < drawn[2]
    other = set(run(real_tables(), tmp_path, num_patients=30, seed=1)[0]["patient_id"])
    assert other != drawn[1]


@given(st.sets(st.text("abc", min_size=1), min_size=1), st.integers(1, 9), st.integers(0, 99))
def test_a_patients_place_in_the_draw_never_depends_on_the_others(names, number, seed):
    nodules = pd.DataFrame({"patient_id": sorted(names)})
    kept = set(nodules[drawn_patients(number, seed)(nodules)[0]]["patient_id"])
    assert len(kept) == min(number, len(names))
    fewer = nodules[nodules["patient_id"].isin(kept)]
    assert drawn_patients(number, seed)(fewer)[0].all()


def test_a_list_of_patients(tmp_path):
    patients = ["LIDC-IDRI-0001", "LIDC-IDRI-0003"]
    selected, _ = run(real_tables(), tmp_path, patients=patients)
    assert sorted(set(selected["patient_id"])) == patients


def test_an_unknown_patient_is_named_with_the_nearest(tmp_path):
    with pytest.raises(InputError, match=r"LIDC-IDRI-00011.*LIDC-IDRI-0011"):
        run(real_tables(), tmp_path, patients=["LIDC-IDRI-00011"])


def test_series_that_are_not_at_hand_are_dropped_with_the_reason(tmp_path):
    tables = make_tables(tmp_path)
    write_table(local_files(["1.2.0"]), tmp_path / "files.csv", "files", {})
    selected, attrition = run(tables, tmp_path, tmp_path / "files.csv")
    assert list(selected["series_uid"]) == ["1.2.0", "1.2.0"]
    assert adds_up(attrition)
    row = attrition[attrition["criterion"] == "series among the local files"].iloc[0]
    assert (row["num_in"], row["num_dropped"]) == (4, 2)
    assert row["note"] == "dropped: series not among the local files"


def test_a_cut_out_volume_holds_only_the_nodules_whose_centre_is_in_it(tmp_path):
    tables = make_tables(tmp_path)
    box = {"row0": 90, "column0": 140, "slice0": 18}
    size = {"num_rows": 21, "num_columns": 21, "num_slices": 5}
    write_table(local_files(["1.2.0"], **box, **size), tmp_path / "files.csv", "files", {})
    selected, _ = run(tables, tmp_path, tmp_path / "files.csv")
    assert list(selected["center_row_px"]) == [100.0]


@pytest.mark.parametrize(
    ("slice0", "num_slices", "is_in"), [(3, 2, True), (4, 2, False), (0, 3, False)]
)
def test_the_box_of_a_cut_out_is_half_open(slice0, num_slices, is_in):
    nodules = pd.DataFrame(
        {
            "series_uid": ["1"],
            "center_row_px": [9.5],
            "center_column_px": [0.0],
            "center_z_mm": [LOWEST_Z_MM + 3 * SPACING_MM],
        }
    )
    z_mm = [LOWEST_Z_MM + SPACING_MM * index for index in range(8)]
    slices = pd.DataFrame({"series_uid": "1", "z_mm": z_mm})
    size = {"num_rows": 4, "num_columns": 1, "num_slices": num_slices}
    files = local_files(["1"], row0=9, column0=0, slice0=slice0, **size)
    assert list(inside_volumes(files, slices)(nodules)[0]) == [is_in]


def test_the_real_volumes_hold_their_own_nodules_and_no_other(tmp_path, real_data):
    volumes = pd.read_csv(real_data / "lidc-vois" / "volumes.csv")
    boxes = volumes[["row0", "slice0", "num_rows", "num_columns", "num_slices"]].to_dict("list")
    files = local_files(volumes["series_uid"], column0=list(volumes["col0"]), **boxes)
    write_table(files, tmp_path / "files.csv", "files", {})
    selected, attrition = run(real_tables(), tmp_path, tmp_path / "files.csv")
    four = volumes[volumes["num_annotations"] == 4]
    assert len(selected) == 476
    assert set(selected["annotation_ids"].map(" ".join)) == set(four["annotation_ids"])
    assert adds_up(attrition)


def test_groups_of_more_than_four_only_when_asked_for(tmp_path):
    tables = make_tables(tmp_path)
    bounds = {"min_annotations": 1}
    assert run(tables, tmp_path, **bounds)[0]["num_annotations"].max() == 4
    assert run(tables, tmp_path, **bounds, max_annotations=8)[0]["num_annotations"].max() == 5
    few, attrition = run(tables, tmp_path, **bounds, max_annotations=2)
    assert list(few["num_annotations"]) == [1]
    assert adds_up(attrition)


def test_an_empty_cohort_names_the_criterion(tmp_path):
    with pytest.raises(InputError, match="mean diameter at least 500 mm"):
        run(make_tables(tmp_path), tmp_path, min_diameter_mm=500)
    assert not (tmp_path / "selected.csv").exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"min_annotations": 4}'])
def test_criteria_that_are_not_the_config_block(text):
    with pytest.raises(InputError, match="min_annotations"):
        select_nodules.read_criteria(text)


@given(st.lists(st.integers(1, 8)), st.integers(1, 8), st.integers(1, 8))
def test_any_steps_add_up(sizes, low, high):
    nodules = pd.DataFrame({"num_annotations": sizes}, dtype="Int64")
    steps = [("a", within("num_annotations", low=low)), ("b", within("num_annotations", high=high))]
    left, attrition = apply_steps(nodules, steps)
    assert adds_up(attrition)
    assert len(left) == sum(low <= size <= high for size in sizes)


def test_two_runs_write_the_same_bytes(tmp_path):
    files = ("selected.csv", "attrition.csv", "selected.csv-metadata.json")
    written = []
    for _ in range(2):
        run(real_tables(), tmp_path, num_patients=30)
        written.append([(tmp_path / file).read_bytes() for file in files])
    assert written[0] == written[1]
