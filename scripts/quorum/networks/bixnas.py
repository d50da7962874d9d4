"""BiX-Net: encoder and decoder run several times, joined by searched skips in both directions."""

import itertools

from quorum.errors import InputError

SOURCE = "Wang 2021, BiX-NAS (arXiv 2106.14033)"
# decoder_skips[t][l]: encoder levels whose features decoder level l takes in iteration t;
# encoder_skips[t][l]: decoder levels of iteration t that encoder level l takes in iteration t + 1.
# The default is BiO-Net's: the same level alone. rule search_skips finds others.
KEYS = {
    "channels": [16, 32, 64],
    "decoder_skips": [[[0], [1]], [[0], [1]]],
    "encoder_skips": [[[0], [1], []]],
}


def divisors(network: dict) -> tuple:
    """Return what each side of a crop must be a multiple of: a stride of two between levels."""
    check_skips(network)
    return (2 ** (len(network["channels"]) - 1),) * 3


def all_skips(num_levels: int, num_iterations: int) -> dict:
    """Return every candidate: each decoder level from all encoder levels, and the reverse."""
    levels = list(range(num_levels))
    decoder = [[levels[:] for _ in levels[:-1]] for _ in range(num_iterations)]
    encoder = [[levels[:-1] for _ in levels] for _ in range(num_iterations - 1)]
    return {"decoder_skips": decoder, "encoder_skips": encoder}


def check_skips(network: dict):
    """Raise an InputError unless the skips are of this many levels and iterations."""
    levels = len(network["channels"])
    decoder, encoder = network["decoder_skips"], network["encoder_skips"]
    whole = all_skips(levels, len(decoder))
    fits = len(encoder) == len(decoder) - 1
    for ours, theirs in zip(decoder + encoder, itertools.chain(*whole.values()), strict=fits):
        fits &= len(ours) == len(theirs)
        fits &= all(set(a) <= set(b) for a, b in zip(ours, theirs, strict=False))
    if not fits:
        raise InputError(
            f"bixnas has skips {decoder} and {encoder} for {levels} levels",
            f"for {len(decoder)} iterations at most {whole}",
            "correct network.decoder_skips and network.encoder_skips",
        )


def build(network: dict, num_inputs: int, num_outputs: int):
    """Return the network; the blocks are the same in each iteration, as in BiO-Net."""
    from torch import nn

    from quorum.network_parts.convolution import conv_block, double_conv, resize_like

    check_skips(network)
    channels = network["channels"]
    pairs = list(itertools.pairwise(channels))

    def projections(kind):
        """Return one projection a pair of levels that some skip uses, by `source_target`."""
        return nn.ModuleDict(
            {
                f"{source}_{target}": nn.Conv3d(channels[source], channels[target], 1)
                for iteration in network[kind]
                for target, sources in enumerate(iteration)
                for source in sources
            }
        )

    class BiXNet(nn.Module):
        """`gates` weighs each skip, by kind, iteration, target and source; without one: 1."""

        def __init__(self):
            super().__init__()
            self.enter = conv_block(num_inputs, channels[0])
            self.encode = nn.ModuleList(double_conv(c, c) for c in channels)
            self.down = nn.ModuleList(conv_block(a, b, stride=2) for a, b in pairs)
            self.decode = nn.ModuleList(double_conv(c, c) for c in channels[:-1])
            self.up = nn.ModuleList(nn.Conv3d(b, a, 1) for a, b in pairs)
            self.decoder_skips = projections("decoder_skips")
            self.encoder_skips = projections("encoder_skips")
            self.score = nn.Conv3d(channels[0], num_outputs, 1)
            self.gates = {}

        def joined(self, main, kind, iteration, target, features):
            """Return the mean of what comes along the path and over the skips."""
            parts, weight = main, 1.0
            for source in network[kind][iteration][target]:
                gate = self.gates.get((kind, iteration, target, source), 1.0)
                skip = getattr(self, kind)[f"{source}_{target}"](features[source])
                parts = parts + gate * resize_like(skip, main.shape[2:])
                weight = weight + gate
            return parts / weight

        def forward(self, image):
            start, decoded = self.enter(image), None
            for iteration in range(len(network["decoder_skips"])):
                encoded = []
                for level, stage in enumerate(self.encode):
                    main = self.down[level - 1](encoded[-1]) if level else start
                    if decoded is not None:
                        main = self.joined(main, "encoder_skips", iteration - 1, level, decoded)
                    encoded.append(stage(main))
                decoded, deeper = [None] * (len(channels) - 1), encoded[-1]
                for level in reversed(range(len(channels) - 1)):
                    size = encoded[level].shape[2:]
                    main = resize_like(self.up[level](deeper), size)
                    main = self.joined(main, "decoder_skips", iteration, level, encoded)
                    deeper = decoded[level] = self.decode[level](main)
            return self.score(decoded[0])

    return BiXNet()
