"""3D U-Net with max-pooling, as first published (MONAI's BasicUNet)."""

SOURCE = "Cicek 2016, 3D U-Net (arXiv 1606.06650); Falk 2019 (10.1038/s41592-018-0261-2)"
KEYS = {"channels": [16, 16, 32, 64, 128, 16], "dropout": 0.0}


def divisors(network: dict) -> tuple:
    """Return what each side of a crop must be a multiple of: four poolings by two."""
    return (16, 16, 16)


def build(network: dict, num_inputs: int, num_outputs: int):
    """Return MONAI's BasicUNet in three dimensions with instance normalisation."""
    from monai.networks.nets import BasicUNet

    return BasicUNet(
        spatial_dims=3,
        in_channels=num_inputs,
        out_channels=num_outputs,
        features=network["channels"],
        dropout=network["dropout"],
    )
