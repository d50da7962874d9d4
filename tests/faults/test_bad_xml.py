"""Bad XML and bad archives: one clear sentence, or one counted reason each."""

import io
import os
import tarfile
import zipfile

import pytest
import xml_factory
from annotation_factory import SERIES, cube_outlines, ring
from xml_factory import message, nodule, roi, session, small_nodule, write_folder, write_zip

from quorum.errors import InputError
from quorum.tables import read_table

BLOCK = cube_outlines(20, 100, 150, 4)
GOOD = message([session([nodule("a", BLOCK)])])
BOMB = (
    '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">]>'
    "<LidcReadMessage>&b;</LidcReadMessage>"
)
OUTSIDE = '<!DOCTYPE l SYSTEM "file:///etc/passwd"><LidcReadMessage/>'


def refused(tmp_path, files, words: str):
    """Reading ends in one sentence, and nothing is written."""
    xml = write_folder(tmp_path / "xml", files) if isinstance(files, dict) else files
    with pytest.raises(InputError, match=words) as caught:
        xml_factory.read(tmp_path / "out", xml)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "annotations.csv").exists()


def remarks_of(tmp_path, files: dict) -> dict:
    """Return {(level, reason, is_used): rows} and the tables of a reading that goes on."""
    paths = xml_factory.read(tmp_path / "out", write_folder(tmp_path / "xml", files))
    remarks = read_table(paths["remarks"], "xml_remarks")
    counts = remarks.groupby(["level", "reason", "is_used"]).size().to_dict()
    return counts, read_table(paths["annotations"], "annotations"), paths


