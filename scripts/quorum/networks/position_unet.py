"""A residual U-Net that is told where in the chest its crop lies."""

import itertools

SOURCE = "the project's weekly report of 2021; U-Net: Cicek 2016 (arXiv 1606.06650)"
KEYS = {"channels": [16, 32, 64, 128], "width": 32}
INPUTS = "position"


def divisors(network: dict) -> tuple:
    """Return what each side of a crop must be a multiple of: a stride of two between levels."""
    return (2 ** (len(network["channels"]) - 1),) * 3


def build(network: dict, num_inputs: int, num_outputs: int):
    """Return the network; the last three inputs are the crop's place, one value a channel.

    The place is embedded by two layers and joined with the encoder's output, before the decoder.
    """
    import torch
    from torch import nn

    from quorum.network_parts.convolution import ResidualBlock, conv_block, double_conv, resize_like

    class PositionUNet(nn.Module):
        """Encoder, embedding of the place, decoder."""

        def __init__(self, channels, width):
            super().__init__()
            self.enter = ResidualBlock(num_inputs - 3, channels[0])
            self.down = nn.ModuleList(
                ResidualBlock(a, b, stride=2) for a, b in itertools.pairwise(channels)
            )
            self.embed = nn.Sequential(
                nn.Linear(3, width), nn.GELU(), nn.Linear(width, width), nn.GELU()
            )
            self.join = conv_block(channels[-1] + width, channels[-1], kernel=1)
            self.up = nn.ModuleList(
                double_conv(a + b, b)
                for a, b in zip(reversed(channels[1:]), reversed(channels[:-1]), strict=True)
            )
            self.score = nn.Conv3d(channels[0], num_outputs, 1)

        def forward(self, inputs):
            image, place = inputs[:, :-3], inputs[:, -3:, 0, 0, 0]
            skips = [self.enter(image)]
            for stage in self.down:
                skips.append(stage(skips[-1]))
            features = skips.pop()
            spread = self.embed(place)[:, :, None, None, None]
            spread = spread.expand(-1, -1, *features.shape[2:])
            features = self.join(torch.cat([features, spread], dim=1))
            for stage in self.up:
                finer = skips.pop()
                features = stage(torch.cat([resize_like(features, finer.shape[2:]), finer], dim=1))
            return self.score(features)

    return PositionUNet(network["channels"], network["width"])
