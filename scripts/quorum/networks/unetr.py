"""UNETR: a vision transformer as encoder, a convolutional decoder (MONAI's UNETR)."""

SOURCE = "Hatamizadeh 2022, UNETR (arXiv 2103.10504)"
KEYS = {
    "image_vox": [32, 64, 64],
    "channels": 16,
    "hidden_size": 192,
    "mlp_dim": 768,
    "num_heads": 6,
    "dropout": 0.0,
}
# MONAI normalises for a cross-attention that is switched off.
WITHOUT_GRADIENT = ("vit.blocks.*.norm_cross_attn.*",)


def divisors(network: dict) -> tuple:
    """Return what each side of a crop must be a multiple of: patches of 16 voxels."""
    return (16, 16, 16)


def image_vox(network: dict) -> tuple:
    """Return the size of its crops: a learned embedding of each patch's place fixes it."""
    return tuple(network["image_vox"])


def build(network: dict, num_inputs: int, num_outputs: int):
    """Return MONAI's UNETR for crops of `image_vox`."""
    from monai.networks.nets import UNETR

    return UNETR(
        in_channels=num_inputs,
        out_channels=num_outputs,
        img_size=network["image_vox"],
        feature_size=network["channels"],
        hidden_size=network["hidden_size"],
        mlp_dim=network["mlp_dim"],
        num_heads=network["num_heads"],
        dropout_rate=network["dropout"],
    )
