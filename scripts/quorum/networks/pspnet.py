"""PSPNet in three dimensions: context pooled over the whole crop at several grids."""

SOURCE = "Zhao 2017, Pyramid scene parsing network (arXiv 1612.01105)"
KEYS = {"channels": [16, 32, 64], "grids": [1, 2, 4]}


def divisors(network: dict) -> tuple:
    """Return what each side of a crop must be a multiple of: the encoder's stride."""
    return (4, 4, 4)


def build(network: dict, num_inputs: int, num_outputs: int):
    """Return the network: encoder of stride 4, pyramid pooling, trilinear upsampling."""
    import torch
    from torch import nn

    from quorum.network_parts.convolution import ResidualBlock, conv_block, resize_like

    class PSPNet(nn.Module):
        """Each grid's average is reduced, brought back to full size, and joined."""

        def __init__(self, channels, grids):
            super().__init__()
            first, second, last = channels
            self.encoder = nn.Sequential(
                conv_block(num_inputs, first, stride=2),
                ResidualBlock(first, second, stride=2),
                ResidualBlock(second, last, dilation=2),
                ResidualBlock(last, last, dilation=4),
            )
            width = max(last // len(grids), 1)
            # The coarsest grid has one value a channel, which can't be normalised over space.
            self.pyramid = nn.ModuleList(
                nn.Sequential(
                    nn.AdaptiveAvgPool3d(grid), nn.Conv3d(last, width, 1), nn.ReLU(inplace=True)
                )
                for grid in grids
            )
            self.merge = conv_block(last + width * len(grids), second)
            self.score = nn.Conv3d(second, num_outputs, 1)

        def forward(self, image):
            features = self.encoder(image)
            size = features.shape[2:]
            context = [resize_like(pool(features), size) for pool in self.pyramid]
            merged = self.merge(torch.cat([features, *context], dim=1))
            return resize_like(self.score(merged), image.shape[2:])

    return PSPNet(network["channels"], network["grids"])
