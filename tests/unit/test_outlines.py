"""Outlines become masks exactly as pylidc draws them."""

import numpy as np
import pandas as pd
import pytest
from annotation_factory import make_contours, real_tables, ring
from hypothesis import given, settings
from hypothesis import strategies as st

from quorum.errors import InputError
from quorum.outlines import (
    Box,
    Outline,
    annotation_mask,
    draw_outlines,
    fill_outline,
    outline_box,
    outlines_by_annotation,
    slice_index_of,
    slice_masks,
)
from quorum.pylidc_compat import import_pylidc
from quorum.tables import read_table

POINTS = st.lists(st.tuples(st.integers(-3, 14), st.integers(-3, 14)), min_size=1, max_size=12)


def outline(points, z_mm=0.0, is_inclusion=True) -> Outline:
    rows, columns = np.array(points).T
    return Outline(z_mm, is_inclusion, rows, columns)


def square(half, is_inclusion=True, z_mm=0.0) -> Outline:
    return Outline(z_mm, is_inclusion, *ring(10, 10, half))


def test_points_lie_outside():
    mask = draw_outlines([square(3)], (0, 20), (0, 20))
    expected = np.zeros((20, 20), bool)
    expected[8:13, 8:13] = True
    np.testing.assert_array_equal(mask, expected)


def test_exclusion_takes_off_its_inside_and_its_points():
    mask = draw_outlines([square(2, is_inclusion=False), square(5)], (0, 20), (0, 20))
    assert mask.sum() == 9 * 9 - 5 * 5
    assert not mask[8:13, 8:13].any()


def test_rows_and_columns_are_not_exchanged():
    rows, columns = np.array([2, 2, 8, 8]), np.array([3, 6, 6, 3])
    mask = draw_outlines([Outline(0.0, True, rows, columns)], (0, 10), (0, 10))
    inside = np.argwhere(mask)
    assert inside[:, 0].max() > 6 >= inside[:, 1].max()


@settings(max_examples=400, deadline=None)
@given(POINTS)
def test_even_odd_rule_is_matplotlibs(points):
    from matplotlib.path import Path

    closed = np.array([*points, points[0]])
    grid = np.argwhere(np.ones((12, 12), bool))
    expected = Path(closed, closed=True).contains_points(grid).reshape(12, 12)
    np.testing.assert_array_equal(fill_outline(outline(points), (0, 12), (0, 12)), expected)


@given(POINTS, st.integers(-40, 40), st.integers(-40, 40))
def test_a_moved_outline_gives_a_moved_mask(points, down, right):
    moved = outline([(row + down, column + right) for row, column in points])
    np.testing.assert_array_equal(
        draw_outlines([outline(points)], (0, 12), (0, 12)),
        draw_outlines([moved], (down, 12 + down), (right, 12 + right)),
    )


@given(POINTS, st.integers(0, 5), st.integers(6, 12))
def test_a_smaller_range_is_a_crop(points, first, stop):
    whole = draw_outlines([outline(points)], (-4, 16), (-4, 16))
    part = draw_outlines([outline(points)], (first, stop), (first, stop))
    np.testing.assert_array_equal(part, whole[first + 4 : stop + 4, first + 4 : stop + 4])


@given(POINTS)
def test_closed_or_open_is_the_same(points):
    np.testing.assert_array_equal(
        draw_outlines([outline(points)], (0, 12), (0, 12)),
        draw_outlines([outline([*points, points[0]])], (0, 12), (0, 12)),
    )


def test_slice_without_enclosed_voxel_stays_in_the_extent():
    empty = outline([(10, 10), (10, 11), (11, 10)], z_mm=4.0)
    both, z_mm = [square(3, z_mm=2.0), empty], np.arange(0.0, 10.0, 2.0)
    masks = slice_masks(both, (0, 20), (0, 20))
    assert list(masks) == [2.0, 4.0]
    assert not masks[4.0].any()
    assert outline_box(both, z_mm) == Box(1, 3, 7, 14, 7, 14)


