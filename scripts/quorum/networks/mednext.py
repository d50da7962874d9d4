"""MedNeXt: ConvNeXt blocks in a U-Net (MONAI's MedNeXt)."""

SOURCE = "Roy 2023, MedNeXt (arXiv 2303.09975)"
KEYS = {"channels": 16, "expansion": 2, "kernel_size": 3, "blocks": [2, 2, 2, 2]}


def divisors(network: dict) -> tuple:
    """Return what each side of a crop must be a multiple of: a stride of two a stage."""
    return (2 ** len(network["blocks"]),) * 3


def build(network: dict, num_inputs: int, num_outputs: int):
    """Return MONAI's MedNeXt in three dimensions, with residual up- and down-sampling."""
    from monai.networks.nets import MedNeXt

    return MedNeXt(
        spatial_dims=3,
        init_filters=network["channels"],
        in_channels=num_inputs,
        out_channels=num_outputs,
        encoder_expansion_ratio=network["expansion"],
        decoder_expansion_ratio=network["expansion"],
        bottleneck_expansion_ratio=network["expansion"],
        kernel_size=network["kernel_size"],
        use_residual_connection=True,
        blocks_down=network["blocks"],
        blocks_bottleneck=2,
        blocks_up=network["blocks"],
    )
