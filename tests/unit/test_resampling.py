"""Resampling: the kernel, coverage, padding, and masks that keep their volume."""

import numpy as np
import pandas as pd
import pytest
from annotation_factory import real_tables
from hypothesis import given, settings
from hypothesis import strategies as st

from quorum.consensus import level_mask
from quorum.cube_checks import MAX_ABSOLUTE_BIAS, MAX_SIGNED_BIAS, SMALL_DIAMETER_MM
from quorum.errors import InputError
from quorum.geometry import Axis, Geometry, cube_geometry
from quorum.outlines import outlines_by_annotation
from quorum.reader_masks import Raster, draw_readers, readers_on_lattice
from quorum.resampling import axis_weights, highest_voxels, resample_image, resample_mask
from quorum.tables import read_table


def box_geometry(shape, spacing, first=(0.0, 0.0, 0.0)):
    axes = (Axis.regular(n, s, first_mm=f) for n, s, f in zip(shape, spacing, first, strict=True))
    return Geometry(tuple(axes), np.zeros(3), np.eye(3))


def nothing(hu):
    return np.zeros(hu.shape, bool)


@settings(deadline=None)
@given(
    st.lists(st.floats(0.3, 6), min_size=1, max_size=12),
    st.lists(st.floats(-20, 80), min_size=1, max_size=9),
    st.floats(0.4, 3),
)
def test_weights_are_positive_and_add_up_to_one(steps, places, spacing_mm):
    axis = Axis.uneven(np.cumsum([0.0, *steps]))
    weights = axis_weights(axis, places, spacing_mm)
    assert (weights >= 0).all()
    assert weights.sum(axis=1) == pytest.approx(1)


def test_known_weights_of_thick_slices_are_linear():
    weights = axis_weights(Axis.regular(3, 2.5), [0.0, 1.0, 2.5, 4.5], 1.0)
    assert weights == pytest.approx(np.array([[1, 0, 0], [0.6, 0.4, 0], [0, 1, 0], [0, 0.2, 0.8]]))


def test_known_weights_of_fine_pixels_are_a_tent():
    weights = axis_weights(Axis.regular(5, 0.5), [1.0], 1.0)
    assert weights == pytest.approx(np.array([[0, 0.25, 0.5, 0.25, 0]]))


def test_uneven_slices_count_at_their_true_positions():
    axis = Axis.uneven([0.0, 2.0, 5.0, 7.0])
    assert axis_weights(axis, [3.0], 1.0) == pytest.approx(np.array([[0, 2 / 3, 1 / 3, 0]]))


def test_nothing_is_blended_across_a_hole():
    axis = Axis.uneven([0.0, 2.0, 4.0, 42.0, 44.0])
    weights = axis_weights(axis, [4.9, 41.5], 1.0)
    assert np.array_equal(weights, [[0, 0, 1, 0, 0], [0, 0, 0, 1, 0]])


@settings(deadline=None)
@given(st.integers(-1400, 3000), st.tuples(*[st.floats(0.45, 3)] * 3))
def test_a_constant_stays_constant(value, spacing):
    geometry = box_geometry((9, 9, 9), spacing)
    grid = cube_geometry(geometry, geometry.index_to_lps((4, 4, 4)), shape=(6,) * 3, spacing_mm=1.0)
    hu = np.full(geometry.shape, float(value))
    image, _ = resample_image(hu, nothing(hu), geometry, grid)
    assert (image == value).all()


def test_coinciding_points_are_the_source_itself():
    generator = np.random.default_rng(0)
    hu = generator.integers(-1000, 3000, (8, 9, 10)).astype(np.float32)
    geometry = box_geometry(hu.shape, (1.0, 1.0, 1.0))
    grid = cube_geometry(geometry, (4.5, 4.0, 3.5), shape=hu.shape, spacing_mm=1.0)
    image, coverage = resample_image(hu, nothing(hu), geometry, grid)
    assert np.array_equal(image, hu)
    assert coverage.all()


def test_every_other_point_of_a_coarser_series_is_the_source_itself():
    hu = np.random.default_rng(1).integers(-1000, 3000, (4, 5, 6)).astype(float)
    geometry = box_geometry(hu.shape, (2.0, 2.0, 2.0))
    grid = box_geometry((7, 9, 11), (1.0, 1.0, 1.0))
    image, _ = resample_image(hu, nothing(hu), geometry, grid)
    assert np.array_equal(image[::2, ::2, ::2], hu)


