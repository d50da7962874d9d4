"""Masks that several readers agree on, from one uint8 array whose bit k is reader k + 1."""

import math

import numpy as np

from quorum.errors import InputError

# ASSUME: a voxel that exactly half of the readers outlined is inside (2 of 4, as pylidc's
# consensus at its default level of 0.5, and as FACTS of the collection are usually given).
TIE_RULE = "a voxel is inside when at least half of the readers outlined it (2 of 4, 2 of 3)"
MAJORITY_LEVEL = 0.5
STAPLE_THRESHOLD = 0.5


def count_readers(readers) -> np.ndarray:
    """Return how many readers outlined each voxel: uint8, the shape of `readers`."""
    return np.bitwise_count(np.asarray(readers, dtype=np.uint8))


def share_of_readers(readers, num_readers) -> np.ndarray:
    """Return the share of the readers who outlined each voxel.

    Parameters
    ----------
    readers : uint8 array
        Bit k is reader k + 1.
    num_readers : int
        How many readers outlined the nodule.

    Returns
    -------
    float32 array, 0 to 1
    """
    return count_readers(readers).astype(np.float32) / np.float32(num_readers)


def level_mask(readers, num_readers: int, level: float) -> np.ndarray:
    """Return where at least the share `level` (above 0, up to 1) of the readers agree: bool.

    Raises
    ------
    ValueError
        When the level is not in (0, 1], or there is no reader.
    """
    if not 0 < level <= 1 or num_readers < 1:
        raise ValueError(f"level {level} of {num_readers} readers; expected (0, 1] and at least 1")
    # In whole readers, so that 0.75 of 4 is exactly 3 whatever the rounding.
    return count_readers(readers) >= math.ceil(level * num_readers - 1e-6)


def reader_mask(readers, num_readers: int, reader: int) -> np.ndarray:
    """Return the mask of one reader, counted from 0 (bit `reader`): bool.

    Raises
    ------
    InputError
        When the nodule has no such reader.
    """
    if not 0 <= reader < num_readers:
        raise InputError(
            f"reader {reader + 1} of a nodule with {num_readers} readers was asked for",
            f"one of reader 1 to {num_readers}",
            "choose another reader, or select nodules with enough readers",
        )
    return (np.asarray(readers) >> reader & 1).astype(bool)


def consensus_mask(readers, num_readers: int, staple, consensus) -> np.ndarray:
    """Return the reference mask that the configuration's `consensus` means.

    Parameters
    ----------
    readers : uint8 (z, y, x)
        Bit k is reader k + 1.
    num_readers : int
    staple : float (z, y, x) or None
        STAPLE's probability; needed for `staple` alone.
    consensus : str or float
        `majority` (at least half), `staple` (probability at least 0.5), a level in (0, 1] (at
        least that share), or `reader1`, `reader2`, .. (that reader alone).

    Returns
    -------
    bool (z, y, x)

    Raises
    ------
    InputError
        When `consensus` is none of these, or the nodule lacks that reader.
    """
    text = str(consensus)
    if text == "majority":
        return level_mask(readers, num_readers, MAJORITY_LEVEL)
    if text == "staple":
        return np.asarray(staple, dtype=np.float32) >= STAPLE_THRESHOLD
    if text.startswith("reader") and text[6:].isdigit():
        return reader_mask(readers, num_readers, int(text[6:]) - 1)
    try:
        return level_mask(readers, num_readers, float(text))
    except ValueError:
        raise InputError(
            f"the consensus {consensus!r} is not known",
            "majority, staple, a level above 0 and up to 1, or reader1, reader2, ..",
            "correct `consensus` in the configuration",
        ) from None


def others_mask(readers, num_readers: int, left_out: int) -> np.ndarray:
    """Return the majority of all readers but one: bool.

    Parameters
    ----------
    readers : uint8 (z, y, x)
    num_readers : int
        At least 2.
    left_out : int
        The reader left out, counted from 0 (bit `left_out`).

    Raises
    ------
    InputError
        When the nodule has no such reader, or no other.
    """
    reader_mask(np.zeros(1, np.uint8), num_readers, left_out)
    if num_readers < 2:
        raise InputError(
            "the others of a nodule's only reader were asked for",
            "at least 2 readers",
            "select nodules with at least 2 annotations",
        )
    others = np.asarray(readers, dtype=np.uint8) & np.uint8(0xFF & ~(1 << left_out))
    return level_mask(others, num_readers - 1, MAJORITY_LEVEL)
