"""Attention over volumes: tokens, positions and transformer layers."""

import torch
from torch import nn


def to_tokens(features):
    """Return features (batch, channel, z, y, x) as tokens (batch, z * y * x, channel)."""
    return features.flatten(2).transpose(1, 2)


def to_volume(tokens, size):
    """Return tokens (batch, z * y * x, channel) as features (batch, channel, z, y, x)."""
    return tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], *size)


def position_code(size, width: int, device) -> torch.Tensor:
    """Return the sine and cosine code of every place of a volume.

    Parameters
    ----------
    size : tuple of int
        (z, y, x).
    width : int
        Channels of the code; what three axes of sine and cosine leave over is zero.

    Returns
    -------
    Tensor
        float32 (1, z * y * x, width).

    Source: Vaswani 2017 (arXiv 1706.03762), section 3.5, one third of the channels an axis.
    """
    per_axis = width // 6
    scale = torch.exp(
        -torch.arange(per_axis, device=device) * (torch.log(torch.tensor(1e4)) / max(per_axis, 1))
    )
    codes = []
    for axis, length in enumerate(size):
        angles = torch.arange(length, device=device)[:, None] * scale
        code = torch.cat([angles.sin(), angles.cos()], dim=1)
        shape = [1, 1, 1, code.shape[1]]
        shape[axis] = length
        codes.append(code.reshape(shape).expand(*size, code.shape[1]))
    code = torch.cat(codes, dim=-1).reshape(1, -1, 6 * per_axis)
    return nn.functional.pad(code, (0, width - 6 * per_axis))


def transformer(width: int, *, depth: int, num_heads: int) -> nn.TransformerEncoder:
    """Return layers of self-attention over tokens (batch, tokens, width), normalised first."""
    layer = nn.TransformerEncoderLayer(width, num_heads, **layer_options(width))
    return nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)


def transformer_of_queries(width: int, *, depth: int, num_heads: int) -> nn.TransformerDecoder:
    """Return layers in which queries attend to each other and then to tokens.

    Called with both: (batch, queries, width), (batch, tokens, width) to (batch, queries, width).
    """
    layer = nn.TransformerDecoderLayer(width, num_heads, **layer_options(width))
    return nn.TransformerDecoder(layer, depth)


def layer_options(width: int) -> dict:
    """Return what all layers here share."""
    return {
        "dim_feedforward": 4 * width,
        "dropout": 0.0,
        "activation": "gelu",
        "batch_first": True,
        "norm_first": True,
    }
