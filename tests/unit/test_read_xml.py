"""The original XML becomes tables; order and packing change nothing."""

import pytest
from annotation_factory import SERIES, cube_outlines
from hypothesis import given, settings
from hypothesis import strategies as st
from xml_factory import (
    message,
    nodule,
    non_nodule,
    read,
    real_xml,
    session,
    small_nodule,
    write_folder,
    write_tar,
    write_zip,
)

from quorum.errors import InputError
from quorum.tables import read_table
from quorum.xml_tables import crosses_itself

BLOCK = cube_outlines(20, 100, 150, 4)
OTHER = cube_outlines(10, 200, 250, 5)
READING = message([
    session([nodule("a", BLOCK, (1, 2, 3, 4, 5, 1, 2, 3, 4)), non_nodule("n", -60.0, 30, 40)]),
    session([nodule("b", BLOCK), nodule("c", OTHER)]),
    session([small_nodule("d", -60.0, 100, 150)]),
    session(),
])  # fmt: skip


def tables(paths) -> dict:
    names = {"sessions": "xml_sessions", "files": "xml_files", "remarks": "xml_remarks"}
    return {name: read_table(path, names.get(name, name)) for name, path in paths.items()}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("xml")
    return tables(read(folder / "out", write_folder(folder / "xml", {"1.xml": READING})))


def test_annotations_hold_session_ratings_and_ids(found):
    annotations = found["annotations"]
    assert annotations["session"].tolist() == [1, 2, 2]
    assert annotations["mark_id"].tolist() == ["a", "b", "c"]
    assert annotations["patient_id"].unique().tolist() == ["PATIENT-0000"]
    first = annotations.iloc[0]
    assert [first["subtlety"], first["internal_structure"], first["calcification"]] == [1, 2, 3]
    assert [first["sphericity"], first["margin"], first["lobulation"]] == [4, 5, 1]
    assert [first["spiculation"], first["texture"], first["malignancy"]] == [2, 3, 4]
    assert annotations["annotation_id"].is_unique
    assert not annotations["annotation_id"].str.contains(r"[ +]").any()


def test_outlines_are_rows_and_columns_as_they_stand(found):
    own = found["contours"][found["contours"]["annotation_id"].str.contains("-s1-")]
    assert own["z_mm"].tolist() == [z for z, _, _ in BLOCK]
    for (_, rows, columns), row in zip(BLOCK, own.itertuples(), strict=True):
        assert list(row.rows) == list(rows)
        assert list(row.columns) == list(columns)


def test_points_and_sessions(found):
    points = found["points"]
    assert points["kind"].tolist() == ["non_nodule", "small_nodule"]
    assert points[["session", "row", "column"]].to_numpy().tolist() == [[1, 30, 40], [3, 100, 150]]
    sessions = found["sessions"]
    assert sessions["is_blank"].tolist() == [False, False, False, True]
    assert sessions["num_annotations"].tolist() == [1, 2, 0, 0]
    assert sessions["num_small_nodules"].tolist() == [0, 0, 1, 0]
    assert sessions["num_non_nodules"].tolist() == [1, 0, 0, 0]


FILES = {
    "tcia-lidc-xml/157/158.xml": READING,
    "tcia-lidc-xml/185/2.xml": message([session()], "1.2.4", uid="1.9.2"),
    "tcia-lidc-xml/185/3.xml": message([session()], "1.2.4", uid="1.9.1"),
    "tcia-lidc-xml/readme.txt": "hello",
}


def csv_bytes(paths) -> dict:
    return {name: p.read_bytes() for name, p in paths.items() if p.suffix == ".csv"}


def test_folder_zip_tar_and_any_order_give_the_same_bytes(tmp_path):
    uids = (SERIES, "1.2.4")
    backwards = dict(reversed(FILES.items()))
    sources = [
        write_folder(tmp_path / "folder", FILES),
        write_zip(tmp_path / "a.zip", FILES),
        write_zip(tmp_path / "b.zip", backwards),
        write_tar(tmp_path / "a.tar.gz", FILES),
        write_tar(tmp_path / "b.tar", backwards),
        tmp_path / "folder" / "tcia-lidc-xml",
    ]
    results = [csv_bytes(read(tmp_path / f"out{k}", s, uids)) for k, s in enumerate(sources)]
    assert len(results[0]) == 5
    for other in results[1:]:
        assert other == results[0]


def test_equal_files_collapse_and_chest_films_are_counted(tmp_path):
    files = FILES | {"tcia-lidc-xml/9.xml": message([], "1.2.3", root="IdriReadMessage")}
    xml = write_folder(tmp_path / "xml", files)
    found = tables(read(tmp_path / "out", xml, (SERIES, "1.2.4")))["files"].set_index("file")
    assert found["is_used"].to_dict() == {
        "157/158.xml": True, "185/2.xml": False, "185/3.xml": True, "9.xml": False,
        "readme.txt": False,
    }  # fmt: skip
    assert found.loc["185/2.xml", "reason"] == "same_as_another_file"
    assert found.loc["185/2.xml", "detail"] == "185/3.xml"
    assert found.loc["9.xml", "reason"] == "chest_film"


