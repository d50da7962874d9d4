"""search_skips: candidates, choice, and an experiment that can be retrained from."""

import numpy as np
import pytest
import torch
import yaml
from model_factory import make_cohort, tiny_settings
from search_skips import drawn, main

from quorum.errors import InputError
from quorum.networks import build_network, complete_network
from quorum.networks.bixnas import all_skips
from quorum.plans import make_plan
from quorum.skip_search import (
    chosen_skips,
    count_skips,
    crossed,
    draw_subset,
    evolve,
    list_nodes,
    narrow,
    pick,
    set_gates,
    supernet,
)
from quorum.tables import read_table

NETWORK = {"name": "bixnas", "channels": [4, 8, 8]}


def settings_of(network):
    """Return tiny settings with this network."""
    return {**tiny_settings(max_hidden_end_slices=0), "network": complete_network(network)}


def test_every_candidate_of_three_levels_and_two_iterations():
    skips = all_skips(3, 2)
    assert skips["decoder_skips"] == [[[0, 1, 2], [0, 1, 2]]] * 2
    assert skips["encoder_skips"] == [[[0, 1]] * 3]
    nodes = dict(list_nodes(skips))
    assert len(nodes) == 7
    assert chosen_skips(nodes, skips) == skips
    assert chosen_skips({}, skips)["encoder_skips"] == [[[], [], []]]


def test_shut_gates_are_the_network_without_those_skips():
    settings = settings_of(NETWORK)
    network, skips = supernet(settings, seed=0)
    network.candidates = list_nodes(skips)
    nodes = {("decoder_skips", 0, 0): [1], ("encoder_skips", 0, 2): [0]}
    small = build_network({**NETWORK, **chosen_skips(nodes, skips)}, 1, 1)
    small.load_state_dict(
        {k: v for k, v in network.state_dict().items() if k in small.state_dict()}
    )
    set_gates(network, nodes)
    image = torch.randn(1, 1, 8, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(image), small.eval()(image))
        network.gates = {}
        assert not torch.allclose(network(image), small(image))


def test_the_first_phase_keeps_the_two_best_of_each_node():
    network = torch.nn.Identity()
    network.candidates = [("a", [0, 1, 2]), ("b", [1])]
    alphas = {"a": torch.tensor([0.1, -1.0, 2.0]), "b": torch.tensor([0.0])}
    assert narrow(network, alphas) == {"a": [2, 0], "b": [1]}


def test_of_equal_architectures_the_one_of_fewest_skips_is_chosen():
    small, large, poor = {"a": [0]}, {"a": [0, 1]}, {"a": []}
    assert pick([(0.8, large), (0.7995, small), (0.7, poor)]) == small
    assert pick([(0.8, large), (0.79, small)]) == large
    assert count_skips(large) == 2


def test_evolution_finds_what_is_rewarded_and_keeps_to_the_candidates():
    kept = {node: [0, 1] for node in range(6)}
    wanted = {node: [node % 2] for node in kept}
    generator = np.random.default_rng(0)

    def score(nodes):
        assert all(set(sources) <= {0, 1} for sources in nodes.values())
        return sum(nodes[node] == wanted[node] for node in kept) / len(kept)

    options = {"population": 12, "generations": 12, "generator": generator}
    rows = list(evolve(score, kept, **options))
    assert len(rows) == 12 * 12
    first = max(dice for generation, dice, _ in rows if generation == 0)
    assert max(dice for _, dice, _ in rows) > first
    assert rows[0][2] == kept
    child = crossed(wanted, wanted, wanted, generator)
    assert set(child) == set(kept)
    assert all(set(s) <= set(wanted[n]) for n, s in draw_subset(wanted, generator).items())


def test_the_search_writes_an_experiment_that_can_be_planned(tmp_path):
    cohort = make_cohort(tmp_path)
    plan = tmp_path / "bixnas.yaml"
    whole = {"name": "bixnas", "consensus": "majority", "settings": settings_of(NETWORK)}
    plan.write_text(yaml.safe_dump(whole))
    out, tried = tmp_path / "out.yaml", tmp_path / "tried.csv"
    flags = ["--plan", str(plan), "--splits", str(cohort.splits), "--shards", *cohort.shards]
    flags += ["--fold", "0", "--num-folds", "5", "--seed", "0", "--steps", "2"]
    flags += ["--population", "3", "--generations", "2", "--num-scored", "2"]
    main([*flags, "--out-architecture", str(out), "--out-tried", str(tried)])
    head = [line for line in out.read_text().splitlines() if line.startswith("# ")]
    assert "on phantom nodules" in head[0]
    assert "2 validated on (fold 0 of" in head[1]
    assert "2 steps of 2 crops a phase, a population of 3" in head[2]
    assert "2 generations, seed 0" in head[3]
    network = yaml.safe_load(out.read_text())["network"]
    settings = {**tiny_settings(), "network": network}
    assert make_plan("found", settings, "majority")["settings"]["network"] == network
    table = read_table(tried, "tried_skips")
    assert len(table) == 6
    assert str(network["decoder_skips"]) in set(table["decoder_skips"])
    other = cohort.plan("tiny")
    flags[1] = str(other)
    with pytest.raises(InputError, match="plan of the experiment bixnas"):
        main([*flags, "--out-architecture", str(out), "--out-tried", str(tried)])


def test_nodules_that_score_are_drawn_once_and_never_more_than_there_are():
    assert drawn([5, 6, 7], 9, seed=0) == [5, 6, 7]
    some = drawn(list(range(50)), 8, seed=0)
    assert len(set(some)) == 8
    assert some == drawn(list(range(50)), 8, seed=0) != drawn(list(range(50)), 8, seed=1)


def test_every_committed_architecture_can_be_trained(root):
    paths = sorted((root / "config" / "experiments").glob("bixnas*.yaml"))
    assert paths
    for path in paths:
        network = complete_network(yaml.safe_load(path.read_text())["network"])
        torch.manual_seed(0)
        built = build_network(network, 1, 1)
        built(torch.randn(1, 1, 8, 16, 16)).square().sum().backward()
        dead = [key for key, value in built.named_parameters() if not value.grad.any()]
        assert dead == [], path.name


def test_skips_of_another_size_are_refused():
    for skips in ({"encoder_skips": []}, {"decoder_skips": [[[0], [9]], [[0], [1]]]}):
        with pytest.raises(InputError, match="2 iterations"):
            build_network({"name": "bixnas", **skips}, 1, 1)
