"""Octave U-Net: every convolution splits its channels into a fine and a coarse frequency."""

SOURCE = "Chen 2019, Drop an octave (arXiv 1904.05049)"
KEYS = {"channels": [16, 32, 64], "share_low": 0.25}


def divisors(network: dict) -> tuple:
    """Return what each side of a crop must be a multiple of: poolings, and the coarse half."""
    return (2 ** len(network["channels"]),) * 3


def build(network: dict, num_inputs: int, num_outputs: int):
    """Return a U-Net of octave convolutions; `share_low` of the channels are coarse."""
    import torch
    from torch import nn

    from quorum.network_parts.convolution import resize_like

    pool = nn.functional.avg_pool3d

    class OctaveConv(nn.Module):
        """Fine and coarse features, each computed from both, normalised and rectified.

        A coarse input of None stands for features that have no coarse part yet.
        """

        def __init__(self, num_in, num_out, has_low_input=True):
            super().__init__()
            low_in = round(num_in * network["share_low"]) if has_low_input else 0
            low_out = round(num_out * network["share_low"])
            fine_in, fine_out = num_in - low_in, num_out - low_out
            self.fine_to_fine = nn.Conv3d(fine_in, fine_out, 3, padding=1)
            self.fine_to_low = nn.Conv3d(fine_in, low_out, 3, padding=1)
            if low_in:
                self.low_to_fine = nn.Conv3d(low_in, fine_out, 3, padding=1, bias=False)
                self.low_to_low = nn.Conv3d(low_in, low_out, 3, padding=1, bias=False)
            self.norms = nn.ModuleList(
                nn.InstanceNorm3d(width, affine=True) for width in (fine_out, low_out)
            )

        def forward(self, features):
            fine, low = features
            new_fine = self.fine_to_fine(fine)
            new_low = self.fine_to_low(pool(fine, 2))
            if low is not None:
                new_fine = new_fine + resize_like(self.low_to_fine(low), fine.shape[2:])
                new_low = new_low + self.low_to_low(low)
            return torch.relu(self.norms[0](new_fine)), torch.relu(self.norms[1](new_low))

    class OctaveUNet(nn.Module):
        """Average pooling down, trilinear upsampling up, both frequencies on the skips."""

        def __init__(self, channels):
            super().__init__()
            before = [num_inputs, *channels[:-1]]
            self.down = nn.ModuleList(
                OctaveConv(a, b, has_low_input=level > 0)
                for level, (a, b) in enumerate(zip(before, channels, strict=True))
            )
            self.up = nn.ModuleList(
                OctaveConv(a + b, b)
                for a, b in zip(reversed(channels[1:]), reversed(channels[:-1]), strict=True)
            )
            low = round(channels[0] * network["share_low"])
            self.score_fine = nn.Conv3d(channels[0] - low, num_outputs, 1)
            self.score_low = nn.Conv3d(low, num_outputs, 1)

        def forward(self, image):
            features, skips = (image, None), []
            for level, stage in enumerate(self.down):
                if level:
                    features = tuple(pool(part, 2) for part in features)
                features = stage(features)
                skips.append(features)
            skips.pop()
            for stage in self.up:
                skip = skips.pop()
                features = stage(
                    tuple(
                        torch.cat([resize_like(part, other.shape[2:]), other], dim=1)
                        for part, other in zip(features, skip, strict=True)
                    )
                )
            low = resize_like(self.score_low(features[1]), image.shape[2:])
            return self.score_fine(features[0]) + low

    return OctaveUNet(network["channels"])
