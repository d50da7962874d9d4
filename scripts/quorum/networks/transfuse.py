"""TransFuse: a convolutional and a transformer branch, fused at each level by BiFusion."""

SOURCE = "Zhang 2021, TransFuse (arXiv 2102.08005)"
KEYS = {"channels": [16, 32, 64], "patch": 8, "width": 96, "depth": 4, "num_heads": 6}


def divisors(network: dict) -> tuple:
    """Return what each side of a crop must be a multiple of: the transformer's patch."""
    return (max(network["patch"], 2 ** len(network["channels"])),) * 3


def build(network: dict, num_inputs: int, num_outputs: int):
    """Return both branches and the fusion; the finest fused level gives the score."""
    import torch
    from torch import nn

    from quorum.network_parts.attention import position_code, to_tokens, to_volume, transformer
    from quorum.network_parts.convolution import ResidualBlock, conv_block, resize_like

    class BiFusion(nn.Module):
        """Channel attention on the transformer's, spatial attention on the convolutions' features,
        and their product, joined by a residual block."""

        def __init__(self, width):
            super().__init__()
            squeezed = max(width // 4, 1)
            self.channel = nn.Sequential(
                nn.AdaptiveAvgPool3d(1),
                nn.Conv3d(width, squeezed, 1),
                nn.ReLU(inplace=True),
                nn.Conv3d(squeezed, width, 1),
                nn.Sigmoid(),
            )
            self.spatial = nn.Sequential(nn.Conv3d(2, 1, 7, padding=3), nn.Sigmoid())
            self.from_conv = nn.Conv3d(width, width, 1)
            self.from_tokens = nn.Conv3d(width, width, 1)
            self.product = conv_block(width, width)
            self.merge = ResidualBlock(3 * width, width)

        def forward(self, conv, tokens):
            together = self.product(self.from_conv(conv) * self.from_tokens(tokens))
            summary = torch.cat([conv.amax(1, keepdim=True), conv.mean(1, keepdim=True)], dim=1)
            parts = [together, conv * self.spatial(summary), tokens * self.channel(tokens)]
            return self.merge(torch.cat(parts, dim=1))

    class TransFuse(nn.Module):
        """The transformer's tokens are brought to the size of each level of the other branch."""

        def __init__(self, channels, patch, width):
            super().__init__()
            before = [num_inputs, *channels[:-1]]
            self.levels = nn.ModuleList(
                ResidualBlock(a, b, stride=2) for a, b in zip(before, channels, strict=True)
            )
            self.embed = nn.Conv3d(num_inputs, width, patch, stride=patch)
            self.layers = transformer(width, depth=network["depth"], num_heads=network["num_heads"])
            self.widths = nn.ModuleList(nn.Conv3d(width, c, 1) for c in channels)
            self.fusions = nn.ModuleList(BiFusion(c) for c in channels)
            self.up = nn.ModuleList(
                conv_block(a + b, b)
                for a, b in zip(reversed(channels[1:]), reversed(channels[:-1]), strict=True)
            )
            self.score = nn.Conv3d(channels[0], num_outputs, 1)

        def forward(self, image):
            embedded = self.embed(image)
            size = embedded.shape[2:]
            code = position_code(size, embedded.shape[1], image.device)
            tokens = to_volume(self.layers(to_tokens(embedded) + code), size)
            features, fused = image, []
            for level, width, fusion in zip(self.levels, self.widths, self.fusions, strict=True):
                features = level(features)
                fused.append(fusion(features, resize_like(width(tokens), features.shape[2:])))
            merged = fused.pop()
            for stage in self.up:
                finer = fused.pop()
                merged = stage(torch.cat([resize_like(merged, finer.shape[2:]), finer], dim=1))
            return resize_like(self.score(merged), image.shape[2:])

    return TransFuse(network["channels"], network["patch"], network["width"])
