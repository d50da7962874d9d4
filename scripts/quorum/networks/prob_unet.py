"""Probabilistic U-Net in three dimensions: a distribution over the readers' outlines.

A U-Net's features are joined with one draw of a few latent numbers. They are drawn from a prior
that sees the image alone; in training from a posterior that sees the image and one reader's
outline, and the loss is the negative evidence lower bound. The target is `random_reader`.
"""

import itertools

SOURCE = "Kohl 2018, A probabilistic U-Net (arXiv 1806.05034)"
# num_samples: outlines that predict_cubes keeps, for the generalised energy distance.
KEYS = {
    "channels": [16, 32, 64, 128],
    "latent_channels": [16, 32, 64],
    "num_latents": 6,
    "beta": 1.0,
    "num_samples": 16,
}


def divisors(network: dict) -> tuple:
    """Return what each side of a crop must be a multiple of: a stride of two between levels."""
    deepest = max(len(network["channels"]), len(network["latent_channels"]) + 1)
    return (2 ** (deepest - 1),) * 3


def build(network: dict, num_inputs: int, num_outputs: int):
    """Return the network: U-Net, prior, posterior, and the layers that join features and latent."""
    import torch
    from torch import nn
    from torch.distributions import Independent, Normal, kl_divergence

    from quorum.network_parts.convolution import ResidualBlock, double_conv, resize_like

    # Bounds of a logarithm of a standard deviation, so that no draw overflows; torch's own check of
    # each value would wait for a GPU.
    lowest, highest = -7.0, 3.0

    class Gaussian(nn.Module):
        """A normal distribution of the latent numbers, its parameters read off an image."""

        def __init__(self, num_in):
            super().__init__()
            widths = [num_in, *network["latent_channels"]]
            self.encoder = nn.Sequential(
                *(ResidualBlock(a, b, stride=2) for a, b in itertools.pairwise(widths))
            )
            self.head = nn.Linear(widths[-1], 2 * network["num_latents"])

        def forward(self, image):
            mean, spread = self.head(self.encoder(image).mean((2, 3, 4))).chunk(2, dim=1)
            normal = Normal(mean, spread.clamp(lowest, highest).exp(), validate_args=False)
            return Independent(normal, 1, validate_args=False)

    class UNet(nn.Module):
        """A residual encoder and a decoder; features at full resolution."""

        def __init__(self, channels):
            super().__init__()
            self.enter = ResidualBlock(num_inputs, channels[0])
            self.down = nn.ModuleList(
                ResidualBlock(a, b, stride=2) for a, b in itertools.pairwise(channels)
            )
            self.up = nn.ModuleList(
                double_conv(a + b, b)
                for a, b in zip(reversed(channels[1:]), reversed(channels[:-1]), strict=True)
            )

        def forward(self, image):
            skips = [self.enter(image)]
            for stage in self.down:
                skips.append(stage(skips[-1]))
            features = skips.pop()
            for stage in self.up:
                finer = skips.pop()
                larger = resize_like(features, finer.shape[2:])
                features = stage(torch.cat([larger, finer], dim=1))
            return features

    class ProbabilisticUNet(nn.Module):
        """Called, it answers with the prior's mean, the same one each time."""

        def __init__(self, width):
            super().__init__()
            self.unet = UNet(network["channels"])
            self.prior = Gaussian(num_inputs)
            self.posterior = Gaussian(num_inputs + num_outputs)
            # Normalised over space, a latent number would vanish: these layers are not.
            self.join = nn.Sequential(
                nn.Conv3d(width + network["num_latents"], width, 1),
                nn.ReLU(inplace=True),
                nn.Conv3d(width, width, 1),
                nn.ReLU(inplace=True),
            )
            self.score = nn.Conv3d(width, num_outputs, 1)

        def answer(self, features, latent):
            """Return logits for one draw (batch, latents) a crop."""
            spread = latent[:, :, None, None, None].expand(-1, -1, *features.shape[2:])
            return self.score(self.join(torch.cat([features, spread], dim=1)))

        def forward(self, image):
            return self.answer(self.unet(image), self.prior(image).mean)

        def own_loss(self, image, target, counts, losses):
            """Return the negative evidence lower bound a voxel that counts, mean over the batch.

            With cross-entropy as the only loss it is the paper's, divided by the voxels.
            """
            hidden = torch.where(counts > 0, target, torch.zeros_like(target))
            posterior = self.posterior(torch.cat([image, 2 * hidden - 1], dim=1))
            logits = self.answer(self.unet(image), posterior.rsample())
            divergence = kl_divergence(posterior, self.prior(image)).sum()
            apart = network["beta"] * divergence / counts.sum().clamp(min=1)
            return losses(logits, target, counts) + apart

        def sample(self, image, generator):
            """Return `num_samples` logits of one crop (1, channels, z, y, x), drawn from the prior.

            Returns
            -------
            float32 (samples, heads, z, y, x)
            """
            prior, features = self.prior(image).base_dist, self.unet(image)
            size = (network["num_samples"], prior.mean.shape[1])
            noise = torch.randn(size, generator=generator).to(image.device)
            drawn = prior.mean + prior.stddev * noise
            return torch.cat([self.answer(features, latent[None]) for latent in drawn])

    return ProbabilisticUNet(network["channels"][0])
