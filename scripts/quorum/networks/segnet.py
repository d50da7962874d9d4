"""SegNet in three dimensions: the decoder unpools by the indices that the encoder chose."""

SOURCE = "Badrinarayanan 2017, SegNet (arXiv 1511.00561)"
KEYS = {"channels": [16, 32, 64, 128]}
ONE_VOXEL = True


def divisors(network: dict) -> tuple:
    """Return what each side of a crop must be a multiple of: one pooling by two a stage."""
    return (2 ** len(network["channels"]),) * 3


def build(network: dict, num_inputs: int, num_outputs: int):
    """Return the network; no features but pooling indices pass from encoder to decoder."""
    from torch import nn

    from quorum.network_parts.convolution import double_conv

    class SegNet(nn.Module):
        """Encoder and mirrored decoder."""

        def __init__(self, channels):
            super().__init__()
            before = [num_inputs, *channels[:-1]]
            self.down = nn.ModuleList(
                double_conv(a, b) for a, b in zip(before, channels, strict=True)
            )
            after = [channels[0], *channels[:-1]]
            self.up = nn.ModuleList(
                double_conv(b, a) for a, b in zip(reversed(after), reversed(channels), strict=True)
            )
            self.pool = nn.MaxPool3d(2, return_indices=True)
            self.score = nn.Conv3d(channels[0], num_outputs, 1)

        def forward(self, image):
            indices = []
            for stage in self.down:
                image, index = self.pool(stage(image))
                indices.append(index)
            for stage in self.up:
                image = stage(unpool(image, indices.pop()))
            return self.score(image)

    return SegNet(network["channels"])


def unpool(values, index):
    """Return maxima (batch, channel, z, y, x) where they were in the volume pooled by two, else 0.

    The same as torch's MaxUnpool3d, which has no deterministic way.
    """
    size = [2 * side for side in values.shape[2:]]
    empty = values.new_zeros(*values.shape[:2], size[0] * size[1] * size[2])
    return empty.scatter(2, index.flatten(2), values.flatten(2)).unflatten(2, size)
