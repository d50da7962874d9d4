"""FCN-8s in three dimensions: scores of three depths, added while they are upsampled."""

import itertools

SOURCE = "Long 2015, Fully convolutional networks (arXiv 1411.4038), its FCN-8s"
KEYS = {"channels": [16, 32, 64, 128, 128]}
ONE_VOXEL = True


def divisors(network: dict) -> tuple:
    """Return what each side of a crop must be a multiple of: five poolings by two."""
    return (32, 32, 32)


def build(network: dict, num_inputs: int, num_outputs: int):
    """Return the network: five pooled stages, scores at strides 32, 16 and 8."""
    from torch import nn

    from quorum.network_parts.convolution import double_conv

    class FCN8s(nn.Module):
        """Encoder of five stages; each score is upsampled and added to the one before."""

        def __init__(self, channels):
            super().__init__()
            widths = [num_inputs, *channels]
            self.stages = nn.ModuleList(
                double_conv(before, after) for before, after in itertools.pairwise(widths)
            )
            self.pool = nn.MaxPool3d(2)
            self.scores = nn.ModuleList(nn.Conv3d(width, num_outputs, 1) for width in channels[2:])
            self.twofold = nn.ModuleList(
                nn.ConvTranspose3d(num_outputs, num_outputs, 4, stride=2, padding=1)
                for _ in range(2)
            )
            self.eightfold = nn.ConvTranspose3d(num_outputs, num_outputs, 16, stride=8, padding=4)

        def forward(self, image):
            pooled = []
            for stage in self.stages:
                image = self.pool(stage(image))
                pooled.append(image)
            stride8, stride16, stride32 = (
                score(features) for score, features in zip(self.scores, pooled[2:], strict=True)
            )
            stride16 = stride16 + self.twofold[0](stride32)
            return self.eightfold(stride8 + self.twofold[1](stride16))

    return FCN8s(network["channels"])