def test_annotation_mask_places_slices_and_clips():
    z_mm = np.arange(0.0, 10.0, 2.0)
    outlines = [square(3, z_mm=2.0), square(2, z_mm=4.0)]
    mask = annotation_mask(outlines, z_mm, Box(-1, 5, 10, 30, 0, 30))
    assert mask.shape == (6, 20, 30)
    assert [int(part.sum()) for part in mask] == [0, 0, 15, 6, 0, 0]
    assert annotation_mask(outlines, z_mm[2:], Box(0, 3, 0, 30, 0, 30)).sum() == 9


def test_an_outline_between_slices_is_refused():
    with pytest.raises(InputError, match="nearest slice"):
        annotation_mask([square(3, z_mm=3.0)], np.arange(0.0, 10.0, 2.0), Box(0, 5, 0, 20, 0, 20))


def test_padded_box():
    assert Box(1, 3, 7, 14, 7, 14).padded(1, 2, 3).shape == (4, 11, 13)


@given(st.lists(st.integers(-500, 500), min_size=1, max_size=30, unique=True), st.floats(-60, 60))
def test_nearest_slice_is_the_first_smallest_distance(tenths, z_mm):
    slice_z_mm = np.sort(np.array(tenths) / 10)
    assert int(slice_index_of(z_mm, slice_z_mm)) == np.abs(slice_z_mm - z_mm).argmin()


def test_a_lacking_annotation_is_named():
    contours = make_contours({"7": ("1.2.3", [(0.0, *ring(5, 5, 2))])})
    with pytest.raises(InputError, match="8"):
        outlines_by_annotation(contours, ["7", "8"])


def test_masks_equal_pylidcs_boolean_mask():
    pylidc = import_pylidc()
    tables = real_tables()
    contours = read_table(tables["contours"], "contours")
    slices = read_table(tables["slices"], "slices")
    z_of = {uid: z.to_numpy(float) for uid, z in slices.groupby("series_uid")["z_mm"]}
    marks = pylidc.query(pylidc.Annotation).order_by(pylidc.Annotation.id).all()[::17]
    outlines = outlines_by_annotation(contours, [str(mark.id) for mark in marks])
    num_exclusions = 0
    for mark in marks:
        ours, z_mm = outlines[str(mark.id)], z_of[mark.scan.series_instance_uid]
        box = outline_box(ours, z_mm)
        low, high = mark.bbox_matrix().T
        assert (box.row0, box.column0, box.slice0) == tuple(low)
        assert (box.row1 - 1, box.column1 - 1, box.slice1 - 1) == tuple(high)
        theirs = mark.boolean_mask().transpose(2, 0, 1)
        np.testing.assert_array_equal(annotation_mask(ours, z_mm, box), theirs, str(mark.id))
        num_exclusions += any(not part.is_inclusion for part in ours)
    assert len(marks) == 404
    assert num_exclusions > 5


def test_every_real_volumes_mask_is_the_union_of_its_readers(real_data):
    import SimpleITK as sitk

    tables = real_tables()
    volumes = pd.read_csv(real_data / "lidc-vois" / "volumes.csv")
    slices = read_table(tables["slices"], "slices")
    z_of = {uid: z.to_numpy(float) for uid, z in slices.groupby("series_uid")["z_mm"]}
    wanted = {name for ids in volumes["annotation_ids"] for name in ids.split()}
    outlines = outlines_by_annotation(read_table(tables["contours"], "contours"), wanted)
    unequal = []
    for volume in volumes.itertuples():
        path = real_data / "lidc-vois" / "masks" / volume.file
        mask = sitk.GetArrayFromImage(sitk.ReadImage(str(path))) > 0
        origin = (volume.slice0, volume.row0, volume.col0)
        ends = [(at, at + size) for at, size in zip(origin, mask.shape, strict=True)]
        box = Box(*ends[0], *ends[1], *ends[2])
        union = np.zeros(mask.shape, bool)
        for name in volume.annotation_ids.split():
            union |= annotation_mask(outlines[name], z_of[volume.series_uid], box)
        if not np.array_equal(union, mask):
            unequal.append(volume.file)
    assert len(volumes) == 706
    assert unequal == []
