"""find_series: any layout, each unusable file listed with its reason, nothing from outside."""

import os
import shutil
from pathlib import Path

import find_series
import numpy as np
import pandas as pd
import pytest
from dicom_factory import SERIES_UID, write_series, write_volume
from hypothesis import given, settings
from hypothesis import strategies as st
from image_tables import arguments, write_tables

from quorum.bad_files import BadFile
from quorum.dicom_files import read_headers, read_identity
from quorum.errors import InputError
from quorum.local_layouts import walk_files
from quorum.tables import read_table

# Damaged headers are meant: a line for each would hide what failed.
pytestmark = pytest.mark.filterwarnings("ignore:::pydicom")

EVEN = [2.0 * index for index in range(6)]
HU = np.full((6, 4, 5), -500, np.int16)


def find(tmp_path, root, volumes=""):
    """Run the script; return its two tables."""
    flags = write_tables(tmp_path / "t", {SERIES_UID: EVEN, f"{SERIES_UID}.9": EVEN})
    out = {"--out-files": tmp_path / "t/files.csv", "--out-unused": tmp_path / "t/unused.csv"}
    find_series.main(
        arguments({"--series": flags["--series"], "--root": root, "--volumes": volumes}, out)
    )
    files = read_table(out["--out-files"], "files")
    return files, read_table(out["--out-unused"], "unused_files").set_index("path")


def layout_nbia(root, paths):
    return root / "LIDC-IDRI/LIDC-IDRI-0001/01-01-2000-NA-30178/3000566.000000-NA-03192"


def layout_idc(root, paths):
    return root / f"lidc_idri/LIDC-IDRI-0001/1.2.3/CT_{SERIES_UID}"


def layout_flat(root, paths):
    return root


@pytest.mark.parametrize("layout", [layout_nbia, layout_idc, layout_flat])
@pytest.mark.parametrize("suffix", [".dcm", ""])
def test_dicom_is_found_in_any_layout_under_any_name(tmp_path, layout, suffix):
    root = tmp_path / "root"
    folder = layout(root, None)
    for path in write_series(folder, EVEN):
        path.rename(path.with_suffix(suffix))
    files, unused = find(tmp_path, root)
    assert len(files) == 6
    assert (files.series_uid == SERIES_UID).all()
    assert (files.kind == "dicom").all()
    assert files.sop_instance_uid.nunique() == 6
    assert [(root / path).stat().st_size for path in files.path] == files.num_bytes.tolist()
    assert len(unused) == 0


def test_luna16_is_read_as_it_is_and_its_lung_masks_are_not(tmp_path):
    root = tmp_path / "root"
    write_volume(root / "subset3" / f"{SERIES_UID}.mhd", HU)
    write_volume(root / "seg-lungs-LUNA16" / f"{SERIES_UID}.mhd", HU)
    write_volume(root / "subset4" / f"{SERIES_UID}.777.mhd", HU)
    files, unused = find(tmp_path, root)
    assert files.path.tolist() == [f"subset3/{SERIES_UID}.mhd"]
    row = files.iloc[0]
    assert (row.kind, row.is_cut_out, row.data_kind) == ("volume", False, "scan")
    assert (row.num_slices, row.num_rows, row.num_columns) == (6, 4, 5)
    assert unused.reason.to_dict() == {
        f"seg-lungs-LUNA16/{SERIES_UID}.mhd": "several volumes for one series",
        f"subset4/{SERIES_UID}.777.mhd": "other series",
    }


def test_dicom_is_taken_before_a_volume_of_the_same_series(tmp_path):
    root = tmp_path / "root"
    write_series(root / "dicom", EVEN)
    write_volume(root / "subset3" / f"{SERIES_UID}.mhd", HU)
    files, unused = find(tmp_path, root)
    assert (files.kind == "dicom").all()
    assert unused.reason.tolist() == ["series is there as DICOM"]


