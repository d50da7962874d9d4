"""What a network learns from several readers: one target a name, made on the device in batches."""

import torch

NUM_HEADS = {"per_reader": 4}  # every other target has one
HALF = 0.5


def num_heads(target: str) -> int:
    """Return how many output channels a target needs."""
    return NUM_HEADS.get(target, 1)


def make_target(name: str, readers, staple, num_readers, drawn):
    """Return the targets of a batch and which heads count.

    Parameters
    ----------
    name : str
        `majority` (share of readers at least half), `staple` (probability), `soft` (share of
        readers), `random_reader` (the reader drawn for this visit), `per_reader` (one head each).
    readers : uint8 (batch, z, y, x)
        Bit k is reader k + 1.
    staple : float16 (batch, z, y, x) or None
        Needed for `staple` alone.
    num_readers : int64 (batch,)
    drawn : int64 (batch,)
        For `random_reader`: which reader, counted from 0.

    Returns
    -------
    target : float32 (batch, heads, z, y, x)
        0 to 1.
    has_reader : float32 (batch, heads, 1, 1, 1)
        1 where the head's reader exists.
    """
    ones = torch.ones((len(readers), 1, 1, 1, 1), device=readers.device)
    if name == "staple":
        return staple[:, None].float(), ones
    if name == "random_reader":
        return reader_bits(readers, drawn)[:, None].float(), ones
    if name == "per_reader":
        heads = torch.arange(num_heads(name), device=readers.device)
        bits = torch.stack([reader_bits(readers, head.expand(len(readers))) for head in heads], 1)
        has_reader = (heads[None] < num_readers[:, None]).float()
        return bits.float(), has_reader[:, :, None, None, None]
    counts, total = count_bits(readers), num_readers[:, None, None, None].float()
    if name == "majority":
        # ASSUME: half of the readers is a majority (2 of 4), as in quorum.consensus.
        return counts.ge_(HALF * total)[:, None], ones
    return counts.div_(total)[:, None], ones


def reader_bits(readers, which):
    """Return the mask of each sample's reader `which` (batch,): uint8 (batch, z, y, x)."""
    return torch.bitwise_right_shift(readers, which[:, None, None, None].to(torch.uint8)) & 1


def count_bits(readers):
    """Return how many readers outlined each voxel: float32, the shape of `readers`."""
    counts = torch.tensor([float(byte.bit_count()) for byte in range(256)], device=readers.device)
    return counts.index_select(0, readers.reshape(-1).int()).view(readers.shape)
