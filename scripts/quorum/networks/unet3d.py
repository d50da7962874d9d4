"""The recipe's 3D U-Net: strided convolutions for pooling, residual units (MONAI's UNet)."""

from math import prod

from quorum.errors import InputError

SOURCE = "Ronneberger 2015 (arXiv 1505.04597); Kerfoot 2018 (10.1007/978-3-030-12029-0_40)"
KEYS = {"channels": [8, 16, 32, 64], "strides": [2, 2, 2], "num_res_units": 2, "dropout": 0.0}


def divisors(network: dict) -> tuple:
    """Return what each side of a crop must be a multiple of: the product of the strides."""
    check_levels(network)
    return (prod(network["strides"]),) * 3


def check_levels(network: dict):
    """Raise an InputError unless there is one stride fewer than channels."""
    if len(network["strides"]) != len(network["channels"]) - 1:
        raise InputError(
            f"unet3d has {len(network['channels'])} channels and {len(network['strides'])} strides",
            "one stride fewer than channels: a stride is what lies between two levels",
            "change network.channels or network.strides",
        )


def build(network: dict, num_inputs: int, num_outputs: int):
    """Return MONAI's UNet in three dimensions with instance normalisation."""
    from monai.networks.nets import UNet

    check_levels(network)
    return UNet(
        spatial_dims=3,
        in_channels=num_inputs,
        out_channels=num_outputs,
        channels=network["channels"],
        strides=network["strides"],
        num_res_units=network["num_res_units"],
        norm="instance",
        dropout=network["dropout"],
    )
