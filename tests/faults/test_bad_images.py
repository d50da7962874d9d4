"""Bad images: one sentence each, outputs whole or absent, memory bounded, other series unharmed."""

import resource
import subprocess
import sys
import zlib

import numpy as np
import pydicom
import pytest
from dicom_factory import (
    COLUMNS,
    ROWS,
    SERIES_UID,
    edit,
    recode,
    stored_values,
    write_enhanced,
    write_series,
    write_volume,
)
from image_tables import arguments, nodule_row, run_check, write_tables
from pydicom import uid
from pydicom.sequence import Sequence

from quorum.bad_files import BadFile
from quorum.dicom_files import read_headers, read_identity
from quorum.dicom_lengths import MAX_INFLATED_BYTES

EVEN = [2.0 * index for index in range(12)]
GOOD = f"{SERIES_UID}.5"
MEMORY_BYTES = 2 << 30  # of address space, libraries and all; the claims below are far larger


def command(root, script, *flags):
    """Run a script as a user does, with its memory bounded; return the finished process."""
    return subprocess.run(
        [sys.executable, root / "scripts" / f"{script}.py", *arguments(*flags)],
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES)),
    )


def sentence(process) -> str:
    """Return the one line on stderr that a failed script ends with."""
    assert process.returncode == 1, process.stderr
    assert "Traceback" not in process.stderr
    last = process.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "; expected " in last
    assert "; to mend it, " in last
    return last


@pytest.mark.parametrize("content", ["nothing", "text", "volumes without a list", "phantom"])
def test_a_folder_without_usable_dicom_ends_the_run_in_one_sentence(tmp_path, root, content):
    images = tmp_path / "images"
    images.mkdir()
    if content == "text":
        (images / "notes.txt").write_text("no DICOM")
    elif content == "phantom":
        write_series(images, EVEN, QualityControlImage="YES")
    elif content == "volumes without a list":
        write_volume(images / "scan.nii.gz", np.zeros((3, 4, 5), np.int16))
    flags = write_tables(tmp_path / "t", {SERIES_UID: EVEN})
    out = {"--out-files": tmp_path / "o/files.csv", "--out-unused": tmp_path / "o/unused.csv"}
    process = command(root, "find_series", {"--series": flags["--series"], "--root": images}, out)
    assert "holds no image of a series that readers marked" in sentence(process)
    assert not (tmp_path / "o").exists()


def test_a_list_that_names_a_missing_file_ends_the_run_in_one_sentence(tmp_path, root):
    images = tmp_path / "images"
    images.mkdir()
    (images / "v.csv").write_text(f"file,series_uid\ngone.nii.gz,{SERIES_UID}\n")
    flags = write_tables(tmp_path / "t", {SERIES_UID: EVEN})
    out = {"--out-files": tmp_path / "o/files.csv", "--out-unused": tmp_path / "o/unused.csv"}
    process = command(
        root,
        "find_series",
        {"--series": flags["--series"], "--root": images, "--volumes": "v.csv"},
        out,
    )
    assert "line 2 of" in sentence(process)
    assert "'gone.nii.gz'" in process.stderr
    assert not (tmp_path / "o").exists()


def break_one(name, value):
    """Return a fault that changes one element of one file."""
    return lambda paths: edit(paths[3], **{name: value})


def truncate(paths):
    """Cut a file in the middle of its pixels."""
    paths[3].write_bytes(paths[3].read_bytes()[:-500])


def truncate_compressed(paths):
    """Cut a compressed file in the middle of its pixels."""
    recode(paths[3], uid.RLELossless)
    paths[3].write_bytes(paths[3].read_bytes()[:-500])


def corrupt_compressed(paths):
    """Break the inside of compressed pixels whose lengths stay right."""
    recode(paths[3], uid.JPEGLSLossless)
    content = bytearray(paths[3].read_bytes())
    start = content.index(b"\xff\xd8\xff")
    content[start : start + 60] = bytes(60)
    paths[3].write_bytes(content)


def undecodable(paths):
    """Name a transfer syntax that nothing decodes: MPEG2 video."""
    data = pydicom.dcmread(paths[3])
    data.compress(uid.RLELossless, generate_instance_uid=False)
    data.file_meta.TransferSyntaxUID = uid.MPEG2MPML
    data.save_as(paths[3])


def turn(paths):
    """Turn the whole series on its side."""
    for path in paths:
        edit(path, ImageOrientationPatient=[0.0, 1.0, 0.0, 0.0, 0.0, -1.0])


