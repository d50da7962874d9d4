"""Every network of the catalogue: its shapes, gradients, source, and whether it learns."""

import fnmatch

import pytest
import torch

from quorum.networks import build_network, complete_network, network_module, network_names

CROP = (32, 64, 64)
# Learned in the short suite; the others in `make test-full`.
QUICK_TO_LEARN = ("pspnet",)


def small_input(name):
    """Return the smallest crop a network takes, and the network itself with its own sizes."""
    network = complete_network({"name": name})
    torch.manual_seed(0)
    return torch.randn(1, 1, *CROP), build_network(network, 1, 1)


@pytest.mark.parametrize("name", network_names())
def test_logits_have_the_size_of_the_input_and_every_parameter_a_gradient(name):
    image, network = small_input(name)
    logits = network(image)
    assert logits.shape == image.shape
    assert torch.isfinite(logits).all()
    (logits * torch.randn_like(logits)).sum().backward()
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


def two_nodules():
    """Return two crops (2, 1, z, y, x) with a bright ball each, and their masks."""
    grid = torch.stack(torch.meshgrid(*(torch.arange(n) for n in CROP), indexing="ij")).float()
    masks = []
    for center, radius in (((16, 32, 32), 6), ((12, 40, 24), 9)):
        distance = (grid - torch.tensor(center).reshape(3, 1, 1, 1)).square().sum(0).sqrt()
        masks.append(distance < radius)
    target = torch.stack(masks)[:, None].float()
    return target * 0.8 - 0.9 + 0.2 * torch.randn_like(target), target


def best_dice(name, most_steps):
    """Train until the Dice on two nodules is over 0.95, or for `most_steps`; return it."""
    torch.manual_seed(0)
    network = build_network(complete_network({"name": name}), 1, 1)
    image, target = two_nodules()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.003)
    for step in range(1, most_steps + 1):
        probability = torch.sigmoid(network.train()(image)).clamp(1e-6, 1 - 1e-6)
        overlap = (probability * target).sum()
        dice = 2 * overlap / (probability.square().sum() + target.square().sum())
        entropy = torch.nn.functional.binary_cross_entropy(probability, target)
        optimizer.zero_grad()
        (1 - dice + entropy).backward()
        optimizer.step()
        if step % 20 == 0:
            with torch.no_grad():
                predicted = network.eval()(image) > 0
            reached = float(2 * (predicted & (target > 0)).sum() / (predicted.sum() + target.sum()))
            if reached > 0.95:
                return reached
    return reached


@pytest.mark.parametrize("name", QUICK_TO_LEARN)
def test_a_network_learns_two_nodules_by_heart(name):
    assert best_dice(name, most_steps=200) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in network_names() if n not in QUICK_TO_LEARN])
def test_every_other_network_learns_two_nodules_by_heart(name):
    assert best_dice(name, most_steps=400) > 0.95
