"""Shards on a node's own disk: copied there for a process that reads them again and again."""

import atexit
import copy
import os
import shutil
import tempfile
from pathlib import Path

from quorum.command import LOG

# Other jobs of the node write there too: the shards' size and a tenth have to be free.
ROOM = 1.1


def node_folder() -> Path | None:
    """Return the node's own folder, as a cluster names it in $TMPDIR; None where it names none.

    /tmp is none: it is where every machine's $TMPDIR leads by default, and often memory.
    """
    folder = Path(os.environ.get("TMPDIR", "/tmp"))
    is_own = folder.is_dir() and folder.resolve() != Path("/tmp").resolve()
    return folder if is_own else None


def near_cubes(cubes):
    """Return the cubes with their shards copied to the node's own disk, if there is one with room.

    Each process has its own copies; they go when it ends.

    Parameters
    ----------
    cubes : quorum.shards.CubeSet
        Returned itself where nothing was copied.
    """
    folder = node_folder()
    if folder is None:
        return cubes
    size_mb = sum(Path(path).stat().st_size for path in cubes.paths) / 1e6
    free_mb = shutil.disk_usage(folder).free / 1e6
    if size_mb * ROOM > free_mb:
        LOG.info("shards of %.1f MB stay: %.1f MB are free in %s", size_mb, free_mb, folder)
        return cubes
    place = Path(tempfile.mkdtemp(prefix="quorum_shards_", dir=folder))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    cubes.close()
    near = copy.copy(cubes)
    names = (f"{k:02d}_{Path(path).name}" for k, path in enumerate(cubes.paths))
    pairs = zip(cubes.paths, names, strict=True)
    near.paths = [shutil.copyfile(path, str(place / name)) for path, name in pairs]
    LOG.info("%d shards, %.1f MB, copied to %s", len(near.paths), size_mb, place)
    return near