def test_the_correction_replaces_its_original(tmp_path):
    files = {"157/161.xml": READING, "161-resubmitted-correction.xml": message([session()] * 4)}
    found = tables(read(tmp_path / "out", write_folder(tmp_path / "xml", files)))
    assert len(found["annotations"]) == 0
    assert found["sessions"]["is_blank"].all()
    reasons = found["files"].set_index("file")["reason"]
    assert reasons["157/161.xml"] == "replaced_by_correction"


def test_a_session_of_another_series_is_left_out_and_named(tmp_path):
    stray = session([non_nodule("x", -31.0, 5, 5), small_nodule("y", -33.0, 6, 6)])
    files = {"1.xml": message([session(), stray]), "2.xml": message([stray], "1.2.4")}
    found = tables(read(tmp_path / "out", write_folder(tmp_path / "xml", files), (SERIES, "1.2.4")))
    sessions = found["sessions"].set_index(["file", "session"])
    assert not sessions.loc[("1.xml", 2), "is_used"]
    assert "session 1 of 2.xml" in sessions.loc[("1.xml", 2), "detail"]
    assert sessions.loc[("1.xml", 1), "is_used"]


POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=7)


def cross(a, b, c, d) -> bool:
    """Whether segments ab and cd cross properly."""

    def side(p, q, r):
        value = (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])
        return (value > 0) - (value < 0)

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0


@settings(deadline=None, max_examples=300)
@given(POINTS)
def test_crossings_are_those_of_all_pairs_of_edges(points):
    edges = list(zip(points, points[1:] + points[:1], strict=True))
    expected = any(
        cross(*edges[i], *edges[j]) for i in range(len(edges)) for j in range(i + 1, len(edges))
    )
    assert crosses_itself(*zip(*points, strict=True)) == expected


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.sampled_from([(1, 0), (0, 1), (1, 1), (1, -1), (-1, 0)]), min_size=3, max_size=12)
)
def test_crossings_of_unit_steps(steps):
    points = [(20, 20)]
    for step in steps:
        points.append((points[-1][0] + step[0], points[-1][1] + step[1]))
    points += points[-2::-1]  # back the same way: no edge is longer than a step
    edges = list(zip(points, points[1:] + points[:1], strict=True))
    expected = any(
        cross(*edges[i], *edges[j]) for i in range(len(edges)) for j in range(i + 1, len(edges))
    )
    assert crosses_itself(*zip(*points, strict=True)) == expected


@pytest.fixture(scope="module")
def real(real_data):
    return real_xml(str(real_data / "lidc-xml" / "tcia-lidc-xml.tar.xz"))


def test_the_collection_has_its_known_counts(real):
    found = tables(
        {name: real.xml[name] for name in ("files", "sessions", "points", "annotations")}
    )
    files, sessions = found["files"], found["sessions"]
    assert len(files) == 1319
    assert (files["root"] == "LidcReadMessage").sum() == 1036
    assert files["is_used"].sum() == 1018
    assert files.loc[files["is_used"], "series_uid"].nunique() == 1018
    assert files["reason"].value_counts().to_dict() == {
        "chest_film": 283, "same_as_another_file": 17, "replaced_by_correction": 1,
    }  # fmt: skip
    assert sessions["is_used"].sum() == 4071
    assert sessions["is_blank"].sum() == 20
    assert sessions.loc[~sessions["is_used"], "file"].tolist() == ["188/011.xml"] * 4
    counts = sessions[sessions["is_used"]].groupby("file").size()
    assert counts[counts != 4].to_dict() == {"189/110.xml": 3}
    assert len(found["annotations"]) == 6861
    assert found["points"]["kind"].value_counts().to_dict() == {
        "non_nodule": 21627, "small_nodule": 13226,
    }  # fmt: skip


def test_every_remark_of_the_collection_is_known(real):
    remarks = read_table(real.xml["remarks"], "xml_remarks")
    counts = remarks.groupby(["level", "reason", "is_used"]).size().to_dict()
    assert counts == {
        ("file", "chest_film", False): 283,
        ("file", "replaced_by_correction", False): 1,
        ("file", "same_as_another_file", False): 17,
        ("session", "on_no_slice", False): 4,
        ("mark", "outlined_without_ratings", True): 2,
        ("mark", "same_mark_twice", False): 20,
        ("outline", "outline_crosses_itself", True): 59,
        ("outline", "outline_of_one_point", False): 64,
        ("outline", "outline_of_two_points", True): 1,
        ("rating", "rating_out_of_range", True): 1,
        ("rating", "ratings_of_one_point", False): 2,
    }


def test_no_series_of_the_list_is_one_sentence(tmp_path):
    xml = write_folder(tmp_path / "xml", {"1.xml": message([session()], "9.9")})
    with pytest.raises(InputError, match="no reading of any of the 1 series"):
        read(tmp_path / "out", xml)
