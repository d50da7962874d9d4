"""Geometry: index <-> LPS, uneven slices, flips, grids parallel to a series."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorum.errors import InputError
from quorum.geometry import Axis, Geometry, cube_geometry, flip_array, require_geometry

FLIPPED = np.diag([-1.0, -1.0, 1.0])


def make(shape=(5, 6, 7), spacing=(2.5, 0.7, 0.7), direction=None, origin=(10.0, -20.0, 30.0)):
    axes = tuple(Axis.regular(n, s) for n, s in zip(shape, spacing, strict=True))
    return Geometry(axes, np.array(origin), np.eye(3) if direction is None else direction)


def test_known_point_of_a_known_affine():
    geometry = make(direction=FLIPPED)
    # x = 10 - 2 * 0.7, y = -20 - 3 * 0.7, z = 30 + 1 * 2.5
    assert geometry.index_to_lps((1, 3, 2)) == pytest.approx([8.6, -22.1, 32.5])


@settings(deadline=None)
@given(
    st.tuples(*[st.floats(-3, 9)] * 3),
    st.sampled_from([np.eye(3), FLIPPED, np.diag([1.0, -1.0, -1.0])]),
)
def test_index_to_lps_and_back(index, direction):
    geometry = make(direction=direction)
    assert geometry.lps_to_index(geometry.index_to_lps(index)) == pytest.approx(index, abs=1e-9)


def test_uneven_slices_go_both_ways():
    axis = Axis.uneven([0.0, 2.0, 3.0, 5.5])
    geometry = Geometry((axis, Axis.regular(4, 1.0), Axis.regular(4, 1.0)), np.zeros(3), np.eye(3))
    assert geometry.index_to_lps((2, 0, 0))[2] == 3.0
    assert geometry.index_to_lps((1.5, 0, 0))[2] == 2.5
    assert geometry.lps_to_index((0, 0, 4.25)) == pytest.approx([2.5, 0, 0])


def test_a_slice_reaches_half_way_and_never_into_a_hole():
    axis = Axis.uneven([0.0, 2.0, 4.0, 12.0, 14.0])
    assert axis.spacing_mm == 2.0
    assert axis.lower_mm.tolist() == [-1, 1, 3, 11, 13]
    assert axis.upper_mm.tolist() == [1, 3, 5, 13, 15]
    assert axis.holds([-1, 0.9, 4.99, 5.01, 10.9, 11, 14.99, 15]).tolist() == [
        True, True, True, False, False, True, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize("centers", [[0.0, 0.0, 1.0], [2.0, 1.0], [1.0]])
def test_slices_that_do_not_ascend_are_refused(centers):
    with pytest.raises(InputError, match="ascending positions"):
        Axis.uneven(centers)


def test_spacing_of_zero_is_refused():
    with pytest.raises(InputError, match="above 0 mm"):
        Axis.regular(3, 0.0)


def test_flipping_keeps_every_voxel_where_it_is():
    generator = np.random.default_rng(0)
    axis = Axis.uneven(np.cumsum(generator.uniform(0.5, 2.5, 5)))
    geometry = Geometry(
        (axis, Axis.regular(6, 0.7), Axis.regular(7, 0.8)), np.array([3.0, 4, 5]), FLIPPED
    )
    canonical = geometry.canonical()
    assert np.array_equal(canonical.direction, np.eye(3))
    assert geometry.canonical_flips() == (False, True, True)
    array = generator.integers(0, 1000, geometry.shape)
    turned = flip_array(array, geometry.canonical_flips())
    for index in [(0, 0, 0), (4, 5, 6), (2, 1, 3)]:
        found = np.round(canonical.lps_to_index(geometry.index_to_lps(index))).astype(int)
        assert turned[tuple(found)] == array[index]


def test_flipping_twice_is_nothing():
    geometry = make(direction=FLIPPED)
    again = geometry.flipped((True, True, False)).flipped((True, True, False))
    assert again.origin_lps_mm == pytest.approx(geometry.origin_lps_mm)
    assert np.array_equal(again.direction, geometry.direction)


def test_a_series_that_is_not_axial_is_refused():
    sagittal = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    with pytest.raises(InputError, match="axial"):
        make(direction=sagittal).canonical()


@pytest.mark.parametrize("direction", [np.eye(3), FLIPPED])
@pytest.mark.parametrize("shape", [(4, 8, 8), (5, 7, 9)])
def test_a_cube_is_centred_and_canonical(direction, shape):
    center = np.array([1.25, -7.5, 33.0])
    cube = cube_geometry(make(direction=direction), center, shape=shape, spacing_mm=1.0)
    middle = (np.array(shape) - 1) / 2
    assert cube.index_to_lps(middle) == pytest.approx(center)
    assert np.array_equal(cube.direction, np.eye(3))
    assert cube.shape == shape


def test_places_of_a_grid_are_where_its_voxels_are():
    series = make(direction=FLIPPED).canonical()
    cube = cube_geometry(series, [5.0, -25.0, 35.0], shape=(3, 3, 3), spacing_mm=1.0)
    places = series.places_of(cube)
    lps = series.to_lps_mm([places[0][2], places[1][0], places[2][1]])
    assert lps == pytest.approx(cube.index_to_lps((2, 0, 1)))


def test_a_grid_of_other_axes_is_refused():
    tilted = np.array([[0.8, 0.6, 0], [-0.6, 0.8, 0], [0, 0, 1.0]])
    with pytest.raises(InputError, match="parallel"):
        make().places_of(make(direction=tilted))


@pytest.mark.parametrize("geometry", [None, "1 mm", make((4, 4, 4))])
def test_an_array_without_its_geometry_is_refused(geometry):
    with pytest.raises(InputError, match="geometry"):
        require_geometry(np.zeros((2, 2, 2)), geometry)


def test_the_part_of_a_geometry_stays_in_place():
    geometry = make()
    part = geometry.part(((1, 4), (2, 5), (0, 7)))
    assert part.shape == (3, 3, 7)
    places = [axis.centers_mm[0] for axis in part.axes]
    assert part.to_lps_mm(places) == pytest.approx(geometry.index_to_lps((1, 2, 0)))


def test_reach_is_the_voxels_between_two_places():
    axis = Axis.regular(10, 2.0)
    assert axis.reach(3.9, 8.0) == (2, 5)
    assert axis.reach(-9, -5) == (0, 0)
