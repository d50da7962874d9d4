"""Swin UNETR: a transformer with shifted windows as encoder (MONAI's SwinUNETR)."""

SOURCE = "Hatamizadeh 2022, Swin UNETR (arXiv 2201.01266)"
KEYS = {"channels": 24, "depths": [2, 2, 2, 2], "num_heads": [3, 6, 12, 24], "dropout": 0.0}


def divisors(network: dict) -> tuple:
    """Return what each side of a crop must be a multiple of: five halvings."""
    return (32, 32, 32)


def build(network: dict, num_inputs: int, num_outputs: int):
    """Return MONAI's SwinUNETR in three dimensions."""
    from monai.networks.nets import SwinUNETR

    return SwinUNETR(
        in_channels=num_inputs,
        out_channels=num_outputs,
        depths=network["depths"],
        num_heads=network["num_heads"],
        feature_size=network["channels"],
        drop_rate=network["dropout"],
        spatial_dims=3,
    )
