"""HRNet in three dimensions: branches of several resolutions exchange their features."""

import itertools

SOURCE = "Wang 2020, Deep high-resolution representation learning (arXiv 1908.07919)"
KEYS = {"channels": [16, 32, 64], "num_stages": 2}


def divisors(network: dict) -> tuple:
    """Return what each side of a crop must be a multiple of: the stem and one halving a branch."""
    return (2 ** len(network["channels"]),) * 3


def build(network: dict, num_inputs: int, num_outputs: int):
    """Return the network: a stem of stride 2, then stages of parallel branches with exchange."""
    import torch
    from torch import nn

    from quorum.network_parts.convolution import ResidualBlock, conv_block, resize_like

    class Exchange(nn.Module):
        """Every branch becomes the sum of all branches, brought to its resolution and width."""

        def __init__(self, channels):
            super().__init__()
            self.paths = nn.ModuleList(
                nn.ModuleList(
                    self.path(source, target, channels) for source in range(len(channels))
                )
                for target in range(len(channels))
            )

        @staticmethod
        def path(source, target, channels):
            if source == target:
                return nn.Identity()
            if source > target:
                return nn.Conv3d(channels[source], channels[target], 1)
            steps = [channels[source]] * (target - source) + [channels[target]]
            return nn.Sequential(
                *(conv_block(a, b, stride=2) for a, b in itertools.pairwise(steps))
            )

        def forward(self, branches):
            sizes = [branch.shape[2:] for branch in branches]
            fused = []
            for target, paths in enumerate(self.paths):
                parts = [path(branch) for path, branch in zip(paths, branches, strict=True)]
                fused.append(torch.relu(sum(resize_like(part, sizes[target]) for part in parts)))
            return fused

    class HRNet(nn.Module):
        """All branches, at the highest resolution, give the score."""

        def __init__(self, channels, num_stages):
            super().__init__()
            self.stem = conv_block(num_inputs, channels[0], stride=2)
            self.start = nn.ModuleList(
                conv_block(a, b, stride=2) for a, b in itertools.pairwise(channels)
            )
            self.blocks = nn.ModuleList(
                nn.ModuleList(ResidualBlock(width, width) for width in channels)
                for _ in range(num_stages)
            )
            self.exchanges = nn.ModuleList(Exchange(channels) for _ in range(num_stages))
            self.merge = conv_block(sum(channels), channels[0], kernel=1)
            self.score = nn.Conv3d(channels[0], num_outputs, 1)

        def forward(self, image):
            branches = [self.stem(image)]
            for step in self.start:
                branches.append(step(branches[-1]))
            for blocks, exchange in zip(self.blocks, self.exchanges, strict=True):
                branches = [block(b) for block, b in zip(blocks, branches, strict=True)]
                branches = exchange(branches)
            size = branches[0].shape[2:]
            merged = self.merge(torch.cat([resize_like(b, size) for b in branches], dim=1))
            return resize_like(self.score(merged), image.shape[2:])

    return HRNet(network["channels"], network["num_stages"])
