"""Cubes for training: all of them in memory on the device, or read from shards batch by batch.

In memory a cube takes 4 bytes a voxel (image int16, readers and coverage uint8; one more for the
reference, two more with STAPLE), 1.0 MB for (40, 80, 80), so 0.9 GB for all 897 nodules. A set
that does not fit is read by worker processes, each of which opens the shards for itself.
"""

import hashlib
import os
import signal
import tempfile
from dataclasses import dataclass, fields, replace

import numpy as np
import psutil
import torch

from quorum.consensus import consensus_mask
from quorum.errors import InputError
from quorum.waits import cubes_wait_s, lost_processes_told

ARRAYS = ("image", "readers", "coverage", "staple", "reference")
# Of a socket's 107 bytes on Linux (unix(7)), less `/pymp-` and `/listener-` with 8 letters each.
MAX_SOCKET_FOLDER_BYTES = 107 - len("/pymp-12345678/listener-12345678")
# Fewer cubes are read faster than worker processes start.
MIN_CUBES_FOR_WORKERS = 64
# ASSUME: cubes may take half of the memory there is; the network's own takes the rest.
MEMORY_SHARE = 0.5


@dataclass
class Store:
    """Cubes in memory.

    Attributes
    ----------
    nodule_id : list of str
    image : int16 (n, z, y, x) [HU]
    readers : uint8 (n, z, y, x)
        Bit k is reader k + 1.
    coverage : uint8 (n, z, y, x)
    staple : float16 (n, z, y, x) or None
    reference : bool (n, z, y, x) or None
        The consensus that validation is scored against; what is not covered is False.
    box : int64 (n, 2, 3)
        First covered voxel and one past the last, (z, y, x).
    num_readers : int64 (n,)
        In the CPU's memory always.
    place : float32 (n, 2, 3) or None
        Of quorum.places, where the inputs hold it.
    """

    nodule_id: list
    image: torch.Tensor
    readers: torch.Tensor
    coverage: torch.Tensor
    staple: torch.Tensor | None
    reference: torch.Tensor | None
    box: torch.Tensor
    num_readers: torch.Tensor
    place: torch.Tensor | None = None

    def __len__(self):
        """Return the number of nodules."""
        return len(self.nodule_id)

    @property
    def cube_vox(self) -> tuple:
        """The cubes' size, (z, y, x)."""
        return tuple(self.image.shape[1:])

    def changed(self, change):
        """Return a store with `change` applied to every tensor but num_readers."""
        names = [f.name for f in fields(self) if f.name not in ("nodule_id", "num_readers")]
        tensors = {name: getattr(self, name) for name in names}
        return replace(self, **{n: None if t is None else change(t) for n, t in tensors.items()})

    def to(self, device):
        """Return the store on another device."""
        return self.changed(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self):
        """Return the store in page-locked memory, from which a GPU copies while it computes."""
        return self.changed(torch.Tensor.pin_memory)

    def part(self, first: int, last: int):
        """Return the nodules from `first` to before `last`."""
        some = self.changed(lambda tensor: tensor[first:last])
        ids, counts = self.nodule_id[first:last], self.num_readers[first:last]
        return replace(some, nodule_id=ids, num_readers=counts)

    def holding(self, draw):
        """Return a store that holds the cubes of a draw, and the draw with their places in it."""
        return self, draw


class StreamedStore:
    """Cubes that are read from the shards whenever a part of them is asked for.

    Parameters
    ----------
    cubes : quorum.shards.CubeSet
    indices : list of int
    has_staple : bool
    consensus : str or float, optional
    device : str or torch.device
        Where `part` puts them; `holding` leaves them in the CPU's memory, for worker processes.
    """

    def __init__(self, cubes, indices, *, has_staple=False, consensus=None, device="cpu"):
        self.cubes, self.indices, self.device = cubes, list(indices), device
        self.options = {"has_staple": has_staple, "consensus": consensus}
        self.nodule_id = [str(cubes.nodule_id[k]) for k in self.indices]
        self.num_readers = torch.as_tensor(cubes.num_readers[self.indices].astype(np.int64))
        self.cube_vox = tuple(cubes.shape_vox)

    def __len__(self):
        """Return the number of nodules."""
        return len(self.indices)

    def to(self, device):
        """Return a store whose parts come on another device."""
        return StreamedStore(self.cubes, self.indices, device=device, **self.options)

    def part(self, first: int, last: int):
        """Return the nodules from `first` to before `last` as a Store on the device."""
        return load_store(self.cubes, self.indices[first:last], **self.options).to(self.device)

    def holding(self, draw):
        """Return a Store of a draw's cubes, and the draw with their places in it."""
        rows, places = np.unique(draw.cube.numpy(), return_inverse=True)
        store = load_store(self.cubes, [self.indices[row] for row in rows], **self.options)
        return store, replace(draw, cube=torch.from_numpy(places))