def test_downsampling_does_not_alias():
    stripes = np.tile([-1000.0, 1000.0], (8, 8, 16))  # one pixel wide, 0.5 mm
    geometry = box_geometry(stripes.shape, (1.0, 1.0, 0.5))
    grid = box_geometry((8, 8, 14), (1.0, 1.0, 1.0), first=(0, 0, 0.75))
    image, _ = resample_image(stripes, nothing(stripes), geometry, grid)
    assert np.abs(image).max() <= 1


def test_padding_never_blends_into_its_neighbours():
    hu = np.full((6, 12, 12), 40.0)
    is_padding = np.zeros(hu.shape, bool)
    is_padding[:, :, 6:] = True
    hu[is_padding] = -2000
    geometry = box_geometry(hu.shape, (2.0, 0.8, 0.8))
    grid = box_geometry((8, 8, 8), (1.0, 1.0, 1.0))
    image, coverage = resample_image(hu, is_padding, geometry, grid)
    assert (image == 40).all()
    # Pixels end at 5.5 * 0.8 = 4.4 mm: columns 0 to 4 are covered.
    assert coverage.any(axis=(0, 1)).tolist() == [True] * 5 + [False] * 3


def test_uncovered_voxels_hold_the_nearest_covered_value():
    hu = np.arange(4 * 3 * 3, dtype=float).reshape(4, 3, 3)
    geometry = box_geometry(hu.shape, (1.0, 1.0, 1.0))
    grid = box_geometry((8, 3, 3), (1.0, 1.0, 1.0), first=(-2, 0, 0))
    image, coverage = resample_image(hu, nothing(hu), geometry, grid)
    assert coverage[:, 0, 0].tolist() == [0, 0, 1, 1, 1, 1, 0, 0]
    assert np.array_equal(image[:3], hu[[0, 0, 0]])
    assert np.array_equal(image[5:], hu[[3, 3, 3]])


def test_a_slice_covers_half_its_spacing_to_both_sides():
    hu = np.zeros((2, 4, 4))
    geometry = box_geometry(hu.shape, (5.0, 1.0, 1.0))
    grid = box_geometry((12, 4, 4), (1.0, 1.0, 1.0), first=(-3.5, 0, 0))
    _, coverage = resample_image(hu, nothing(hu), geometry, grid)
    # From -2.5 to 7.5 mm: voxels at -2.5 (its lower end) to 6.5.
    assert coverage[:, 0, 0].tolist() == [0] + [1] * 10 + [0]


def test_an_image_without_geometry_is_refused():
    hu = np.zeros((2, 2, 2))
    with pytest.raises(InputError, match="geometry"):
        resample_image(hu, nothing(hu), None, box_geometry((2, 2, 2), (1, 1, 1)))


def ball_mask(geometry, radius_mm):
    places = np.meshgrid(*[axis.centers_mm for axis in geometry.axes], indexing="ij")
    middle = [axis.centers_mm.mean() for axis in geometry.axes]
    return sum((p - m) ** 2 for p, m in zip(places, middle, strict=True)) <= radius_mm**2


@settings(deadline=None, max_examples=25)
@given(
    st.tuples(st.floats(0.5, 5), st.floats(0.45, 1.0)),
    st.floats(3, 9),
    st.tuples(*[st.floats(-0.5, 0.5)] * 3),
)
def test_a_mask_keeps_its_volume(spacing, radius_mm, phase):
    spacing_z, spacing_xy = spacing
    shape = (int(24 / spacing_z) + 5, *[int(24 / spacing_xy) + 5] * 2)
    geometry = box_geometry(shape, (spacing_z, spacing_xy, spacing_xy))
    mask = ball_mask(geometry, radius_mm)
    lengths = [int(axis.centers_mm[-1]) for axis in geometry.axes]
    grid = box_geometry(lengths, (1.0, 1.0, 1.0), first=phase)
    found = resample_mask(mask, geometry, grid).sum()
    assert abs(found - mask.sum() * spacing_z * spacing_xy**2) <= max(0.5 + 1e-6, 1 - found)


def test_a_sphere_stays_a_sphere():
    geometry = box_geometry((60, 60, 60), (0.5, 0.5, 0.5))
    mask = ball_mask(geometry, 10)
    grid = box_geometry((30, 30, 30), (1.0, 1.0, 1.0), first=(0, 0, 0))
    found = resample_mask(mask, geometry, grid)
    assert found.sum() == pytest.approx(4 / 3 * np.pi * 1000, rel=0.01)
    places = np.argwhere(found) - 14.75
    assert np.linalg.norm(places, axis=1).max() <= 10.6


