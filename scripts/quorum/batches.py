"""Batches as pure functions of (seed, step, rank), cut on the device from cubes held in memory.

All cubes of a run lie in memory once, as integers: 4 bytes a voxel (image int16, readers and
coverage uint8; 6 with STAPLE), 1.0 MB a cube of (40, 80, 80), so 0.9 GB for all 897 nodules.
What a batch holds is drawn on the CPU from a generator seeded by (seed, step, rank), so that a
resumed run goes on with exactly the batches that an undisturbed one would have had.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch

from quorum.consensus import consensus_mask

# Names of independent random streams, so that one draw more in one never moves another.
ORDER, CROPS, NOISE, DROPOUT = range(4)
AXES = ("z", "y", "x")
AIR_HU = -1000.0


@dataclass
class Store:
    """The cubes of one part, on the device.

    Attributes
    ----------
    nodule_id : list of str
    image : int16 (n, z, y, x) [HU]
    readers : uint8 (n, z, y, x)
        Bit k is reader k + 1.
    coverage : uint8 (n, z, y, x)
    staple : float16 (n, z, y, x) or None
    reference : bool (n, z, y, x)
        The consensus that validation is scored against; what is not covered is False.
    box : int64 (n, 2, 3)
        First covered voxel and one past the last, (z, y, x).
    num_readers : int64 (n,)
    """

    nodule_id: list
    image: torch.Tensor
    readers: torch.Tensor
    coverage: torch.Tensor
    staple: torch.Tensor | None
    reference: torch.Tensor | None
    box: torch.Tensor
    num_readers: torch.Tensor

    def __len__(self):
        """Return the number of nodules."""
        return len(self.nodule_id)

    @property
    def cube_vox(self) -> tuple:
        """The cubes' size, (z, y, x)."""
        return tuple(self.image.shape[1:])


def load_store(cubes, indices, *, device="cpu", has_staple=False, consensus=None) -> Store:
    """Read the chosen nodules of a CubeSet into memory.

    Parameters
    ----------
    cubes : quorum.shards.CubeSet
    indices : list of int
    device : str or torch.device
    has_staple : bool
        Whether STAPLE's probability is wanted.
    consensus : str or float, optional
        Makes `reference`.
    """
    shape = (len(indices), *cubes.shape_vox)
    image, readers = np.empty(shape, np.int16), np.empty(shape, np.uint8)
    coverage = np.empty(shape, np.uint8)
    staple = np.empty(shape, np.float16) if has_staple else None
    reference = np.empty(shape, bool) if consensus is not None else None
    for row, k in enumerate(indices):
        image[row], readers[row], coverage[row] = (
            cubes.image(k),
            cubes.readers(k),
            cubes.coverage(k),
        )
        if has_staple:
            staple[row] = cubes.staple(k)
        if consensus is not None:
            probability = cubes.staple(k) if consensus == "staple" else None
            mask = consensus_mask(readers[row], int(cubes.num_readers[k]), probability, consensus)
            reference[row] = mask & (coverage[row] > 0)
    arrays = [image, readers, coverage, staple, reference]
    tensors = [None if a is None else torch.from_numpy(a).to(device) for a in arrays]
    box = torch.as_tensor(cubes.coverage_box[indices].astype(np.int64)).reshape(-1, 2, 3)
    num_readers = torch.as_tensor(cubes.num_readers[indices].astype(np.int64))
    names = [str(cubes.nodule_id[k]) for k in indices]
    return Store(names, *tensors, box.to(device), num_readers.to(device))


def store_digest(*stores) -> str:
    """Return a digest of the content of stores: ids, images, readers' masks, coverage, truth."""
    total = hashlib.sha256()
    for store in stores:
        total.update(" ".join(store.nodule_id).encode())
        for name in ("image", "readers", "coverage", "staple", "reference", "box"):
            tensor = getattr(store, name)
            if tensor is not None:
                total.update(tensor.cpu().contiguous().numpy().data)
    return total.hexdigest()