@pytest.mark.parametrize(
    "data",
    [GOOD[: len(GOOD) // 2], GOOD.replace("</roi>", "", 1), "", "no XML at all", b"\x00\xff"],
)
def test_broken_or_truncated(tmp_path, data):
    refused(tmp_path, {"1.xml": GOOD, "2.xml": data}, "2.xml is not well-formed XML")


@pytest.mark.parametrize("data", [BOMB, OUTSIDE, BOMB.encode("utf-16")])
def test_entities_are_refused_before_anything_is_expanded(tmp_path, data):
    refused(tmp_path, {"1.xml": GOOD, "2.xml": data}, "2.xml declares a document type")


def test_too_deep(tmp_path):
    deep = GOOD.replace("</LidcReadMessage>", "<x>" * 40 + "</x>" * 40 + "</LidcReadMessage>")
    refused(tmp_path, {"1.xml": deep}, "deeper than 16 levels")


def test_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr("quorum.xml_archive.MAX_FILE_BYTES", 1000)
    refused(tmp_path, {"1.xml": GOOD}, "grows too large")


def test_a_zip_that_grows_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr("quorum.xml_archive.MAX_FILE_BYTES", 1 << 16)
    archive = write_zip(tmp_path / "a.zip", {"1.xml": b" " * (1 << 20)})
    assert archive.stat().st_size < 1 << 12
    refused(tmp_path, archive, "grows too large")


def test_too_many_files(tmp_path, monkeypatch):
    monkeypatch.setattr("quorum.xml_archive.MAX_FILES", 2)
    refused(tmp_path, {f"{k}.xml": GOOD for k in range(3)}, "grows too large")


@pytest.mark.parametrize(
    "name", ["../evil.xml", "a/../../evil.xml", "/etc/evil.xml", "C:/evil.xml"]
)
def test_a_member_that_leaves_the_archive(tmp_path, name):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr(name, GOOD)
    refused(tmp_path, archive, "whose path leaves the archive")
    assert not list(tmp_path.rglob("evil.xml"))


def test_a_tar_whose_member_leaves_it(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as opened:
        entry = tarfile.TarInfo("../evil.xml")
        entry.size = len(GOOD)
        opened.addfile(entry, io.BytesIO(GOOD.encode()))
    refused(tmp_path, tmp_path / "a.tar", "whose path leaves the archive")


def test_a_tar_with_a_link(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as opened:
        entry = tarfile.TarInfo("1.xml")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        opened.addfile(entry)
    refused(tmp_path, tmp_path / "a.tar", "a link or device")


def test_a_folder_with_a_link_out_of_it(tmp_path):
    folder = write_folder(tmp_path / "xml", {"1.xml": GOOD})
    (tmp_path / "secret.xml").write_text(GOOD)
    os.symlink(tmp_path / "secret.xml", folder / "2.xml")
    refused(tmp_path, folder, "a link or device")


def test_a_cut_off_archive(tmp_path):
    whole = xml_factory.write_tar(tmp_path / "a.tar.gz", {"1.xml": GOOD * 50}).read_bytes()
    (tmp_path / "b.tar.gz").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path, tmp_path / "b.tar.gz", "can't be read as a folder, zip or tar")


def test_no_archive_at_all(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"hello")
    refused(tmp_path, tmp_path / "a.bin", "can't be read as a folder, zip or tar")
    refused(tmp_path, tmp_path / "nothing.zip", "can't be read as a folder, zip or tar")


def test_two_readings_of_one_series(tmp_path):
    files = {"1.xml": GOOD, "2.xml": message([session()], uid="1.9.9")}
    refused(tmp_path, files, "different readings of one series")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (message([session()], None, uid="1"), "no_series_uid"),
        (message([session()], namespace="http://example.org"), "unknown_namespace"),
        (message([session()], namespace=""), "unknown_namespace"),
        (message([session()], root="Report"), "unknown_root"),
        (message([session()], "9.8.7"), "series_not_listed"),
    ],
)
def test_a_file_that_is_not_used_is_counted(tmp_path, text, reason):
    counts, annotations, _ = remarks_of(tmp_path, {"1.xml": GOOD, "2.xml": text})
    assert counts == {("file", reason, False): 1}
    assert len(annotations) == 1


def reading(*marks) -> dict:
    return {"1.xml": message([session(marks)])}


@pytest.mark.parametrize("value", ["many", "", "3.5"])
def test_a_rating_that_is_no_number(tmp_path, value):
    ratings = (3, 3, 3, 3, value, 3, 3, 3, 3)
    counts, annotations, _ = remarks_of(tmp_path, reading(nodule("a", BLOCK, ratings)))
    assert counts == {("rating", "rating_is_no_number", False): 1}
    assert annotations["margin"].isna().all()
    assert annotations["texture"].tolist() == [3]


def test_a_rating_out_of_range_is_kept_and_flagged(tmp_path):
    ratings = (3, 5, 3, 3, 3, 3, 3, 3, 3)  # annotation 3761's internal structure is real
    counts, annotations, _ = remarks_of(tmp_path, reading(nodule("a", BLOCK, ratings)))
    assert counts == {("rating", "rating_out_of_range", True): 1}
    assert annotations["internal_structure"].tolist() == [5]
    assert annotations["has_rating_out_of_range"].tolist() == [True]


def test_one_and_two_points(tmp_path):
    outlines = [
        *BLOCK,
        (BLOCK[-1][0] + 2.0, [100], [150]),
        (BLOCK[-1][0] + 4.0, [100, 101], [150, 150]),
    ]
    counts, annotations, _ = remarks_of(tmp_path, reading(nodule("a", outlines)))
    assert counts == {
        ("outline", "outline_of_one_point", False): 1,
        ("outline", "outline_of_two_points", True): 1,
    }
    assert annotations["num_contours"].tolist() == [len(BLOCK) + 1]
    assert annotations["has_empty_outline"].tolist() == [True]


def test_a_single_point_with_ratings_is_a_small_nodule(tmp_path):
    marks = reading(nodule("a", BLOCK), nodule("b", [(-60.0, [5], [6])], (0,) * 9))
    counts, annotations, paths = remarks_of(tmp_path, marks)
    assert counts == {("rating", "ratings_of_one_point", False): 1}
    assert len(annotations) == 1
    points = read_table(paths["points"], "points")
    assert points[["kind", "row", "column"]].to_numpy().tolist() == [["small_nodule", 5, 6]]


def test_an_outline_that_crosses_itself_is_kept_and_counted(tmp_path):
    outlines = [(-60.0, [100, 110, 100, 110], [100, 110, 110, 100])]
    counts, annotations, _ = remarks_of(tmp_path, reading(nodule("a", outlines)))
    assert counts == {("outline", "outline_crosses_itself", True): 1}
    assert annotations["volume_mm3"].tolist()[0] > 0


def test_the_same_mark_twice(tmp_path):
    marks = reading(
        nodule("a", BLOCK), nodule("b", BLOCK),
        small_nodule("c", -60.0, 5, 6), small_nodule("d", -60.0, 5, 6),
    )  # fmt: skip
    counts, annotations, paths = remarks_of(tmp_path, marks)
    assert counts == {("mark", "same_mark_twice", False): 2}
    assert annotations["mark_id"].tolist() == ["a"]
    assert len(read_table(paths["points"], "points")) == 1


def test_z_on_no_slice(tmp_path):
    outlines = [*BLOCK, (-59.0, *ring(100, 150, 4))]  # slices lie at even z
    counts, annotations, _ = remarks_of(tmp_path, reading(nodule("a", outlines)))
    assert counts == {("outline", "z_on_no_slice", False): 1}
    assert annotations["num_contours"].tolist() == [len(BLOCK)]
    marks = reading(nodule("a", BLOCK), nodule("b", [(-59.0, *ring(100, 150, 4))]))
    counts, annotations, _ = remarks_of(tmp_path / "again", marks)
    assert counts[("mark", "no_usable_outline", False)] == 1
    assert annotations["mark_id"].tolist() == ["a"]


@pytest.mark.parametrize(
    ("outline", "reason"),
    [
        (roi("high", [1, 2, 3], [1, 2, 3]), "coordinate_is_no_number"),
        (roi("nan", [1, 2, 3], [1, 2, 3]), "coordinate_is_no_number"),
        (roi(-60.0, [1, "x", 3], [1, 2, 3]), "coordinate_is_no_number"),
        (roi(-60.0, [1, -2, 3], [1, 2, 3]), "point_outside_the_image"),
        (roi(-60.0, [1, 10**9, 3], [1, 2, 3]), "point_outside_the_image"),
        (roi(-60.0, [], []), "no_points"),
        (roi(-60.0, [1] * 5000, [2] * 5000), "too_many_points"),
    ],
)
def test_an_outline_that_cant_be_used_is_counted(tmp_path, outline, reason):
    counts, annotations, _ = remarks_of(tmp_path, reading(nodule("a", [*BLOCK, outline])))
    assert counts == {("outline", reason, False): 1}
    assert annotations["num_contours"].tolist() == [len(BLOCK)]


def test_outlined_without_ratings_is_kept_and_counted(tmp_path):
    counts, annotations, _ = remarks_of(tmp_path, reading(nodule("a", BLOCK, None)))
    assert counts == {("mark", "outlined_without_ratings", True): 1}
    assert annotations["malignancy"].isna().all()
    assert annotations["series_uid"].tolist() == [SERIES]
