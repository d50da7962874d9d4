"""DeepLabv3+ in three dimensions: an atrous pyramid over stride 8, joined with fine features."""

SOURCE = "Chen 2017, Atrous convolution (arXiv 1706.05587); Chen 2018, its decoder (1802.02611)"
KEYS = {"channels": [16, 32, 64, 128], "rates": [1, 2, 4], "fine_channels": 8}


def divisors(network: dict) -> tuple:
    """Return what each side of a crop must be a multiple of: the encoder's stride."""
    return (8, 8, 8)


def build(network: dict, num_inputs: int, num_outputs: int):
    """Return the network: encoder, pyramid of rates and of the whole crop, a small decoder.

    DeepLabv3 alone upsamples eightfold, and a nodule of 6 voxels is then lost: it learned two
    nodules by heart to a Dice of 0.62 only. So its successor's decoder stands behind it.
    """
    import torch
    from torch import nn

    from quorum.network_parts.convolution import ResidualBlock, conv_block, resize_like

    class DeepLab(nn.Module):
        """The last stage is dilated instead of halved, so that small nodules keep their place."""

        def __init__(self, channels, rates):
            super().__init__()
            first, second, third, last = channels
            self.stem = conv_block(num_inputs, first, stride=2)
            self.encoder = nn.Sequential(
                ResidualBlock(first, second, stride=2),
                ResidualBlock(second, third, stride=2),
                ResidualBlock(third, last, dilation=2),
            )
            self.pyramid = nn.ModuleList(
                conv_block(last, third, kernel=1 if rate == 1 else 3, dilation=rate)
                for rate in rates
            )
            # One value a channel can't be normalised over space, so this branch is not.
            self.whole = nn.Sequential(
                nn.AdaptiveAvgPool3d(1), nn.Conv3d(last, third, 1), nn.ReLU(inplace=True)
            )
            self.merge = conv_block(third * (len(rates) + 1), third, kernel=1)
            self.fine = conv_block(first, network["fine_channels"], kernel=1)
            self.decode = conv_block(third + network["fine_channels"], second)
            self.score = nn.Conv3d(second, num_outputs, 1)

        def forward(self, image):
            stem = self.stem(image)
            features = self.encoder(stem)
            size = features.shape[2:]
            branches = [branch(features) for branch in self.pyramid]
            branches.append(self.whole(features).expand(-1, -1, *size))
            merged = self.merge(torch.cat(branches, dim=1))
            fine = self.fine(stem)
            joined = torch.cat([resize_like(merged, fine.shape[2:]), fine], dim=1)
            return resize_like(self.score(self.decode(joined)), image.shape[2:])

    return DeepLab(network["channels"], network["rates"])
