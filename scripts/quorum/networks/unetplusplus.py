"""U-Net++: nested skip connections; its last column is the output (MONAI's BasicUNetPlusPlus)."""

SOURCE = "Zhou 2018, UNet++ (arXiv 1807.10165)"
KEYS = {"channels": [16, 16, 32, 64, 128, 16], "dropout": 0.0, "deep_supervision": False}
# The heads of the shallower columns serve deep supervision alone.
WITHOUT_GRADIENT = ("final_conv_0_1.*", "final_conv_0_2.*", "final_conv_0_3.*")


def divisors(network: dict) -> tuple:
    """Return what each side of a crop must be a multiple of: four poolings by two."""
    return (16, 16, 16)


def build(network: dict, num_inputs: int, num_outputs: int):
    """Return MONAI's BasicUNetPlusPlus; its deepest column is the answer.

    With deep supervision it gives, in training, a list of logits: the answer's first.
    """
    from monai.networks.nets import BasicUNetPlusPlus

    class UNetPlusPlus(BasicUNetPlusPlus):
        def forward(self, image):
            columns = super().forward(image)[::-1]
            return columns if self.training and self.deep_supervision else columns[0]

    return UNetPlusPlus(
        spatial_dims=3,
        in_channels=num_inputs,
        out_channels=num_outputs,
        features=network["channels"],
        deep_supervision=network["deep_supervision"],
        dropout=network["dropout"],
    )
