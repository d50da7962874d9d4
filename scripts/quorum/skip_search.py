"""Search of BiX-Net's skips: a relaxed choice narrows the candidates, evolution picks among them.

Source: Wang 2021, BiX-NAS (arXiv 2106.14033), at the scale of a CPU: its two phases, one
supernet whose weights all candidates share.
"""

import functools

import numpy as np
import torch

from quorum.batches import draw_batch
from quorum.command import progress
from quorum.evaluation import mean_dice
from quorum.losses import network_loss
from quorum.networks import build_network
from quorum.networks.bixnas import all_skips
from quorum.plans import training_crop
from quorum.speed import choose_speed
from quorum.step_batches import learning_batch

KINDS = ("decoder_skips", "encoder_skips")
# ASSUME: two skips a node are kept after the first phase, as the paper keeps two of its candidates.
NUM_KEPT = 2
HALF = 0.5
# ASSUME: a Dice within 0.002 of the best is no worse; among those the fewest skips win (choice).
TOLERANCE = 0.002


def list_nodes(skips: dict) -> list:
    """Return every node and its candidates: (kind, iteration, target), sources."""
    return [
        ((kind, iteration, target), list(sources))
        for kind in KINDS
        for iteration, targets in enumerate(skips[kind])
        for target, sources in enumerate(targets)
    ]


def chosen_skips(nodes: dict, template: dict) -> dict:
    """Return the skips of `nodes` (node to its sources) in the network's own form."""
    return {
        kind: [
            [sorted(nodes.get((kind, iteration, target), [])) for target in range(len(targets))]
            for iteration, targets in enumerate(template[kind])
        ]
        for kind in KINDS
    }


def supernet(settings: dict, seed: int):
    """Return a network with every candidate, and its candidates."""
    own = settings["network"]
    skips = all_skips(len(own["channels"]), len(own["decoder_skips"]))
    torch.manual_seed(seed)
    speed = choose_speed(settings["speed"], "cpu")
    network = build_network({**own, **skips}, 1, 1).to(memory_format=speed.layout())
    speed.guard(network)
    return network, skips


def set_gates(network, nodes: dict):
    """Open the skips of `nodes` and shut all others."""
    network.gates = {
        (*node, source): float(source in nodes.get(node, []))
        for node, sources in network.candidates
        for source in sources
    }


def train_steps(network, store, settings: dict, *, steps, seed: int, choose):
    """Train the supernet for `steps` (a range); `choose()` sets the gates before each."""
    optimizer, speed = network.optimizer, choose_speed(settings["speed"], "cpu")
    for step in progress(steps, "steps"):
        choose()
        draw = draw_batch(store, settings, training_crop(settings), seed=seed, number=step)
        batch = learning_batch(store, draw, settings)
        options = {"losses": settings["losses"], "speed": speed}
        loss = network_loss(network.train(), network, batch, **options)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def narrow(network, alphas: dict) -> dict:
    """Return each node's best candidates by the learned weights: node to sources."""
    kept = {}
    for node, sources in network.candidates:
        order = torch.argsort(alphas[node].detach(), descending=True)[:NUM_KEPT]
        kept[node] = [sources[k] for k in order.tolist()]
    return kept


def relaxed_gates(network, alphas: dict, generator):
    """Set the gates to one draw of each node's relaxed choice (Gumbel softmax, temperature 1)."""
    gates = {}
    for node, sources in network.candidates:
        uniform = torch.rand(len(sources), generator=generator).clamp(1e-6, 1 - 1e-6)
        share = torch.softmax(alphas[node] - torch.log(-torch.log(uniform)), 0) * len(sources)
        gates |= {(*node, source): share[k] for k, source in enumerate(sources)}
    network.gates = gates


def draw_subset(kept: dict, generator) -> dict:
    """Return a random subset of the kept skips; each with even chance."""
    return {
        node: [source for source in sources if generator.random() < HALF]
        for node, sources in kept.items()
    }


