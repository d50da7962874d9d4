"""Which shard a series belongs to: a fixed share, whatever the cohort."""

import hashlib


def shard_of(series_uid: str, num_shards: int) -> int:
    """Return a series' shard, from 0 to num_shards - 1: its UID's SHA-256 modulo num_shards.

    It depends on nothing else, so a changed cohort moves no series to another shard.
    """
    return int(hashlib.sha256(series_uid.encode()).hexdigest(), 16) % num_shards


def shard_name(number: int) -> str:
    """Return a shard's name, such as `shard03`."""
    return f"shard{number:02d}"
