"""compare_networks: parameters and multiply-adds as counted by hand, every network listed."""

import json

import compare_networks
import pytest
from compare_networks import count_network, main
from model_factory import tiny_settings
from torch import nn

from quorum.closed_schema import load_yaml
from quorum.networks import network_names
from quorum.settings import EXPERIMENTS
from quorum.tables import read_table

NAMES = ("unet3d", "position_unet", "prob_unet", "threshold")


def test_one_convolution_counted_by_hand(monkeypatch):
    monkeypatch.setattr(
        compare_networks, "build_network", lambda network, a, b: nn.Conv3d(a, b, 3, padding=1)
    )
    found = count_network(tiny_settings(crop_vox=[16, 32, 32]))
    assert found["num_parameters"] == 27 + 1
    assert found["multiply_adds_g"] == pytest.approx(27 * 16 * 32 * 32 / 1e9)


def test_a_product_of_matrices_counts_too(monkeypatch):
    class Product(nn.Module):
        def forward(self, image):
            flat = image.reshape(16 * 32, 32)
            return flat @ flat.T

    monkeypatch.setattr(compare_networks, "build_network", lambda *_: Product())
    found = count_network(tiny_settings(crop_vox=[16, 32, 32]))
    assert found["num_parameters"] == 0
    assert found["multiply_adds_g"] == pytest.approx(512 * 32 * 512 / 1e9)


def test_every_network_of_the_catalogue_has_a_row(tmp_path, root):
    out, files = tmp_path / "networks.csv", sorted(map(str, EXPERIMENTS.glob("*.yaml")))
    settings = load_yaml(root / "config" / "config.yaml")["train_model"]
    main(["--settings", json.dumps(settings), "--experiments", *files, "--out-networks", str(out)])
    table = read_table(out, "networks")
    assert set(table["network"]) == set(network_names())
    assert (table["num_parameters"] > 0).all()
    assert (table["multiply_adds_g"] > 0).all()


def test_the_table_lists_networks_alone_with_their_sources(tmp_path):
    out = tmp_path / "networks.csv"
    files = [str(EXPERIMENTS / f"{name}.yaml") for name in NAMES]
    settings = tiny_settings(crop_vox=[16, 32, 32], training_crop_vox=None)
    flags = ["--settings", json.dumps(settings), "--experiments", *files]
    main([*flags, "--out-networks", str(out)])
    table = read_table(out, "networks").set_index("experiment")
    assert sorted(table.index) == ["position_unet", "prob_unet", "unet3d"]
    assert table.loc["position_unet", "inputs"] == "position"
    assert table.loc["prob_unet", "target"] == "random_reader"
    assert table.loc["unet3d", "source"].startswith("Ronneberger 2015")
    assert (table["multiply_adds_g"] > 0).all()