@dataclass
class Draw:
    """Which cubes a batch holds and how each is cut and changed.

    Attributes
    ----------
    cube : int64 (batch,)
    start : int64 (batch, 3)
        First voxel of the crop, (z, y, x).
    is_flipped : bool (batch, 3)
    hidden : int64 (batch, 2)
        Slices hidden at the lower and upper end of the coverage.
    reader : int64 (batch,)
        For the target `random_reader`.
    scale, shift_hu : float32 (batch,)
    noise_hu : float
    noise_seed : int
    """

    cube: torch.Tensor
    start: torch.Tensor
    is_flipped: torch.Tensor
    hidden: torch.Tensor
    reader: torch.Tensor
    scale: torch.Tensor
    shift_hu: torch.Tensor
    noise_hu: float = 0.0
    noise_seed: int = 0


def plain_draw(cube, start, is_flipped=None) -> Draw:
    """Return a draw without chance: the given cubes, cut at `start`, flipped where told."""
    cube = torch.as_tensor(cube, dtype=torch.int64)
    zeros = torch.zeros(len(cube))
    flips = torch.zeros((len(cube), 3), dtype=torch.bool) if is_flipped is None else is_flipped
    hidden = torch.zeros((len(cube), 2), dtype=torch.int64)
    start = torch.as_tensor(start, dtype=torch.int64).reshape(len(cube), 3)
    return Draw(cube, start, flips, hidden, torch.zeros_like(cube), zeros, zeros)


def draw_batch(store: Store, settings: dict, crop_vox, *, seed: int, number: int, ranks=(0, 1)):
    """Return what batch `number` of rank `ranks[0]` of `ranks[1]` holds: a pure function.

    Every epoch visits each nodule once, in an order of its own; batches run over epochs' ends.

    Parameters
    ----------
    store : Store
    settings : dict
        The plan's: batch_size, max_shift_vox, flip_axes, max_hidden_end_slices, intensity.
    crop_vox : tuple of int
    seed, number : int
        The run's seed and the number of the batch (the global step, without accumulation).
    ranks : (int, int)
        This process's rank and the number of processes.

    Returns
    -------
    Draw
    """
    size = settings["batch_size"]
    cube = visit_order(len(store), size, seed=seed, number=number, ranks=ranks)
    generator = np.random.default_rng([seed, number, ranks[0], CROPS])
    middle = (np.array(store.cube_vox) - crop_vox) // 2
    most = np.array(settings["max_shift_vox"])
    start = middle + generator.integers(-most, most + 1, (size, 3))
    start = np.clip(start, 0, np.array(store.cube_vox) - crop_vox)
    may_flip = np.array([axis in settings["flip_axes"] for axis in AXES])
    is_flipped = (generator.random((size, 3)) < 0.5) & may_flip
    hidden = generator.integers(0, settings["max_hidden_end_slices"] + 1, (size, 2))
    counts = store.num_readers.cpu().numpy()[cube]
    reader = (generator.random(size) * counts).astype(np.int64)
    scale, shift = generator.uniform(-1, 1, (2, size)).astype(np.float32)
    intensity = settings["intensity"]
    noise_seed = int(np.random.SeedSequence([seed, number, ranks[0], NOISE]).generate_state(1)[0])
    return Draw(
        cube=torch.from_numpy(cube),
        start=torch.from_numpy(start),
        is_flipped=torch.from_numpy(is_flipped),
        hidden=torch.from_numpy(hidden),
        reader=torch.from_numpy(reader),
        scale=torch.from_numpy(scale * np.float32(intensity["max_scale"])),
        shift_hu=torch.from_numpy(shift * np.float32(intensity["max_shift_hu"])),
        noise_hu=intensity["noise_hu"],
        noise_seed=noise_seed,
    )


def visit_order(num_nodules: int, size: int, *, seed: int, number: int, ranks) -> np.ndarray:
    """Return which nodules batch `number` visits: int64 (size,)."""
    visits = (number * ranks[1] + ranks[0]) * size + np.arange(size)
    epochs, places = np.divmod(visits, num_nodules)
    orders = {
        epoch: np.random.default_rng([seed, epoch, ORDER]).permutation(num_nodules)
        for epoch in set(epochs.tolist())
    }
    return np.array([orders[e][p] for e, p in zip(epochs.tolist(), places.tolist(), strict=True)])


