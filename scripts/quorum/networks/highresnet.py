"""HighRes3DNet: full resolution throughout, dilated residual blocks (MONAI's HighResNet)."""

SOURCE = "Li 2017, HighRes3DNet (arXiv 1707.01992)"
KEYS = {"dropout": 0.0}


def divisors(network: dict) -> tuple:
    """Return what each side of a crop must be a multiple of: nothing is halved."""
    return (1, 1, 1)


def build(network: dict, num_inputs: int, num_outputs: int):
    """Return MONAI's HighResNet in three dimensions."""
    from monai.networks.nets import HighResNet

    return HighResNet(
        spatial_dims=3,
        in_channels=num_inputs,
        out_channels=num_outputs,
        norm_type=("instance", {"affine": True}),
        dropout_prob=network["dropout"],
    )
