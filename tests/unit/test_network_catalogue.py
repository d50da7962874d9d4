"""Every network of the catalogue: its shapes, gradients, source, and whether it learns."""

import fnmatch
import functools
from math import prod

import pytest
import torch
import yaml

from quorum.losses import total_loss
from quorum.networks import (
    NUM_INPUTS,
    build_network,
    complete_network,
    network_module,
    network_names,
)

CROP = (32, 64, 64)
LOSSES = functools.partial(total_loss, {"dice": 1.0, "cross_entropy": 1.0})
# Learned in the short suite; the others in `make test-full`.
QUICK_TO_LEARN = ("deeplabv3", "octave_unet", "unet3d")


def network_of(name, crop_vox=CROP):
    """Return a network with its own sizes for a crop, and how many channels it takes."""
    network = complete_network({"name": name})
    if "image_vox" in network:
        network["image_vox"] = list(crop_vox)
    torch.manual_seed(0)
    inputs = getattr(network_module(name), "INPUTS", "image")
    return build_network(network, NUM_INPUTS[inputs], 1), NUM_INPUTS[inputs]


def loss_of(network, image, target):
    """Return the loss that training would take."""
    counts = torch.ones_like(target)
    if hasattr(network, "own_loss"):
        return network.own_loss(image, target, counts, LOSSES)
    return LOSSES(network(image), target, counts)


@pytest.mark.parametrize("name", network_names())
def test_logits_have_the_size_of_the_input_and_every_parameter_a_gradient(name):
    network, num_inputs = network_of(name)
    image, target = torch.randn(1, num_inputs, *CROP), torch.rand(1, 1, *CROP).round()
    logits = network(image)
    assert logits.shape == (1, 1, *CROP)
    assert torch.isfinite(logits).all()
    loss = (logits * torch.randn_like(logits)).sum()
    if hasattr(network, "own_loss"):
        loss = loss + loss_of(network, image, target)
    loss.backward()
    dead = [
        key
        for key, parameter in network.named_parameters()
        if parameter.grad is None or not torch.any(parameter.grad != 0)
    ]
    allowed = getattr(network_module(name), "WITHOUT_GRADIENT", ())
    unexpected = [k for k in dead if not any(fnmatch.fnmatch(k, pattern) for pattern in allowed)]
    assert unexpected == []
    for pattern in allowed:
        assert any(fnmatch.fnmatch(key, pattern) for key in dead), f"{pattern} names nothing dead"


@pytest.mark.parametrize("name", network_names())
def test_a_network_says_where_it_was_published_and_what_divides_its_crops(name):
    module = network_module(name)
    assert any(character.isdigit() for character in module.SOURCE)
    divisors = module.divisors(complete_network({"name": name}))
    assert len(divisors) == 3
    assert all(side % divisor == 0 for side, divisor in zip(CROP, divisors, strict=True))


def test_every_network_is_an_experiment_of_its_own_name(root):
    for name in network_names():
        path = root / "config" / "experiments" / f"{name}.yaml"
        assert path.read_text().startswith("# "), name
        found = yaml.safe_load(path.read_text()).get("network", {"name": "unet3d"})
        assert found["name"] == name


def learning_crop(name) -> tuple:
    """Return the smallest crop for learning: at least (16, 32, 32), two voxels when halved most."""
    divisors = network_module(name).divisors(complete_network({"name": name}))
    sides = [-(-side // d) * d for side, d in zip((16, 32, 32), divisors, strict=True)]
    if prod(sides) == prod(divisors):
        sides[2] *= 2
    return tuple(sides)


def two_nodules(crop_vox, num_inputs):
    """Return two crops with a bright ball each, and their masks; a place, where there is one."""
    grid = torch.stack(torch.meshgrid(*(torch.arange(n) for n in crop_vox), indexing="ij")).float()
    middle, masks = (torch.tensor(crop_vox) - 1) / 2, []
    for shift, radius in (((0, 0, 0), 4), ((-1, 3, -3), 6)):
        distance = (grid - (middle + torch.tensor(shift)).reshape(3, 1, 1, 1)).square().sum(0)
        masks.append(distance.sqrt() < radius)
    target = torch.stack(masks)[:, None].float()
    image = target * 0.8 - 0.9 + 0.2 * torch.randn_like(target)
    place = torch.rand(2, num_inputs - 1, 1, 1, 1).expand(-1, -1, *crop_vox)
    return torch.cat([image, place], dim=1), target


def learn(name, most_steps) -> tuple:
    """Train until the Dice on two nodules is over 0.95, at most `most_steps`; return it, steps."""
    crop_vox = learning_crop(name)
    network, num_inputs = network_of(name, crop_vox)
    image, target = two_nodules(crop_vox, num_inputs)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.003)
    for step in range(1, most_steps + 1):
        optimizer.zero_grad()
        loss_of(network.train(), image, target).backward()
        optimizer.step()
        if step % 10 == 0:
            with torch.no_grad():
                predicted = network.eval()(image) > 0
            reached = float(2 * (predicted & (target > 0)).sum() / (predicted.sum() + target.sum()))
            if reached > 0.95:
                break
    return reached, step


@pytest.mark.parametrize("name", QUICK_TO_LEARN)
def test_a_network_learns_two_nodules_by_heart(name):
    assert learn(name, most_steps=300)[0] > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in network_names() if n not in QUICK_TO_LEARN])
def test_every_other_network_learns_two_nodules_by_heart(name):
    assert learn(name, most_steps=400)[0] > 0.95


def test_draws_of_a_probabilistic_network_differ_and_are_seeded():
    network, _ = network_of("prob_unet")
    network.eval()
    image = torch.randn(1, 1, 16, 32, 32)
    with torch.no_grad():
        first, again, other = (
            network.sample(image, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
        )
    assert first.shape == (16, 1, 16, 32, 32)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.std(dim=0).max() > 0


def test_the_posterior_sees_the_outline_and_uncovered_voxels_count_for_nothing():
    network, _ = network_of("prob_unet")
    image = torch.randn(2, 1, 16, 32, 32)
    target, counts = torch.zeros(2, 1, 16, 32, 32), torch.ones(2, 1, 16, 32, 32)
    counts[:, :, 8:] = 0

    def loss(outline):
        torch.manual_seed(0)
        return float(network.own_loss(image, outline, counts, LOSSES))

    hidden, seen = target.clone(), target.clone()
    hidden[:, :, 10:, 10:20, 10:20] = 1
    seen[:, :, 2:6, 10:20, 10:20] = 1
    assert loss(hidden) == loss(target)
    assert loss(seen) != loss(target)


def test_the_place_changes_the_answer_of_the_network_that_is_told_it():
    network, num_inputs = network_of("position_unet")
    image = torch.randn(1, num_inputs, 16, 32, 32)
    moved = image.clone()
    moved[:, 1:] = 0.5
    image[:, 1:] = -0.5
    with torch.no_grad():
        assert not torch.equal(network.eval()(image), network(moved))
