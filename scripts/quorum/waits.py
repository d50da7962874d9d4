"""Waits of one process for another that never last for ever, and what is said when they end."""

import contextlib
import multiprocessing
import signal
from datetime import timedelta

import torch

from quorum.errors import InputError

# ASSUME: a worker process that gives no cube for 15 minutes never will (choice).
CUBES_S = 900.0
# ASSUME: likewise another process of the same run; each waits for the slowest at every step.
PEERS = timedelta(minutes=30)
WORKER_SIGNS = ("DataLoader timed out", "DataLoader worker")
PEER_SIGNS = ("gloo", "NCCL", "c10d")


def cubes_wait_s(num_workers: int) -> float:
    """Return DataLoader's timeout [s]; 0, which it asks for, without worker processes."""
    return CUBES_S if num_workers else 0.0


@contextlib.contextmanager
def lost_processes_told():
    """Raise an InputError where worker processes or other GPUs' processes are lost."""
    try:
        yield
    except RuntimeError as error:
        first = (str(error).splitlines() or [""])[0]
        if any(sign in first for sign in WORKER_SIGNS):
            # They outlive SIGTERM, and Python waits for each at its end; DataLoader's own handler
            # would raise once more for each that is killed.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for child in multiprocessing.active_children():
                child.kill()
            raise InputError(
                f"the processes that read cubes gave none ({first})",
                f"cubes within {CUBES_S:g} s, from processes that live",
                "look for a full memory or a disk that does not answer, then run again: it goes "
                "on from the last checkpoint (fewer --threads start fewer processes)",
            ) from error
        if isinstance(error, torch.distributed.DistError) or any(s in first for s in PEER_SIGNS):
            raise InputError(
                f"another process of this run was lost ({first})",
                f"an answer of each within {PEERS}",
                "look into the others' output, then run again: it goes on from the last checkpoint",
            ) from error
        raise