class CubeReader(torch.utils.data.Dataset):
    """One nodule's arrays by its place, for DataLoader's worker processes."""

    def __init__(self, cubes, indices, *, has_staple, consensus):
        self.cubes, self.indices = cubes, indices
        self.has_staple, self.consensus = has_staple, consensus

    def __len__(self):
        """Return the number of nodules."""
        return len(self.indices)

    def __getitem__(self, row: int):
        """Return the arrays by name; an InputError as a value, since workers would reword it."""
        try:
            return self.read(self.indices[row])
        except InputError as error:
            return error

    def read(self, k: int) -> dict:
        """Return image, readers, coverage, and staple and reference where they are wanted."""
        cubes = self.cubes
        found = {name: getattr(cubes, name)(k) for name in ARRAYS[:3]}
        if self.has_staple:
            found["staple"] = cubes.staple(k)
        if self.consensus is not None:
            share = cubes.staple(k) if self.consensus == "staple" else None
            count = int(cubes.num_readers[k])
            mask = consensus_mask(found["readers"], count, share, self.consensus)
            found["reference"] = mask & (found["coverage"] > 0)
        return found


def start_worker(_):
    """Set up a process that reads cubes for another: it outlives SIGTERM, and can hand them over.

    SIGTERM is left to the main process: it is sent to a job's whole group, and workers are needed
    until the checkpoint is written. They end with the main process, however it ends. Tensors are
    handed over through a socket in the folder for temporary files; a path too long for a socket
    (a cluster's $TMPDIR may be) would lose them without an error, and the run would wait for ever.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if len(os.fsencode(tempfile.gettempdir())) > MAX_SOCKET_FOLDER_BYTES:
        tempfile.tempdir = "/tmp"


def load_store(cubes, indices, *, device="cpu", has_staple=False, consensus=None, workers=0):
    """Read the chosen nodules of a CubeSet into memory, each once.

    Parameters
    ----------
    cubes : quorum.shards.CubeSet
    indices : list of int
    device : str or torch.device
    has_staple : bool
        Whether STAPLE's probability is wanted.
    consensus : str or float, optional
        Makes `reference`.
    workers : int
        Processes that read side by side; none for a small set.

    Returns
    -------
    Store
    """
    reader = CubeReader(cubes, indices, has_staple=has_staple, consensus=consensus)
    shape = (len(indices), *cubes.shape_vox)
    kinds = {"image": torch.int16, "readers": torch.uint8, "coverage": torch.uint8}
    kinds |= {"staple": torch.float16} if has_staple else {}
    kinds |= {"reference": torch.bool} if consensus is not None else {}
    tensors = {name: torch.empty(shape, dtype=kind) for name, kind in kinds.items()}
    num_workers = workers if len(indices) >= MIN_CUBES_FOR_WORKERS else 0
    loader = torch.utils.data.DataLoader(
        reader,
        batch_size=None,
        num_workers=num_workers,
        timeout=cubes_wait_s(num_workers),
        worker_init_fn=start_worker,
    )
    with lost_processes_told():
        for row, found in enumerate(loader):
            if isinstance(found, InputError):
                raise found
            for name, tensor in tensors.items():
                tensor[row] = found[name]
    tensors = {name: tensors.get(name) for name in ARRAYS}
    box = torch.as_tensor(cubes.coverage_box[indices].astype(np.int64)).reshape(-1, 2, 3)
    num_readers = torch.as_tensor(cubes.num_readers[indices].astype(np.int64))
    names = [str(cubes.nodule_id[k]) for k in indices]
    place = None if cubes.places is None else torch.from_numpy(cubes.places[indices])
    store = Store(names, **tensors, box=box, num_readers=num_readers, place=place)
    return store if str(device) == "cpu" else store.to(device)


def store_digest(*stores) -> str:
    """Return a digest of the content of stores: ids, images, readers' masks, coverage, truth.

    The same whether the cubes are in memory or streamed.
    """
    total = hashlib.sha256()
    for store in stores:
        total.update(" ".join(store.nodule_id).encode())
        for row in range(len(store)):
            one = store.part(row, row + 1)
            for name in (*ARRAYS, "box", "place"):
                tensor = getattr(one, name)
                if tensor is not None:
                    total.update(tensor.cpu().contiguous().numpy().data)
    return total.hexdigest()


def fits_memory(num_cubes: int, cube_vox, *, device: str, memory_mb=None) -> bool:
    """Tell whether so many cubes may lie in memory on the device.

    Parameters
    ----------
    num_cubes : int
    cube_vox : tuple of int
    device : str
        `cpu` or `cuda`.
    memory_mb : int, optional
        What the job may use on a CPU; without it, what is free.
    """
    needed = num_cubes * int(np.prod(cube_vox)) * 7
    if device == "cuda":
        return needed <= MEMORY_SHARE * torch.cuda.mem_get_info()[0]
    free = psutil.virtual_memory().available
    return needed <= MEMORY_SHARE * min(free, memory_mb * 2**20 if memory_mb else free)
