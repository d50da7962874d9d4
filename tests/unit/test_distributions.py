"""Calibration in a band, generalised energy distance, STAPLE beside the vote: known answers."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quorum.distributions import (
    band_around,
    bin_rows,
    calibration_measures,
    compare_staple,
    count_bins,
    energy_distance,
    mean_distances,
)
from quorum.surface_metrics import iou

SHAPE = (20, 24, 24)


def slab(first, last):
    """Return a slab in x: bool."""
    mask = np.zeros(SHAPE, bool)
    mask[5:15, 5:15, first:last] = True
    return mask


def test_the_band_holds_outlines_and_5_mm_around_them():
    readers = slab(10, 12).astype(np.uint8)
    for spacing_mm, reach in ((1.0, 5), (2.5, 2)):
        window, band = band_around(readers, np.ones(SHAPE, bool), spacing_mm)
        whole = np.zeros(SHAPE, bool)
        whole[window] = band
        row = whole[10, 10]
        assert np.flatnonzero(row).tolist() == list(range(10 - reach, 12 + reach))
    covered = np.zeros(SHAPE, bool)
    covered[:, :, :11] = True
    window, band = band_around(readers, covered, 1.0)
    assert band.sum() < whole.sum() * 8
    assert band_around(np.zeros(SHAPE, np.uint8), covered, 1.0)[1].sum() == 0


def test_calibration_of_known_voxels():
    share = np.array([0.0, 0.25, 0.5, 1.0])
    perfect = calibration_measures(share, share)
    assert (perfect["brier_band"], perfect["bias_band"]) == (0, 0)
    high = calibration_measures(share + 0.1, share)
    assert high["brier_band"] == pytest.approx(0.01)
    assert high["bias_band"] == pytest.approx(0.1)
    assert np.isnan(calibration_measures([], [])["brier_band"])


def test_bins():
    bins = count_bins(np.array([0.0, 0.05, 0.1, 0.95, 1.0]), np.array([0, 0.5, 0.25, 1, 0.5]))
    assert bins[:, 0].tolist() == [2, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    rows = bin_rows(bins)
    assert rows[0]["mean_probability"] == pytest.approx(0.025)
    assert rows[9]["mean_share"] == pytest.approx(0.75)
    assert np.isnan(rows[5]["mean_share"])
    assert [row["num_voxels"] for row in bin_rows(0)] == [0] * 10


def by_hand(samples, readers, *, has_own):
    """Return the squared energy distance pair by pair."""

    def apart(a, b):
        return 0.0 if not (a | b).any() else 1 - iou(a, b)

    def within(masks):
        every = itertools.product if has_own else itertools.permutations
        pairs = every(masks, repeat=2) if has_own else every(masks, 2)
        return np.mean([apart(a, b) for a, b in pairs])

    across = np.mean([apart(a, b) for a, b in itertools.product(samples, readers)])
    return 2 * across - within(samples) - within(readers)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 5), st.integers(2, 4), st.integers(0, 10**6))
def test_energy_distance_is_the_sum_over_pairs(num_samples, num_readers, seed):
    generator = np.random.default_rng(seed)
    samples = generator.random((num_samples, 30)) < generator.random((num_samples, 1))
    readers = generator.random((num_readers, 30)) < 0.4
    found = energy_distance(samples, readers)
    assert found["ged_squared"] == pytest.approx(by_hand(samples, readers, has_own=True), abs=1e-6)
    distinct = by_hand(samples, readers, has_own=False)
    assert found["ged_squared_distinct"] == pytest.approx(distinct, abs=1e-6)
    assert found["ged_squared"] >= -1e-6
    assert (found["num_samples"], found["num_readers"]) == (num_samples, num_readers)


def test_energy_distance_of_known_masks():
    readers = np.array([[1, 1, 0, 0], [0, 1, 1, 0]], bool)  # IoU 1/3
    same = energy_distance(readers, readers)
    assert same["ged_squared"] == pytest.approx(0)
    assert same["ged_squared_distinct"] == pytest.approx(2 * (1 / 3) - 2 * (2 / 3))
    assert same["readers_diversity"] == pytest.approx(2 / 3)
    one = energy_distance(readers[:1], readers)
    assert one["ged_squared"] == pytest.approx(2 * (1 / 3) - 0 - 1 / 3)
    assert np.isnan(one["ged_squared_distinct"])
    empty = np.zeros((2, 4), bool)
    assert energy_distance(empty, empty)["ged_squared"] == 0  # both empty is IoU 1
    assert mean_distances(empty, readers).tolist() == [[1, 1], [1, 1]]


def test_staple_beside_the_vote():
    readers = slab(5, 15).astype(np.uint8) * 0b0011 | slab(5, 9).astype(np.uint8) * 0b1100
    staple = slab(5, 9) * 0.9
    covered = np.ones(SHAPE, bool)
    found = compare_staple(slab(5, 15), readers, num_readers=4, staple=staple, coverage=covered)
    assert found["model_dice_vote"] == 1  # 2 of 4 are at least half
    assert found["model_dice_staple"] == found["staple_dice_vote"] == pytest.approx(2 * 4 / 14)
    assert found["staple_voxels_different"] == 100 * 6
    covered[:, :, 9:] = False
    found = compare_staple(slab(5, 15), readers, num_readers=4, staple=staple, coverage=covered)
    assert (found["staple_voxels_different"], found["staple_dice_vote"]) == (0, 1)
