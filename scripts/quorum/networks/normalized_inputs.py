"""Learned normalisation: a small FCN prepares the image, an FC-ResNet refines its segmentation."""

import itertools

SOURCE = "Drozdzal 2018, Learning normalized inputs (arXiv 1702.05174)"
KEYS = {"normaliser_channels": [8, 16], "channels": [16, 32, 64]}


def divisors(network: dict) -> tuple:
    """Return what each side of a crop must be a multiple of: the deeper part's poolings."""
    deepest = max(len(network["normaliser_channels"]), len(network["channels"])) - 1
    return (2**deepest,) * 3


def build(network: dict, num_inputs: int, num_outputs: int):
    """Return the two parts in series, trained together; one channel passes between them."""
    from torch import nn

    from quorum.network_parts.convolution import ResidualBlock, conv_block, resize_like

    class Normaliser(nn.Module):
        """A small encoder and decoder whose output is an image of the input's size."""

        def __init__(self, channels):
            super().__init__()
            self.enter = conv_block(num_inputs, channels[0])
            self.down = nn.Sequential(
                *(conv_block(a, b, stride=2) for a, b in itertools.pairwise(channels))
            )
            self.leave = nn.Conv3d(channels[0] + channels[-1], num_inputs, 1)

        def forward(self, image):
            import torch

            fine = self.enter(image)
            coarse = resize_like(self.down(fine), image.shape[2:])
            return self.leave(torch.cat([fine, coarse], dim=1))

    class FCResNet(nn.Module):
        """A residual encoder and decoder, joined by sums of long skips."""

        def __init__(self, channels):
            super().__init__()
            self.enter = conv_block(num_inputs, channels[0])
            self.down = nn.ModuleList(
                ResidualBlock(a, b, stride=2) for a, b in itertools.pairwise(channels)
            )
            self.narrow = nn.ModuleList(
                nn.Conv3d(b, a, 1)
                for a, b in zip(reversed(channels[:-1]), reversed(channels[1:]), strict=True)
            )
            self.up = nn.ModuleList(ResidualBlock(a, a) for a in reversed(channels[:-1]))
            self.score = nn.Conv3d(channels[0], num_outputs, 1)

        def forward(self, image):
            features = self.enter(image)
            skips = []
            for stage in self.down:
                skips.append(features)
                features = stage(features)
            for narrow, stage in zip(self.narrow, self.up, strict=True):
                skip = skips.pop()
                features = stage(resize_like(narrow(features), skip.shape[2:]) + skip)
            return self.score(features)

    return nn.Sequential(Normaliser(network["normaliser_channels"]), FCResNet(network["channels"]))
