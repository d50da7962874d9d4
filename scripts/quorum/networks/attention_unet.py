"""Attention U-Net: gates on the skip connections (MONAI's AttentionUnet)."""

from math import prod

SOURCE = "Oktay 2018, Attention U-Net (arXiv 1804.03999)"
KEYS = {"channels": [16, 32, 64, 128], "strides": [2, 2, 2], "dropout": 0.0}


def divisors(network: dict) -> tuple:
    """Return what each side of a crop must be a multiple of: the product of the strides."""
    return (prod(network["strides"]),) * 3


def build(network: dict, num_inputs: int, num_outputs: int):
    """Return MONAI's AttentionUnet in three dimensions."""
    from monai.networks.nets import AttentionUnet

    return AttentionUnet(
        spatial_dims=3,
        in_channels=num_inputs,
        out_channels=num_outputs,
        channels=network["channels"],
        strides=network["strides"],
        dropout=network["dropout"],
    )
