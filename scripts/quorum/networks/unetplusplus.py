"""U-Net++: nested skip connections; its last column is the output (MONAI's BasicUNetPlusPlus)."""

SOURCE = "Zhou 2018, UNet++ (arXiv 1807.10165)"
KEYS = {"channels": [16, 16, 32, 64, 128, 16], "dropout": 0.0}
# The heads of the shallower columns serve deep supervision alone.
WITHOUT_GRADIENT = ("final_conv_0_1.*", "final_conv_0_2.*", "final_conv_0_3.*")


def divisors(network: dict) -> tuple:
    """Return what each side of a crop must be a multiple of: four poolings by two."""
    return (16, 16, 16)


def build(network: dict, num_inputs: int, num_outputs: int):
    """Return MONAI's BasicUNetPlusPlus, its list of one output unwrapped."""
    from monai.networks.nets import BasicUNetPlusPlus

    class UNetPlusPlus(BasicUNetPlusPlus):
        def forward(self, image):
            return super().forward(image)[0]

    return UNetPlusPlus(
        spatial_dims=3,
        in_channels=num_inputs,
        out_channels=num_outputs,
        features=network["channels"],
        deep_supervision=False,
        dropout=network["dropout"],
    )
