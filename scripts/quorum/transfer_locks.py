"""One job at a time on one shard's partial files, and none that outlives its run and publishes."""

import contextlib
import fcntl
import os

import psutil

from quorum.command import LOG


@contextlib.contextmanager
def only_job(path):
    """Hold a lock file that the kernel frees when this process dies; wait for another holder.

    The file is removed at the end, so that nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        stream = open(path, "a")  # noqa: SIM115 (closed below, whichever way this ends)
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            LOG.info("waiting for another job on the same series (%s)", path)
            fcntl.flock(stream, fcntl.LOCK_EX)
        # Who held it may have removed the file in the meantime: then the lock is on nothing.
        if path.exists() and os.path.samestat(os.fstat(stream.fileno()), path.stat()):
            break
        stream.close()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        stream.close()


def starting_run() -> psutil.Process | None:
    """Return the Snakemake process that this one descends from; None when a person started it."""
    for process in psutil.Process().parents():
        with contextlib.suppress(psutil.Error):
            if any("snakemake" in os.path.basename(word) for word in process.cmdline()[:3]):
                return process
    return None