def test_one_voxel_never_vanishes():
    geometry = box_geometry((5, 5, 5), (0.5, 0.5, 0.5))
    mask = np.zeros((5, 5, 5), bool)
    mask[2, 2, 2] = True
    grid = box_geometry((2, 2, 2), (1.0, 1.0, 1.0), first=(0.4, 0.4, 0.4))
    assert resample_mask(mask, geometry, grid).sum() == 1


def test_an_empty_mask_stays_empty():
    geometry = box_geometry((5, 5, 5), (1, 1, 1))
    assert not resample_mask(np.zeros((5, 5, 5), bool), geometry, geometry).any()


def test_ties_are_broken_by_distance_then_by_index():
    share = np.zeros((1, 3, 3))
    share[0] = [[0.5, 0.5, 0.5], [0.5, 1.0, 0.5], [0.5, 0.5, 0.5]]
    # The four at distance 1 come before the corners, the first of them by index.
    assert highest_voxels(share, 3)[0].astype(int).tolist() == [[0, 1, 0], [1, 1, 0], [0, 0, 0]]


def grid_bias() -> pd.DataFrame:
    """Return native and grid volumes of the 897, by subject; no images."""
    paths = real_tables()
    nodules = read_table(paths["nodules"], "nodules")
    nodules = nodules[nodules["num_annotations"] == 4]
    assert len(nodules) == 897
    series = read_table(paths["series"], "series").set_index("series_uid")
    slices = read_table(paths["slices"], "slices")
    z_of = {uid: np.unique(part.to_numpy()) for uid, part in slices.groupby("series_uid")["z_mm"]}
    contours = read_table(paths["contours"], "contours")
    outlines = outlines_by_annotation(contours, set(nodules["annotation_ids"].explode()))
    rows = []
    for nodule in nodules.itertuples():
        z_mm, pixel_mm = z_of[nodule.series_uid], series["pixel_spacing_mm"][nodule.series_uid]
        plane = Axis.regular(512, float(pixel_mm))
        geometry = Geometry(
            (Axis.uneven(z_mm - z_mm[0]), plane, plane), np.array([0, 0, z_mm[0]]), np.eye(3)
        )
        raster = Raster(geometry)
        native = draw_readers(
            [outlines[name] for name in nodule.annotation_ids], raster, margin_mm=1.0
        )
        center = raster.center_lps_mm(
            nodule.center_row_px, nodule.center_column_px, nodule.center_z_mm
        )
        cube = cube_geometry(geometry, center, shape=(40, 80, 80), spacing_mm=1.0)
        readers, _ = readers_on_lattice(native, cube)
        volumes = {f"reader{k + 1}": (v, (readers >> k & 1).sum()) for k, v in
                   enumerate(native.volumes_mm3())}  # fmt: skip
        volumes["consensus"] = (native.consensus_mm3(), level_mask(readers, 4, 0.5).sum())
        for subject, (before, after) in volumes.items():
            rows.append((nodule.nodule_id, subject, nodule.diameter_mm, before, after))
    names = ["nodule_id", "subject", "diameter_mm", "native_mm3", "grid_mm3"]
    return pd.DataFrame(rows, columns=names)


def assert_bias_within_bounds(volumes: pd.DataFrame):
    assert (volumes["native_mm3"] > 0).all()
    assert (volumes["grid_mm3"] > 0).all()
    volumes["bias"] = volumes["grid_mm3"] / volumes["native_mm3"] - 1
    for subject, part in volumes.groupby("subject"):
        large = part.loc[part["diameter_mm"] > SMALL_DIAMETER_MM, "bias"]
        small = part.loc[part["diameter_mm"] <= SMALL_DIAMETER_MM, "bias"]
        assert abs(large.mean()) <= MAX_SIGNED_BIAS["large"], subject
        assert large.abs().mean() <= MAX_ABSOLUTE_BIAS["large"], subject
        assert abs(small.mean()) <= MAX_SIGNED_BIAS["small"], subject
        print(
            f"{subject}: over 8 mm ({len(large)}) signed {large.mean():+.2%}, absolute "
            f"{large.abs().mean():.2%}; up to 8 mm ({len(small)}) signed {small.mean():+.2%}"
        )


def test_readers_and_consensus_keep_their_volume_over_the_897():
    assert_bias_within_bounds(grid_bias())
