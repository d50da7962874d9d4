"""Consensus: majority, levels, single readers, others; STAPLE and its corner cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shard_factory import ball

from quorum.consensus import (
    consensus_mask,
    level_mask,
    others_mask,
    reader_mask,
    share_of_readers,
)
from quorum.errors import InputError
from quorum.staple import staple_probability

EVERY = np.arange(16, dtype=np.uint8)  # every combination of four readers
VOTES = np.array([bin(bits).count("1") for bits in range(16)])


def test_share_counts_the_readers():
    assert share_of_readers(EVERY, 4).tolist() == (VOTES / 4).tolist()


@pytest.mark.parametrize(
    ("consensus", "fewest"),
    [("majority", 2), (0.5, 2), ("0.25", 1), (0.75, 3), (1, 4), ("1.0", 4), (0.51, 3), (0.1, 1)],
)
def test_known_levels_of_four_readers(consensus, fewest):
    found = consensus_mask(EVERY, 4, None, consensus)
    assert found.tolist() == [votes >= fewest for votes in VOTES]


def test_two_of_three_are_a_majority_and_one_is_not():
    assert consensus_mask(EVERY[:8], 3, None, "majority").tolist() == (VOTES[:8] >= 2).tolist()


def test_one_of_two_is_inside():
    assert consensus_mask(EVERY[:4], 2, None, "majority").tolist() == [False, True, True, True]


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(1, 8))
def test_levels_are_whole_readers_whatever_the_rounding(num_readers, fewest):
    fewest = min(fewest, num_readers)
    bits = (1 << np.arange(num_readers + 1)) - 1  # 0, 1, 2, .. readers
    found = level_mask(bits.astype(np.uint8), num_readers, fewest / num_readers)
    assert found.tolist() == [votes >= fewest for votes in range(num_readers + 1)]


def test_a_single_reader_is_its_bit():
    assert consensus_mask(EVERY, 4, None, "reader3").tolist() == [bool(b & 4) for b in range(16)]
    assert reader_mask(EVERY, 4, 2).tolist() == [bool(b & 4) for b in range(16)]


def test_staple_is_cut_at_one_half():
    probability = np.array([0.0, 0.4999, 0.5, 1.0], np.float32)
    assert consensus_mask(EVERY[:4], 4, probability, "staple").tolist() == [0, 0, 1, 1]


def test_the_majority_of_the_others_leaves_the_reader_out():
    others = [bin(bits & 0b1101).count("1") >= 2 for bits in range(16)]
    assert others_mask(EVERY, 4, 1).tolist() == others


@settings(deadline=None)
@given(st.integers(2, 8), st.data())
def test_the_others_do_not_depend_on_the_reader_left_out(num_readers, data):
    left_out = data.draw(st.integers(0, num_readers - 1))
    bits = np.arange(1 << num_readers, dtype=np.uint8)
    flipped = bits ^ np.uint8(1 << left_out)
    found = others_mask(bits, num_readers, left_out)
    assert np.array_equal(found, others_mask(flipped, num_readers, left_out))


@pytest.mark.parametrize("consensus", ["mayority", "reader", "reader0", "reader5", 0, 1.5, "nan"])
def test_an_unknown_consensus_is_refused(consensus):
    with pytest.raises(InputError, match="to mend it"):
        consensus_mask(EVERY, 4, None, consensus)


def test_the_others_of_a_single_reader_are_refused():
    with pytest.raises(InputError, match="at least 2 readers"):
        others_mask(EVERY, 1, 0)


def readers_of(*masks):
    return np.bitwise_or.reduce([m.astype(np.uint8) << k for k, m in enumerate(masks)])


SHAPE = (36, 36, 36)


def test_staple_has_the_size_of_the_vote_when_readers_nearly_agree():
    radii = (9.0, 9.5, 10.0, 10.5)
    readers = readers_of(*[ball(SHAPE, (17.5,) * 3, radius) for radius in radii])
    inside = staple_probability(readers, 4) >= 0.5
    assert inside.sum() == pytest.approx(level_mask(readers, 4, 0.5).sum(), rel=0.1)


def test_staple_of_equal_readers_is_their_mask():
    mask = ball(SHAPE, (17, 17, 17), 6)
    assert np.array_equal(staple_probability(readers_of(mask, mask, mask), 3), mask)


def test_staple_leaves_an_empty_reader_out():
    masks = [ball(SHAPE, (17, 17, 17 + k), 6) for k in range(3)]
    empty = np.zeros(SHAPE, np.uint8)
    found = staple_probability(readers_of(masks[0], empty, masks[1], masks[2]), 4)
    assert np.array_equal(found, staple_probability(readers_of(*masks), 3))


def test_staple_of_one_reader_is_that_reader():
    mask = ball(SHAPE, (17, 17, 17), 6)
    found = staple_probability(readers_of(np.zeros(SHAPE), mask), 2)
    assert np.array_equal(found, mask)


def test_staple_of_nobody_is_zero():
    assert not staple_probability(np.zeros((4, 4, 4), np.uint8), 4).any()


def test_staple_is_finite_where_readers_are_apart():
    masks = [ball(SHAPE, (17, 8, 8), 4), ball(SHAPE, (17, 26, 26), 4)]
    found = staple_probability(readers_of(*masks), 2)
    assert np.isfinite(found).all()
    assert 0 <= found.min() <= found.max() <= 1