def cut_batch(store: Store, draw: Draw, crop_vox, settings: dict):
    """Cut a batch out of the store; image and masks by the very same indices.

    An uncovered voxel of the image repeats the nearest covered one, after end slices were
    hidden too, so that the image's own edges tell as little as they can about the coverage.

    Returns
    -------
    inputs : float32 (batch, 1, z, y, x)
        HU window mapped to -1 .. 1, or the coverage likewise.
    readers : uint8 (batch, z, y, x)
    staple : float16 (batch, z, y, x) or None
    counts : bool (batch, z, y, x)
        Covered and not hidden.
    """
    device = store.image.device
    cube, start = draw.cube.to(device), draw.start.to(device)
    lower, upper = visible_box(store.box[cube], draw.hidden.to(device))
    inside, clamped, is_visible = [], [], []
    for axis, length in enumerate(crop_vox):
        steps = torch.arange(length, device=device)
        flipped = draw.is_flipped[:, axis, None].to(device)
        place = start[:, axis, None] + torch.where(flipped, length - 1 - steps, steps)
        first, last = lower[:, axis, None], upper[:, axis, None] - 1
        inside.append(place)
        clamped.append(torch.minimum(torch.maximum(place, first), last))
        is_visible.append((place >= first) & (place <= last))
    visible = outer(*is_visible, torch.logical_and)
    exact = flat_index(cube, inside, store)
    counts = gather(store.coverage, exact).bool() & visible
    if settings["inputs"] == "coverage":
        inputs = counts.float() * 2 - 1
    else:
        hu = gather(store.image, flat_index(cube, clamped, store)).float()
        inputs = normalise(change_intensity(hu, draw), settings["hu_window"])
    staple = None if store.staple is None else gather(store.staple, exact)
    return inputs[:, None], gather(store.readers, exact), staple, counts


def visible_box(box, hidden):
    """Return the lower and upper corner (batch, 3) of what is left after hiding end slices.

    At least half of the covered slices stay.
    """
    lower, upper = box[:, 0].clone(), box[:, 1].clone()
    # ASSUME: hidden ends leave at least half of the slices (a nodule of 3 slices stays a nodule).
    most = (upper[:, 0] - lower[:, 0]) // 4
    lower[:, 0] += torch.minimum(hidden[:, 0], most)
    upper[:, 0] -= torch.minimum(hidden[:, 1], most)
    return lower, upper


def outer(along_z, along_y, along_x, combine):
    """Combine three (batch, side) arrays into one (batch, z, y, x)."""
    plane = combine(along_y[:, :, None], along_x[:, None, :])
    return combine(along_z[:, :, None, None], plane[:, None])


def flat_index(cube, places, store: Store):
    """Return the index into a flattened array of the store: integer (batch, z, y, x)."""
    deep, high, wide = store.cube_vox
    # 32 bits are a quarter of the time, and enough for 8,000 cubes.
    width = torch.int32 if store.image.numel() < 1 << 31 else torch.int64
    along_z = (cube[:, None] * deep + places[0]) * (high * wide)
    along_y = places[1] * wide
    return outer(along_z.to(width), along_y.to(width), places[2].to(width), torch.add)


def gather(array, index):
    """Return the values of a (n, z, y, x) array at flat indices, in the shape of the index."""
    return array.view(-1).index_select(0, index.view(-1)).view(index.shape)


def change_intensity(hu, draw: Draw):
    """Scale HU above air, shift them, and add noise, as drawn; float32 (batch, z, y, x)."""
    if draw.scale.any() or draw.shift_hu.any():
        scale = 1 + draw.scale.to(hu.device)[:, None, None, None]
        hu = (hu - AIR_HU) * scale + AIR_HU + draw.shift_hu.to(hu.device)[:, None, None, None]
    if draw.noise_hu > 0:
        generator = torch.Generator(hu.device).manual_seed(draw.noise_seed)
        noise = torch.randn(hu.shape, generator=generator, device=hu.device)
        hu = hu + draw.noise_hu * noise
    return hu


def normalise(hu, window):
    """Clip HU to a window and map it to -1 .. 1; in place, float32."""
    lower, upper = window
    return hu.clamp_(lower, upper).sub_((lower + upper) / 2).mul_(2 / (upper - lower))
