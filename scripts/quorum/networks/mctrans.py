"""MCTrans: features of two scales attend to each other, and a token a class attends to them.

After the paper's idea, not its layout. As there, tokens of several scales pass through
self-attention together, and learned classes, as queries, through self-attention and through
cross-attention to all these tokens. What differs, and why:

- two scales with full attention, not three with sampled points (deformable attention): the two
  coarsest scales of a crop are 2,304 tokens for (32, 64, 64), few enough;
- there, the classes serve only an auxiliary loss that tells which classes are in the image, and
  shape the features by its gradient. Every crop here holds its nodule, so that this loss would
  teach nothing: the features attend to the classes instead, and no auxiliary loss is taken.
"""

SOURCE = "Ji 2021, Multi-compound transformer (arXiv 2106.14385)"
KEYS = {"channels": [16, 32, 64, 96], "width": 96, "depth": 2, "num_heads": 6}


def divisors(network: dict) -> tuple:
    """Return what each side of a crop must be a multiple of: a stride of two a level."""
    return (2 ** (len(network["channels"]) - 1),) * 3


def build(network: dict, num_inputs: int, num_outputs: int):
    """Return a U-Net whose two deepest levels pass through self- and cross-attention together."""
    import torch
    from torch import nn

    from quorum.network_parts.attention import (
        position_code,
        to_tokens,
        to_volume,
        transformer,
        transformer_of_queries,
    )
    from quorum.network_parts.convolution import conv_block, double_conv, resize_like

    class MCTrans(nn.Module):
        """Self-attention over the tokens of two scales; classes attend to them, and they back."""

        def __init__(self, channels, width, num_heads):
            super().__init__()
            before = [num_inputs, *channels[:-1]]
            self.down = nn.ModuleList(
                nn.Sequential(conv_block(a, b, stride=2 if level else 1), conv_block(b, b))
                for level, (a, b) in enumerate(zip(before, channels, strict=True))
            )
            self.enter = nn.ModuleList(nn.Conv3d(c, width, 1) for c in channels[-2:])
            self.scales = nn.Parameter(torch.zeros(2, 1, width))
            self.attend = transformer(width, depth=network["depth"], num_heads=num_heads)
            self.classes = nn.Parameter(torch.randn(1, num_outputs + 1, width) * 0.02)
            options = {"depth": network["depth"], "num_heads": num_heads}
            self.read = transformer_of_queries(width, **options)
            self.cross = nn.MultiheadAttention(width, num_heads, batch_first=True)
            self.norm = nn.LayerNorm(width)
            self.leave = nn.ModuleList(nn.Conv3d(width, c, 1) for c in channels[-2:])
            self.up = nn.ModuleList(
                double_conv(a + b, b)
                for a, b in zip(reversed(channels[1:]), reversed(channels[:-1]), strict=True)
            )
            self.score = nn.Conv3d(channels[0], num_outputs, 1)

        def mix(self, levels):
            """Return the two deepest levels after attention, each with its own added."""
            sizes = [level.shape[2:] for level in levels]
            tokens = [
                to_tokens(enter(level))
                + position_code(level.shape[2:], scale.shape[-1], level.device)
                + scale
                for enter, level, scale in zip(self.enter, levels, self.scales, strict=True)
            ]
            mixed = self.attend(torch.cat(tokens, dim=1))
            classes = self.read(self.classes.expand(mixed.shape[0], -1, -1), mixed)
            mixed = self.norm(mixed + self.cross(mixed, classes, classes, need_weights=False)[0])
            parts = mixed.split([part.shape[1] for part in tokens], dim=1)
            return [
                level + leave(to_volume(part, size))
                for level, leave, part, size in zip(levels, self.leave, parts, sizes, strict=True)
            ]

        def forward(self, image):
            levels = []
            for stage in self.down:
                image = stage(image)
                levels.append(image)
            levels[-2:] = self.mix(levels[-2:])
            features = levels.pop()
            for stage in self.up:
                finer = levels.pop()
                joined = torch.cat([resize_like(features, finer.shape[2:]), finer], dim=1)
                features = stage(joined)
            return self.score(features)

    return MCTrans(network["channels"], network["width"], network["num_heads"])