def vanish(paths):
    """Remove a file after it was listed."""
    paths[3].unlink()


def resize(paths):
    """Give one slice another size."""
    data = pydicom.dcmread(paths[3])
    data.Rows, data.PixelData = ROWS - 1, stored_values()[:-1].tobytes()
    data.save_as(paths[3])


FAULTS = {
    "truncated": (truncate, "truncated"),
    "truncated_compressed": (truncate_compressed, "truncated"),
    "corrupt_compressed": (corrupt_compressed, "unreadable"),
    "no_decoder": (undecodable, "no decoder for the transfer syntax"),
    "no_slope": (break_one("RescaleSlope", None), "no rescale"),
    "no_intercept": (break_one("RescaleIntercept", None), "no rescale"),
    "slope_of_zero": (break_one("RescaleSlope", 0), "no rescale"),
    "no_position": (break_one("ImagePositionPatient", None), "no geometry"),
    "position_of_two": (break_one("ImagePositionPatient", [1.0, 2.0]), "no geometry"),
    "no_spacing": (break_one("PixelSpacing", None), "no geometry"),
    "other_orientation": (turn, "not axial"),
    "mixed_orientation": (
        break_one("ImageOrientationPatient", [-1.0, 0.0, 0.0, 0.0, -1.0, 0.0]),
        "mixed orientation",
    ),
    "mixed_spacing": (break_one("PixelSpacing", [0.8, 0.8]), "mixed pixel spacing"),
    "mixed_sizes": (resize, "mixed sizes"),
    "wrong_modality": (break_one("Modality", "MR"), "wrong modality"),
    "colour": (break_one("PhotometricInterpretation", "MONOCHROME1"), "no CT pixels"),
    "another_series": (break_one("SeriesInstanceUID", "1.2.3.4"), "another series"),
    "phantom": (break_one("QualityControlImage", "YES"), "phantom"),
    "vanished": (vanish, "unreadable"),
    "no_pixels": (break_one("PixelData", None), "no pixels"),
    "huge": (break_one("Rows", 65535), "truncated"),
    "huge_frames": (break_one("NumberOfFrames", 2_000_000), "size beyond bounds"),
    "odd_number": (break_one("BitsAllocated", None), "unreadable"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_bad_file_excludes_its_series_and_no_other(tmp_path, name):
    fault, reason = FAULTS[name]
    bad = write_series(tmp_path / "images" / "bad", EVEN)
    write_series(tmp_path / "images" / "good", EVEN, SeriesInstanceUID=GOOD)
    for index, path in enumerate(sorted((tmp_path / "images" / "good").iterdir())):
        edit(path, SOPInstanceUID=f"{GOOD}.{index + 1}")
    files = [
        {
            "series_uid": series,
            "source_series_uid": series,
            "path": str(path.relative_to(tmp_path / "images")),
            "kind": "dicom",
            "data_kind": "scan",
        }
        for series, folder in ((SERIES_UID, "bad"), (GOOD, "good"))
        for path in sorted((tmp_path / "images" / folder).iterdir())
    ]
    fault(bad)
    nodules = [nodule_row("a", 4.0, 8.0), nodule_row("b", 4.0, 8.0, GOOD)]
    findings, slices = run_check(
        tmp_path / "t",
        tmp_path / "images",
        {SERIES_UID: EVEN, GOOD: EVEN},
        nodules,
        files=files,
    )
    assert findings.decision.to_dict() == {SERIES_UID: "excluded", GOOD: "accepted"}
    assert findings.reason[SERIES_UID].startswith(reason), findings.reason[SERIES_UID]
    assert set(slices.source_series_uid) == {GOOD}


def test_a_shard_whose_series_are_all_bad_still_has_both_tables(tmp_path, root):
    paths = write_series(tmp_path / "images", EVEN)
    for path in paths:
        edit(path, RescaleSlope=None)
    run_check(tmp_path / "t", tmp_path / "images", {SERIES_UID: EVEN}, [nodule_row("n", 4.0, 8.0)])
    folder = tmp_path / "t"
    process = command(
        root,
        "check_series",
        {"--plan": folder / "plan.csv", "--files": folder / "files.csv"},
        {"--series": folder / "series.csv", "--slices": folder / "slices.parquet"},
        {"--root": tmp_path / "images", "--out-findings": folder / "again.csv"},
        {"--out-slices": folder / "again.parquet"},
    )
    assert process.returncode == 0
    assert "every series of this shard was excluded" in process.stderr
    assert (folder / "again.csv").is_file()
    assert (folder / "again.parquet").is_file()


# Claims that must be refused before memory is taken.


def refused(path) -> str:
    """Return the reason why a file's header is refused."""
    with pytest.raises(BadFile) as caught:
        read_headers(path, path.name)
    return caught.value.reason


def test_a_header_that_claims_65535_x_65535_x_10000_is_refused(tmp_path):
    path = write_series(tmp_path, [0.0])[0]
    edit(path, Rows=65535, Columns=65535, NumberOfFrames=10000)
    assert refused(path) == "size beyond bounds"


def test_compressed_pixels_that_claim_too_much_are_refused(tmp_path):
    path = write_series(tmp_path, [0.0])[0]
    recode(path, uid.RLELossless)
    edit(path, Rows=65535, Columns=65535)
    assert refused(path) == "size beyond bounds"


def test_pixels_longer_than_the_file_are_refused(tmp_path):
    path = write_series(tmp_path, [0.0])[0]
    content = bytearray(path.read_bytes())
    place = content.rindex(b"\xe0\x7f\x10\x00OW\0\0") + 8
    content[place : place + 4] = (0xFFFFFF00).to_bytes(4, "little")
    path.write_bytes(content)
    assert refused(path) == "truncated"


def test_a_deflated_file_that_grows_without_end_is_refused(tmp_path):
    path = write_series(tmp_path, [0.0])[0]
    recode(path, uid.DeflatedExplicitVRLittleEndian)
    meta = path.read_bytes()[:132] + meta_bytes(path)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    with open(path, "wb") as stream:
        stream.write(meta)
        for _ in range(MAX_INFLATED_BYTES // (16 << 20) + 2):
            stream.write(deflater.compress(bytes(16 << 20)))
        stream.write(deflater.flush())
    assert path.stat().st_size < 4 << 20
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BadFile, match="size beyond bounds"):
        read_identity(path)
    assert refused(path) == "size beyond bounds"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def meta_bytes(path) -> bytes:
    """Return a file's meta group as it lies in the file."""
    with open(path, "rb") as stream:
        stream.seek(132)
        pydicom.filereader.read_dataset(
            stream, False, True, stop_when=lambda tag, vr, length: tag.group != 2
        )
        end = stream.tell()
    return path.read_bytes()[132:end]


def test_a_deflated_file_cut_short_is_refused(tmp_path):
    path = write_series(tmp_path, [0.0])[0]
    recode(path, uid.DeflatedExplicitVRLittleEndian)
    path.write_bytes(path.read_bytes()[:-40])
    assert refused(path) == "truncated"


def test_an_enhanced_file_with_fewer_frames_than_positions_is_refused(tmp_path):
    path = write_enhanced(tmp_path / "all.dcm", EVEN)
    edit(path, NumberOfFrames=5)
    assert refused(path) == "unreadable"
    data = pydicom.dcmread(write_enhanced(path, EVEN))
    data.PerFrameFunctionalGroupsSequence = Sequence(data.PerFrameFunctionalGroupsSequence[:-1])
    data.save_as(path)
    assert refused(path) == "unreadable"


def test_an_enhanced_file_without_groups_is_excluded(tmp_path):
    path = write_enhanced(tmp_path / "images" / "all.dcm", EVEN)
    edit(path, PerFrameFunctionalGroupsSequence=None)
    findings, _ = run_check(
        tmp_path / "t", path.parent, {SERIES_UID: EVEN}, [nodule_row("n", 4.0, 8.0)]
    )
    assert findings.decision.iloc[0] == "excluded"


def test_a_volume_of_a_size_beyond_bounds_takes_no_memory(tmp_path, root):
    images = tmp_path / "images"
    write_series(images / "d", EVEN, SeriesInstanceUID=GOOD)
    path = write_volume(images / f"{SERIES_UID}.mhd", np.zeros((3, ROWS, COLUMNS), np.int16))
    text = path.read_text().replace(f"DimSize = {COLUMNS} {ROWS} 3", "DimSize = 65535 65535 10000")
    path.write_text(text)
    flags = write_tables(tmp_path / "t", {SERIES_UID: EVEN, GOOD: EVEN})
    out = {"--out-files": tmp_path / "o/files.csv", "--out-unused": tmp_path / "o/unused.csv"}
    process = command(root, "find_series", {"--series": flags["--series"], "--root": images}, out)
    assert process.returncode == 0, process.stderr
    assert "size beyond bounds" in (tmp_path / "o/unused.csv").read_text()
