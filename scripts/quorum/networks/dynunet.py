"""DynUNet: the U-Net that nnU-Net plans for a crop of (32, 64, 64) at 1 mm (MONAI's DynUNet)."""

from math import prod

SOURCE = "Isensee 2021, nnU-Net (10.1038/s41592-020-01008-z)"
# nnU-Net halves an axis while four voxels or more are left: three times in z, four in y and x.
KEYS = {
    "channels": [32, 64, 128, 256, 320],
    "strides": [[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2], [1, 2, 2]],
    # Outputs of the next two levels below the finest are trained too, as nnU-Net does.
    "deep_supervision": False,
}


def divisors(network: dict) -> tuple:
    """Return what each side of a crop must be a multiple of: the product of its strides."""
    return tuple(prod(stride[axis] for stride in network["strides"]) for axis in range(3))


def build(network: dict, num_inputs: int, num_outputs: int):
    """Return MONAI's DynUNet with instance normalisation and leaky ReLU.

    With deep supervision it gives, in training, a list of logits: the answer's first.
    """
    from monai.networks.nets import DynUNet

    class SupervisedDynUNet(DynUNet):
        def forward(self, image):
            out = super().forward(image)
            return list(out.unbind(1)) if self.training and self.deep_supervision else out

    strides = network["strides"]
    return SupervisedDynUNet(
        spatial_dims=3,
        in_channels=num_inputs,
        out_channels=num_outputs,
        kernel_size=[3] * len(strides),
        strides=strides,
        upsample_kernel_size=strides[1:],
        filters=network["channels"],
        deep_supervision=network["deep_supervision"],
        deep_supr_num=min(2, len(strides) - 2),
    )
