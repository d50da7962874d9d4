"""Baselines: known answers on balls, boxes and thresholds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quorum.baselines import (
    FACTORS,
    THRESHOLDS_HU,
    Case,
    apply_baseline,
    ball_mask,
    box_radius,
    click_component,
    dice_of,
    ellipsoid_dice,
    fit_axes,
    fit_baseline,
)

SHAPE = (20, 40, 40)
CENTER = np.array([9.5, 19.5, 19.5])


def make_case(radius=6.0, click=CENTER, box=((0, 0, 0), SHAPE), image=None):
    """Return a bright ball in dark lung."""
    truth = ball_mask(SHAPE, CENTER, radius)
    image = np.where(truth, -100, -800).astype(np.int16) if image is None else image
    coverage = np.zeros(SHAPE, bool)
    box = np.array(box, int)
    coverage[tuple(slice(a, b) for a, b in zip(*box, strict=True))] = True
    return Case(image, coverage, box, np.array(click), CENTER, 2 * radius, 1.0, truth)


def test_a_ball_has_its_volume_and_its_dice_is_known():
    assert ball_mask(SHAPE, CENTER, 6).sum() == pytest.approx(4 / 3 * np.pi * 6**3, rel=0.03)
    numbers = fit_baseline("ball", [make_case(5), make_case(6), make_case(9)])
    assert numbers["diameter_mm"] == 12
    assert dice_of(apply_baseline("ball", numbers, make_case(6)), make_case(6).reference) == 1


def test_the_oracle_is_told_the_answer():
    for radius in (4, 7):
        case = make_case(radius)
        assert dice_of(apply_baseline("ball_oracle", {}, case), case.reference) == 1


def test_a_threshold_is_fitted_and_takes_the_component_at_the_click():
    cases = [make_case(5), make_case(6), make_case(7)]
    numbers = fit_baseline("threshold", cases)
    assert -800 < numbers["threshold_hu"] <= -100
    assert numbers["training_dice"] > 0.9
    other = make_case(6)
    other.image[:3, :3, :3] = 0  # a second bright thing, far from the click
    mask = apply_baseline("threshold", {"threshold_hu": -400, "radius_mm": 30}, other)
    assert np.array_equal(mask, other.reference)


def test_a_click_beside_the_nodule_finds_it_within_3_mm():
    near = make_case(6, click=CENTER + np.array([0, 8, 0]))
    assert np.array_equal(click_component(near, -400, 30), near.reference)
    far = make_case(6, click=CENTER + np.array([0, 10.5, 0]))
    assert not click_component(far, -400, 30).any()


def test_the_radius_bounds_the_component():
    case = make_case(8)
    assert np.array_equal(click_component(case, -400, 5), ball_mask(SHAPE, CENTER, 5))


WHOLE_BOX = np.vstack([np.zeros(3), np.eye(3)])  # axes = the box's sides


def test_an_ellipsoid_touches_its_box():
    radius = box_radius(make_case(box=((4, 10, 5), (16, 30, 35))), WHOLE_BOX)
    inside = np.argwhere(radius <= 1)
    assert inside.min(0).tolist() == [4, 10, 5]
    assert inside.max(0).tolist() == [15, 29, 34]
    assert (radius <= 1).sum() == pytest.approx(np.pi / 6 * 12 * 20 * 30, rel=0.03)


def boxed(radius, margin, image=None):
    """Return a ball in a box that ends with it in z and a margin farther out in y and x."""
    reach = np.array([radius, radius + margin, radius + margin])
    return make_case(radius, box=(CENTER + 0.5 - reach, CENTER + 0.5 + reach), image=image)


def test_axes_follow_what_the_sides_give_away():
    cases = [boxed(radius, margin) for radius in (4.0, 5.0, 6.0, 7.0) for margin in (6.0, 8.0)]
    coefficients = fit_axes(cases)
    for case in cases:
        sides = np.append(1.0, case.box[1] - case.box[0])
        assert sides @ coefficients == pytest.approx([case.diameter_mm] * 3, abs=0.6)
    numbers = fit_baseline("coverage_ellipsoid", cases)
    assert numbers["training_dice"] > 0.9


def test_the_ellipsoid_looks_at_no_hu_and_the_threshold_does():
    noise = np.random.default_rng(0).integers(-1000, 400, SHAPE).astype(np.int16)
    plain, noisy = boxed(6.0, 7.0), boxed(6.0, 7.0, image=noise)
    numbers = fit_baseline("coverage_ellipsoid", [plain])
    assert numbers["training_dice"] > 0.9
    masks = [apply_baseline("coverage_ellipsoid", numbers, case) for case in (plain, noisy)]
    assert np.array_equal(*masks)
    both = fit_baseline("coverage_threshold", [plain])
    assert both["training_dice"] == 1
    assert not np.array_equal(
        apply_baseline("coverage_threshold", both, plain),
        apply_baseline("coverage_threshold", both, noisy),
    )


@given(st.integers(0, 1000))
def test_the_table_of_dice_is_that_of_the_masks(seed):
    generator = np.random.default_rng(seed)
    image = generator.integers(-1000, 400, SHAPE).astype(np.int16)
    case = make_case(6, box=((3, 10, 10), (17, 30, 28)), image=image)
    case.reference &= case.coverage
    table = ellipsoid_dice(case, WHOLE_BOX, THRESHOLDS_HU)
    row, column = generator.integers(len(FACTORS)), generator.integers(len(THRESHOLDS_HU))
    numbers = {"axes": WHOLE_BOX, "factor": FACTORS[row], "threshold_hu": THRESHOLDS_HU[column]}
    mask = apply_baseline("coverage_threshold", numbers, case)
    assert table[row, column] == pytest.approx(dice_of(mask, case.reference))


@pytest.mark.parametrize("method", ["threshold", "ball", "ball_oracle", "coverage_threshold"])
def test_nothing_is_drawn_where_nothing_is_covered(method):
    case = make_case(6, box=((0, 0, 0), (20, 20, 40)))
    numbers = {"threshold_hu": -400, "radius_mm": 30, "diameter_mm": 12, "factor": 1.0}
    numbers["axes"] = WHOLE_BOX
    mask = apply_baseline(method, numbers, case)
    assert mask.any()
    assert not mask[:, 20:].any()
