"""Batches: functions of (seed, step, rank), image and masks together, uncovered never counted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_factory import tiny_settings
from shard_factory import make_shard

from quorum.batches import (
    cut_batch,
    draw_batch,
    normalise,
    plain_draw,
    visit_order,
)
from quorum.evaluation import probability
from quorum.losses import LOSSES, signed_distance, supervised_loss, total_loss
from quorum.shards import open_shards
from quorum.stores import load_store, store_digest
from quorum.targets import count_bits, make_target

CROP = (16, 32, 32)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Six cubes of (20, 40, 40) whose first and last three slices are uncovered."""
    path = tmp_path_factory.mktemp("shards") / "shard00.h5"
    make_shard(path, 6, shape=(20, 40, 40), uncovered_slices=3, seed=3)
    return load_store(open_shards(path), range(6), has_staple=True, consensus="majority")


def same(a, b):
    """Tell whether two draws are equal in everything."""
    return all(
        torch.equal(torch.as_tensor(getattr(a, name)), torch.as_tensor(getattr(b, name)))
        for name in a.__dataclass_fields__
    )


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**7))
def test_a_draw_is_a_function_of_seed_number_and_rank(store, seed, number):
    plan = tiny_settings(max_hidden_end_slices=2)
    draw = draw_batch(store, plan, CROP, seed=seed, number=number)
    assert same(draw, draw_batch(store, plan, CROP, seed=seed, number=number))
    others = [
        draw_batch(store, plan, CROP, seed=seed + 1, number=number),
        draw_batch(store, plan, CROP, seed=seed, number=number + 1),
        draw_batch(store, plan, CROP, seed=seed, number=number, ranks=(1, 2)),
    ]
    assert not any(same(draw, other) for other in others)
    middle = torch.tensor([2, 4, 4])
    assert ((draw.start - middle).abs() <= torch.tensor(plan["max_shift_vox"])).all()
    assert not draw.is_flipped[:, 0].any()
    assert draw.hidden.max() <= 2


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 3), st.integers(0, 99))
def test_an_epoch_visits_every_nodule_once_over_all_ranks(num_nodules, size, world, seed):
    visits = []
    for number in range(-(-2 * num_nodules // (size * world))):
        for rank in range(world):
            ranks = (rank, world)
            visits += list(visit_order(num_nodules, size, seed=seed, number=number, ranks=ranks))
    for epoch in (0, 1):
        epoch_visits = visits[epoch * num_nodules : (epoch + 1) * num_nodules]
        assert sorted(epoch_visits) == list(range(num_nodules))


def test_a_plain_cut_is_the_cube_itself(store):
    plan = tiny_settings()
    inputs, readers, staple, counts = cut_batch(store, plain_draw([4], [[2, 5, 7]]), CROP, plan)
    window = (4, slice(2, 18), slice(5, 37), slice(7, 39))
    assert torch.equal(inputs[0, 0], normalise(store.image[window].float(), plan["hu_window"]))
    assert torch.equal(readers[0], store.readers[window])
    assert torch.equal(staple[0], store.staple[window])
    assert torch.equal(counts[0], store.coverage[window] > 0)


@pytest.mark.parametrize("flips", [(0, 0, 1), (0, 1, 0), (1, 1, 1)])
def test_image_and_masks_flip_together(store, flips):
    plan, start = tiny_settings(), [[1, 3, 0]]
    plain = cut_batch(store, plain_draw([2], start), CROP, plan)
    is_flipped = torch.tensor([flips]).bool()
    turned = cut_batch(store, plain_draw([2], start, is_flipped), CROP, plan)
    axes = [axis for axis in range(3) if flips[axis]]
    for before, after in zip(plain, turned, strict=True):
        assert torch.equal(after.flatten(0, -4)[0], before.flatten(0, -4)[0].flip(axes))


def test_hidden_slices_repeat_the_last_visible_one_and_never_count(store):
    plan = tiny_settings()
    draw = plain_draw([0], [[2, 4, 4]])
    draw.hidden = torch.tensor([[2, 1]])
    inputs, _, _, counts = cut_batch(store, draw, CROP, plan)
    # Covered slices are 3 .. 16; visible 5 .. 15, in the crop 3 .. 13.
    assert counts[0].any(dim=(1, 2)).tolist() == [3 <= z <= 13 for z in range(16)]
    for hidden, shown in [(0, 3), (2, 3), (14, 13), (15, 13)]:
        assert torch.equal(inputs[0, 0, hidden], inputs[0, 0, shown])
    plan["inputs"] = "coverage"
    seen = cut_batch(store, draw, CROP, plan)[0][0, 0]
    assert torch.equal(seen, counts[0].float() * 2 - 1)


def test_at_least_half_of_the_slices_stay_visible(store):
    draw = plain_draw([0], [[2, 4, 4]])
    draw.hidden = torch.tensor([[99, 99]])
    counts = cut_batch(store, draw, CROP, tiny_settings())[3]
    assert counts[0].any(dim=(1, 2)).sum() == 8  # 14 covered, 3 hidden at each end


def test_intensity_changes_the_image_alone_and_by_its_seed(store):
    intensity = {"max_shift_hu": 50.0, "max_scale": 0.1, "noise_hu": 20.0}
    plan = tiny_settings(intensity=intensity)
    cuts = []
    for number in (5, 5, 6):
        draw = draw_batch(store, plan, CROP, seed=0, number=number)
        draw.cube, draw.start = torch.tensor([0, 1]), torch.tensor([[2, 4, 4]] * 2)
        draw.is_flipped[:] = False
        cuts.append(cut_batch(store, draw, CROP, plan))
    assert torch.equal(cuts[0][0], cuts[1][0])
    assert not torch.equal(cuts[0][0], cuts[2][0])
    assert torch.equal(cuts[0][1], cuts[2][1])


def test_the_window_maps_to_minus_one_and_one():
    hu = torch.tensor([-2000.0, -1000.0, -300.0, 400.0, 3000.0])
    assert normalise(hu, [-1000.0, 400.0]).tolist() == [-1, -1, 0, 1, 1]


def test_content_alone_makes_the_digest(store):
    before = store_digest(store)
    assert before == store_digest(store)
    store.image[0, 0, 0, 0] += 1
    assert store_digest(store) != before
    store.image[0, 0, 0, 0] -= 1


def test_every_reader_that_a_nodule_has_is_drawn_and_no_other(store):
    some = replace(store, num_readers=torch.tensor([4, 3, 1, 2, 4, 4]))
    plan, seen = tiny_settings(), {cube: set() for cube in range(6)}
    for number in range(200):
        draw = draw_batch(some, plan, CROP, seed=0, number=number)
        for cube, reader in zip(draw.cube.tolist(), draw.reader.tolist(), strict=True):
            seen[cube].add(reader)
    counts = some.num_readers.tolist()
    assert seen == {cube: set(range(count)) for cube, count in enumerate(counts)}


def test_the_head_of_an_absent_reader_gets_no_gradient():
    generator = torch.Generator().manual_seed(0)
    readers = torch.randint(0, 8, (2, 4, 6, 6), dtype=torch.uint8, generator=generator)
    target, present = make_target("per_reader", readers, None, torch.tensor([4, 3]), None)
    logits = torch.randn(target.shape, generator=generator).requires_grad_()
    counts = present.expand_as(target)
    total_loss({"dice": 1.0, "cross_entropy": 1.0}, logits, target, counts).backward()
    assert not logits.grad[1, 3].any()
    assert all(logits.grad[nodule, head].any() for nodule in (0, 1) for head in range(3))
    assert logits.grad[0, 3].any()


def test_the_answer_of_several_heads_is_their_mean():
    logits = torch.logit(torch.tensor([0.1, 0.2, 0.6, 0.9])).reshape(1, 4, 1, 1, 1)
    assert float(probability(logits)) == pytest.approx(0.45)


def test_targets_of_four_readers():
    # One voxel for every set of readers.
    readers = torch.arange(16, dtype=torch.uint8).reshape(1, 1, 1, 16)
    counts = np.array([bin(k).count("1") for k in range(16)])
    assert count_bits(readers).flatten().tolist() == counts.tolist()
    four = torch.tensor([4])
    made = {
        name: make_target(name, readers, readers.half() / 15, four, torch.tensor([2]))
        for name in ("majority", "soft", "staple", "random_reader", "per_reader")
    }
    assert made["majority"][0].flatten().tolist() == (counts >= 2).tolist()
    assert made["soft"][0].flatten().tolist() == (counts / 4).tolist()
    assert made["random_reader"][0].flatten().tolist() == [k >> 2 & 1 for k in range(16)]
    bits = [[k >> reader & 1 for k in range(16)] for reader in range(4)]
    assert made["per_reader"][0][0, :, 0, 0].tolist() == bits
    assert made["per_reader"][1].flatten().tolist() == [1, 1, 1, 1]
    three = make_target("per_reader", readers, None, torch.tensor([3]), torch.tensor([0]))
    assert three[1].flatten().tolist() == [1, 1, 1, 0]
    two_of_three = make_target("majority", readers, None, torch.tensor([3]), torch.tensor([0]))
    assert two_of_three[0].flatten()[:8].tolist() == (counts[:8] >= 2).tolist()


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_uncovered_voxels_change_no_loss_and_get_no_gradient(name):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((2, 1, 4, 6, 6), generator=generator)
    target = (torch.rand(logits.shape, generator=generator) > 0.5).float()
    counts = torch.ones_like(logits)
    counts[..., 3:] = 0
    other = logits.clone()
    other[..., 3:] = 100.0
    flipped = target.clone()
    flipped[..., 3:] = 1 - flipped[..., 3:]
    other.requires_grad_()
    loss = total_loss({name: 1.0}, other, flipped, counts)
    inside = (..., slice(None, 3))
    plain = total_loss({name: 1.0}, logits, target, counts)
    assert float(loss.detach()) == pytest.approx(float(plain), abs=1e-6)
    cut = total_loss({name: 1.0}, logits[inside], target[inside], counts[inside])
    if name != "residual_moment":  # its coordinates are shares of the crop's own sides
        assert float(loss.detach()) == pytest.approx(float(cut), abs=1e-5)
    loss.backward()
    assert not other.grad[..., 3:].any()
    assert other.grad[inside].any()


def test_known_losses():
    target = torch.zeros((1, 1, 2, 2, 2))
    target[..., 0] = 1
    ones = torch.ones_like(target)
    perfect = (target * 2 - 1) * 50
    for name in sorted(set(LOSSES) - {"boundary"}):  # its least is below 0
        assert float(total_loss({name: 1.0}, perfect, target, ones)) == pytest.approx(0, abs=1e-4)
    half = torch.zeros_like(target)  # probability 0.5 everywhere
    weights = {"dice": 1.0, "cross_entropy": 2.0, "focal": 0.0}
    # Dice with squared denominator: 2 * 4 * 0.5 / (8 * 0.25 + 4) = 2/3.
    expected = (1 - 2 / 3) + 2 * np.log(2)
    assert float(total_loss(weights, half, target, ones)) == pytest.approx(expected, abs=1e-4)
    # (1 - p)^2 of each voxel's cross-entropy.
    focal = float(total_loss({"focal": 1.0}, half, target, ones))
    assert focal == pytest.approx(0.25 * np.log(2), abs=1e-5)
    # What is found wrongly counts 0.3, what is missed 0.7: four of eight each.
    for logit, expected in ((50, 1 - 4 / (4 + 0.3 * 4)), (0, 1 - 2 / (2 + 0.3 * 2 + 0.7 * 2))):
        found = float(total_loss({"tversky": 1.0}, half + logit, target, ones))
        assert found == pytest.approx(expected, abs=1e-4)


def test_the_boundary_loss_is_the_mean_of_probability_times_signed_distance():
    target = torch.zeros((1, 1, 3, 3, 5))
    target[..., 1, 1, 1:4] = 1
    distance = signed_distance(target[0, 0].numpy() > 0, np.ones((3, 3, 5), bool))
    assert distance[1, 1].tolist() == [1, 0, 0, 0, 1]
    assert distance[0, 0, 0] == pytest.approx(3**0.5)
    ball = np.zeros((9, 9, 9), bool)
    ball[2:7, 2:7, 2:7] = True
    assert signed_distance(ball, np.ones_like(ball))[4, 4, 4] == -2
    ones, far = torch.ones_like(target), 50 * torch.ones_like(target)
    assert float(total_loss({"boundary": 1.0}, far, target, ones)) == pytest.approx(distance.mean())
    assert float(total_loss({"boundary": 1.0}, far, 0 * target, ones)) == 0


def test_the_residual_moment_loss_weighs_a_residual_by_where_it_is():
    zeros = torch.zeros((1, 1, 3, 3, 3))
    losses = []
    for place in ((0, 0, 0), (0, 0, 2), (2, 2, 2)):
        logits = zeros - 50
        logits[0, 0][place] = 50
        losses.append(float(total_loss({"residual_moment": 27.0}, logits, zeros, zeros + 1)))
    # Squares of the coordinates and of their product, over four maps.
    assert losses == pytest.approx([0, 1 / 4, 4 / 4], abs=1e-6)


def test_deeper_outputs_count_half_of_the_one_before():
    target, ones = torch.zeros((1, 1, 2, 2, 2)), torch.ones((1, 1, 2, 2, 2))
    outputs = [torch.full_like(target, value) for value in (0.0, 1.0, -1.0)]
    weights = {"cross_entropy": 1.0}
    one, two, three = (float(total_loss(weights, o, target, ones)) for o in outputs)
    expected = (one + two / 2 + three / 4) / 1.75
    assert float(supervised_loss(weights, outputs, target, ones)) == pytest.approx(expected)
    assert float(supervised_loss(weights, outputs[0], target, ones)) == pytest.approx(one)


def test_bending_moves_image_and_masks_together_and_by_the_seed(store):
    elastic = {"max_displacement_vox": 3.0, "grid_vox": 8}
    plan, cuts = tiny_settings(elastic=elastic, max_shift_vox=[0, 0, 0], flip_axes=[]), []
    for number in (5, 5, 6):
        draw = draw_batch(store, plan, CROP, seed=0, number=number)
        draw.cube = torch.tensor([0, 1])
        cuts.append(cut_batch(store, draw, CROP, plan))
    for a, b in zip(cuts[0], cuts[1], strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(cuts[0][0], cuts[2][0])
    assert not torch.equal(cuts[0][1], cuts[2][1])
    # A bright ball in darkness: where its mask went, the brightness went.
    image, readers, _, counts = cuts[0]
    inside = (readers == 15) & counts
    outside = (readers == 0) & counts
    assert float(image[:, 0][inside].mean()) > float(image[:, 0][outside].mean()) + 0.5
    assert inside.sum() > 100


def test_a_displacement_of_nothing_bends_nothing(store):
    plan, draw = tiny_settings(), plain_draw([4], [[2, 5, 7]])
    plain = cut_batch(store, draw, CROP, plan)
    draw.displacement = torch.zeros((1, 3, 2, 3, 3))
    bent = cut_batch(store, draw, CROP, plan)
    assert torch.allclose(plain[0], bent[0], atol=1e-5)
    for before, after in zip(plain[1:], bent[1:], strict=True):
        assert torch.equal(before, after)