def test_every_file_that_is_not_used_has_its_reason(tmp_path):
    root = tmp_path / "root"
    good = write_series(root / "good", EVEN)
    write_series(root / "sr", [0.0], Modality="SR")
    write_series(root / "other", [0.0], SeriesInstanceUID="1.2.3.4")
    write_series(root / "phantom", [0.0], QualityControlImage="YES")
    write_series(root / "named", [0.0], SeriesDescription="Quorum phantom")
    write_series(root / "random", [0.0], SeriesInstanceUID="2.25.123")
    write_series(root / "no_uid", [0.0], SOPInstanceUID="../../etc")
    shutil.copy(good[0], root / "again.dcm")
    (root / "notes.txt").write_text("hello")
    (root / "empty.dcm").write_bytes(b"")
    (root / "head.dcm").write_bytes(good[0].read_bytes()[:200])
    os.mkfifo(root / "pipe.dcm")
    (root / "dangling.dcm").symlink_to(root / "nowhere")
    files, unused = find(tmp_path, root)
    assert len(files) == 6
    assert unused.reason.to_dict() == {
        "sr/1-001.dcm": "other modality",
        "other/1-001.dcm": "other series",
        "phantom/1-001.dcm": "phantom",
        "named/1-001.dcm": "phantom",
        "random/1-001.dcm": "phantom",
        "no_uid/1-001.dcm": "unreadable",
        "good/1-006.dcm": "same instance twice",
        "notes.txt": "not DICOM",
        "empty.dcm": "not DICOM",
        "head.dcm": "unreadable",
        "pipe.dcm": "no plain file",
        "dangling.dcm": "unreadable",
    }
    assert unused.detail["other/1-001.dcm"] == "1.2.3.4"
    assert unused.detail["good/1-006.dcm"] == "as in again.dcm"


def test_links_that_leave_the_root_are_refused(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    paths = write_series(root / "in", EVEN)
    foreign = write_series(outside, EVEN, SeriesInstanceUID=f"{SERIES_UID}.9")
    (root / "out.dcm").symlink_to(foreign[0])
    (root / "folder").symlink_to(outside)
    (root / "loop").symlink_to(root)
    moved = root / "elsewhere.bin"
    paths[0].rename(moved)
    paths[0].symlink_to(moved)
    files, unused = find(tmp_path, root)
    assert set(files.series_uid) == {SERIES_UID}
    assert len(files) == 6
    assert unused.reason.to_dict() == {
        "out.dcm": "link",
        "folder": "link",
        "loop": "link",
        "in/1-006.dcm": "same instance twice",
    }


def test_a_mhd_that_points_elsewhere_is_refused(tmp_path):
    root = tmp_path / "root"
    write_series(root / "d", EVEN, SeriesInstanceUID=f"{SERIES_UID}.9")
    path = write_volume(root / "subset0" / f"{SERIES_UID}.mhd", HU)
    secret = tmp_path / "secret.raw"
    path.with_suffix(".raw").rename(secret)
    path.write_text(path.read_text().replace(f"{SERIES_UID}.raw", str(secret)))
    _, unused = find(tmp_path, root)
    assert unused.reason[f"subset0/{SERIES_UID}.mhd"] == "unreadable"
    assert "no plain file beside it" in unused.detail[f"subset0/{SERIES_UID}.mhd"]


def test_a_nrrd_that_points_elsewhere_is_refused(tmp_path):
    root = tmp_path / "root"
    write_series(root / "d", EVEN, SeriesInstanceUID=f"{SERIES_UID}.9")
    (root / f"{SERIES_UID}.nrrd").write_text(
        "NRRD0004\ntype: short\ndimension: 3\nsizes: 5 4 6\nencoding: raw\n"
        "space: left-posterior-superior\ndata file: ../secret.raw\n"
    )
    (tmp_path / "secret.raw").write_bytes(HU.tobytes())
    _, unused = find(tmp_path, root)
    assert unused.reason[f"{SERIES_UID}.nrrd"] == "unreadable"


def test_a_volume_that_claims_too_much_is_refused_before_memory_is_taken(tmp_path):
    root = tmp_path / "root"
    write_series(root / "d", EVEN, SeriesInstanceUID=f"{SERIES_UID}.9")
    path = write_volume(root / "subset0" / f"{SERIES_UID}.mhd", HU)
    path.write_text(path.read_text().replace("DimSize = 5 4 6", "DimSize = 65535 65535 10000"))
    _, unused = find(tmp_path, root)
    assert unused.reason[f"subset0/{SERIES_UID}.mhd"] == "size beyond bounds"


# Lists of volumes.


def listed(tmp_path, rows, folder="images"):
    """Write two volumes and a list of them under a root; return the root."""
    root = tmp_path / "root"
    for name in ("a.nii.gz", "b.nrrd"):
        write_volume(root / "vois" / folder / name, HU)
    pd.DataFrame(rows).to_csv(root / "vois" / "volumes.csv", index=False)
    return root


CUT_OUT = {"file": "a.nii.gz", "series_uid": SERIES_UID, "row0": 3, "col0": 4, "slice0": 0}


@pytest.mark.parametrize("folder", ["images", "."])
def test_a_list_names_cut_outs_and_whole_volumes(tmp_path, folder):
    whole = {"file": "b.nrrd", "series_uid": f"{SERIES_UID}.9", "anything": "else"}
    root = listed(tmp_path, [CUT_OUT, whole], folder)
    write_series(root / "dicom", EVEN)  # with a list, only what it names is used
    files, unused = find(tmp_path, root, "vois/volumes.csv")
    assert files.kind.tolist() == ["volume", "volume"]
    assert files.is_cut_out.tolist() == [True, False]
    assert files.data_kind.tolist() == ["cut_out", "scan"]
    assert files[["row0", "column0", "slice0"]].iloc[1].tolist() == [0, 0, 0]
    assert files[["num_slices", "num_rows", "num_columns"]].iloc[0].tolist() == [6, 4, 5]
    assert len(unused) == 0


def test_a_listed_volume_of_another_series_or_without_hu_is_unused(tmp_path):
    root = listed(
        tmp_path,
        [
            CUT_OUT,
            CUT_OUT,
            {"file": "b.nrrd", "series_uid": "1.2.3"},
            {"file": "mask.nii.gz", "series_uid": SERIES_UID},
        ],
    )
    write_volume(root / "vois" / "mask.nii.gz", HU.astype(np.uint8))
    files, unused = find(tmp_path, root, "vois/volumes.csv")
    assert len(files) == 1
    assert sorted(unused.reason) == ["named twice", "no HU", "other series"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file": "gone.nii.gz"}, r"line 2 of .*volumes.csv names 'gone.nii.gz'"),
        ({"file": "../../secret.nii.gz"}, "outside of"),
        ({"file": "a.dcm"}, "a volume"),
        ({"series_uid": "../../etc"}, "as a UID"),
        ({"patient_id": "P2"}, "P2 to a series of P1"),
        ({"row0": None}, "lacks row0"),
        ({"row0": "many"}, "line 2 .* has 'many' as row0"),
        ({"row0": 2.5}, "line 2 .* has '2.5' as row0"),
        ({"series_origin_x_mm": "left"}, "has 'left' as series_origin_x_mm"),
    ],
)
def test_a_wrong_row_of_a_list_is_named(tmp_path, change, message):
    root = listed(tmp_path, [{**CUT_OUT, **change}])
    write_volume(tmp_path / "secret.nii.gz", HU)
    with pytest.raises(InputError, match=message):
        find(tmp_path, root, "vois/volumes.csv")
    assert not (tmp_path / "t" / "files.csv").exists()


