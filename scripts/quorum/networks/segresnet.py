"""SegResNet: a residual encoder, wider than its decoder, without the autoencoder (MONAI's)."""

SOURCE = "Myronenko 2018, 3D MRI brain tumor segmentation (arXiv 1810.11654)"
KEYS = {"channels": 16, "blocks_down": [1, 2, 2, 4], "blocks_up": [1, 1, 1], "dropout": 0.0}
ONE_VOXEL = True


def divisors(network: dict) -> tuple:
    """Return what each side of a crop must be a multiple of: a stride of two between levels."""
    return (2 ** (len(network["blocks_down"]) - 1),) * 3


def build(network: dict, num_inputs: int, num_outputs: int):
    """Return MONAI's SegResNet in three dimensions."""
    from monai.networks.nets import SegResNet

    return SegResNet(
        spatial_dims=3,
        init_filters=network["channels"],
        in_channels=num_inputs,
        out_channels=num_outputs,
        blocks_down=network["blocks_down"],
        blocks_up=network["blocks_up"],
        dropout_prob=network["dropout"] or None,
    )
