"""The registry: one file is one network, and what it needs is checked before training."""

import pytest
import torch

from quorum.errors import InputError
from quorum.networks import build_network, check_crop, complete_network, network_names


def test_every_network_file_defines_what_the_registry_needs(root):
    files = {path.stem for path in (root / "scripts" / "quorum" / "networks").glob("*.py")}
    assert set(network_names()) == files - {"__init__"}
    for name in network_names():
        assert complete_network({"name": name})["name"] == name


def test_defaults_are_laid_under_the_given_keys():
    assert complete_network({"name": "unet3d", "dropout": 0.5})["dropout"] == 0.5
    assert complete_network({"name": "unet3d"})["strides"] == [2, 2, 2]


def test_unknown_names_come_with_the_nearest():
    with pytest.raises(InputError, match="'unet3d'"):
        complete_network({"name": "unet3dd"})
    with pytest.raises(InputError, match="'strides'"):
        complete_network({"name": "unet3d", "stride": [2]})
    with pytest.raises(InputError, match="no name"):
        complete_network({})


def test_crops_that_cannot_be_halved():
    network = {"name": "unet3d"}
    check_crop(network, (8, 16, 24))
    for crop_vox in ((12, 64, 64), (32, 60, 64), (32, 64, 4)):
        with pytest.raises(InputError, match="can't be halved"):
            check_crop(network, crop_vox)


def test_the_default_has_the_stated_number_of_parameters():
    network = build_network({"name": "unet3d"}, 1, 1)
    assert sum(p.numel() for p in network.parameters()) == 297122


def test_segnet_unpools_as_torch_does_and_deterministically():
    from quorum.networks.segnet import unpool

    values = torch.randn(2, 3, 4, 6, 8, generator=torch.Generator().manual_seed(0))
    pooled, index = torch.nn.MaxPool3d(2, return_indices=True)(values)
    was = torch.are_deterministic_algorithms_enabled()
    try:
        torch.use_deterministic_algorithms(False)
        expected = torch.nn.MaxUnpool3d(2)(pooled, index)
        torch.use_deterministic_algorithms(True)
        assert torch.equal(unpool(pooled, index), expected)
        block = {"name": "segnet", "channels": [2, 4]}
        build_network(block, 1, 1)(values[:, :1, :, :4]).sum().backward()
    finally:
        torch.use_deterministic_algorithms(was)