def crossed(first: dict, second: dict, kept: dict, generator) -> dict:
    """Return a child: each node's skips of one parent, one node in ten drawn anew."""
    child = {node: (first if generator.random() < HALF else second)[node] for node in kept}
    fresh = draw_subset(kept, generator)
    return {node: fresh[node] if generator.random() < 0.1 else child[node] for node in kept}


def count_skips(nodes: dict) -> int:
    """Return how many skips an architecture has."""
    return sum(len(sources) for sources in nodes.values())


def evaluate(network, nodes: dict, store, settings: dict) -> float:
    """Return the mean Dice on the validation fold of one architecture, with shared weights."""
    set_gates(network, nodes)
    speed = choose_speed(settings["speed"], "cpu")
    return mean_dice(speed.predictor(network.eval()), store, settings, HALF)


def pick(rows: list) -> dict:
    """Return of (Dice, nodes) pairs the architecture of fewest skips that is no worse."""
    best = max(dice for dice, _ in rows)
    good = [(count_skips(nodes), -dice, k) for k, (dice, nodes) in enumerate(rows)]
    good = [entry for entry in good if -entry[1] >= best - TOLERANCE]
    return rows[min(good)[2]][1]


def evolve(score, kept: dict, *, population: int, generations: int, generator):
    """Yield (generation, Dice, nodes) of every architecture that was tried.

    Parameters
    ----------
    score : callable
        Nodes to their Dice.
    kept : dict
        Of `narrow`.
    population, generations : int
    generator : numpy.random.Generator
    """
    parents = [kept] + [draw_subset(kept, generator) for _ in range(population - 1)]
    ranked = []
    for generation in range(generations):
        for nodes in parents:
            ranked.append((score(nodes), nodes))
            yield generation, *ranked[-1]
        ranked = sorted(ranked, key=lambda pair: -pair[0])[: max(population // 2, 2)]
        picks = generator.integers(len(ranked), size=(population, 2))
        parents = [crossed(ranked[a][1], ranked[b][1], kept, generator) for a, b in picks]


def prepare(settings: dict, seed: int):
    """Return a supernet with its candidates, weights of choice and an optimizer of both."""
    network, skips = supernet(settings, seed)
    network.candidates = list_nodes(skips)
    alphas = {node: torch.zeros(len(s), requires_grad=True) for node, s in network.candidates}
    rate = settings["optimizer"]["learning_rate"]
    # The choice learns ten times faster than the weights, so that it is made in few steps.
    network.optimizer = torch.optim.AdamW(
        [{"params": network.parameters()}, {"params": list(alphas.values()), "lr": 10 * rate}],
        lr=rate,
        weight_decay=settings["optimizer"]["weight_decay"],
    )
    return network, skips, alphas


def search(settings: dict, stores, *, steps: int, seed: int, evolution: dict):
    """Return the chosen skips in the network's own form, and a row for each architecture tried.

    Parameters
    ----------
    settings : dict
        The plan's.
    stores : (train, validation)
    steps : int
        Training steps of each phase.
    seed : int
    evolution : dict
        population and generations.
    """
    network, skips, alphas = prepare(settings, seed)
    noise, chance = torch.Generator().manual_seed(seed), np.random.default_rng([seed, 1])
    run = functools.partial(train_steps, network, stores[0], settings, seed=seed)
    relax = functools.partial(relaxed_gates, network, alphas, noise)
    run(steps=range(steps), choose=relax)
    kept = narrow(network, alphas)
    run(
        steps=range(steps, 2 * steps),
        choose=lambda: set_gates(network, draw_subset(kept, chance)),
    )
    score = functools.partial(evaluate, network, store=stores[1], settings=settings)
    rows = list(evolve(score, kept, **evolution, generator=chance))
    chosen = pick([(dice, nodes) for _, dice, nodes in rows])
    found = [(generation, dice, chosen_skips(nodes, skips)) for generation, dice, nodes in rows]
    return chosen_skips(chosen, skips), found