def test_a_list_without_its_columns_or_itself_is_told(tmp_path):
    root = listed(tmp_path, [{"file": "a.nii.gz"}])
    with pytest.raises(InputError, match="lacks the columns series_uid"):
        find(tmp_path, root, "vois/volumes.csv")
    with pytest.raises(InputError, match="can't be read"):
        find(tmp_path, root, "vois/none.csv")


# Properties.


def outcome(read, *args) -> str:
    """Return `read` when a file can be read, or the reason when it can't; else the test fails."""
    try:
        read(*args)
    except BadFile as error:
        return error.reason
    return "read"


REASONS = {"unreadable", "truncated", "no pixels", "size beyond bounds", "not DICOM"}


@settings(deadline=None)  # the machine's load is no finding
@given(st.binary(max_size=600))
def test_no_bytes_after_a_dicom_preamble_are_fatal(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.dcm"
    path.write_bytes(b"\0" * 128 + b"DICM" + content)
    assert outcome(read_identity, path) in {*REASONS, "read"}
    assert outcome(read_headers, path, "fuzz.dcm") in REASONS


@settings(deadline=None)  # the machine's load is no finding
@given(st.data())
def test_no_change_of_a_byte_is_fatal(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    good = folder / "good"
    if not good.exists():
        write_series(good, [0.0])
    content = bytearray((good / "1-001.dcm").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(132, 1200))
        content[place] = data.draw(st.integers(0, 255))
    path = folder / "flipped.dcm"
    path.write_bytes(content[: data.draw(st.integers(200, len(content)))])
    assert outcome(read_headers, path, "flipped.dcm") in {*REASONS, "read"}


def test_walking_lists_every_file_once(tmp_path):
    for name in ("b/2", "a", "b/c/1"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    assert walk_files(tmp_path) == (["a", "b/2", "b/c/1"], [])


def test_the_real_volumes_and_the_real_series_are_indexed(real_data, tmp_path):
    import list_series

    tables = [str(tmp_path / "series.csv"), str(tmp_path / "slices.parquet")]
    list_series.main(["--out-series", tables[0], "--out-slices", tables[1]])
    out = ["--out-files", str(tmp_path / "f.csv"), "--out-unused", str(tmp_path / "u.csv")]
    for root, volumes, counts in (
        (real_data, "lidc-vois/volumes.csv", (706, 399)),
        (real_data / "lidc-dicom", "", (133, 1)),
    ):
        find_series.main(["--series", tables[0], "--root", str(root), "--volumes", volumes, *out])
        files = read_table(tmp_path / "f.csv", "files")
        assert (len(files), files.series_uid.nunique()) == counts
        assert all(Path(root, path).is_file() for path in files.path)
