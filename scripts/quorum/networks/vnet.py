"""V-Net: residual stages of 5 x 5 x 5 convolutions (MONAI's VNet)."""

SOURCE = "Milletari 2016, V-Net (arXiv 1606.04797)"
KEYS = {"dropout_down": 0.5, "dropout_up": 0.5}


def divisors(network: dict) -> tuple:
    """Return what each side of a crop must be a multiple of: four strides of two."""
    return (16, 16, 16)


def build(network: dict, num_inputs: int, num_outputs: int):
    """Return MONAI's VNet; its widths are fixed at 16 to 256 channels."""
    from monai.networks.nets import VNet

    return VNet(
        spatial_dims=3,
        in_channels=num_inputs,
        out_channels=num_outputs,
        dropout_prob_down=network["dropout_down"],
        dropout_prob_up=(network["dropout_up"], network["dropout_up"]),
    )
