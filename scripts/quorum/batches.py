"""Batches as pure functions of (seed, step, rank), cut and changed on the device.

What a batch holds is drawn on the CPU from a generator seeded by (seed, step, rank), so that a
resumed run goes on with exactly the batches that an undisturbed one would have had.
"""

from dataclasses import dataclass, field

import numpy as np
import torch

from quorum.augmentation import (
    bend_places,
    change_intensity,
    draw_displacement,
    normalise,
    sample_image,
)
from quorum.places import with_places
from quorum.stores import Store

# Names of independent random streams, so that one draw more in one never moves another.
ORDER, CROPS, NOISE, DROPOUT, ELASTIC = range(5)
AXES = ("z", "y", "x")


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
    displacement : float32 (batch, 3, gz, gy, gx)
        Of control points, in voxels; empty where nothing bends.
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
    displacement: torch.Tensor = field(default_factory=lambda: torch.empty(0))


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
        The plan's: batch_size, max_shift_vox, flip_axes, max_hidden_end_slices, intensity, elastic.
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
    counts = store.num_readers.numpy()[cube]
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
        displacement=draw_displacement(
            settings["elastic"], (size, *crop_vox), [seed, number, ranks[0], ELASTIC]
        ),
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
    inputs : float32 (batch, 1 or 4, z, y, x)
        HU window mapped to -1 .. 1, or the coverage likewise; then the crop's place.
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
    if draw.displacement.numel():
        bent = bend_places(inside, draw.displacement.to(device))
        exact, counts = bent_index(store, cube, bent, (lower, upper))
        hu = sample_image(store.image[cube], bent, (lower, upper))
    else:
        exact = flat_index(cube, inside, store)
        counts = gather(store.coverage, exact).bool() & outer(*is_visible, torch.logical_and)
        hu = gather(store.image, flat_index(cube, clamped, store)).float()
    if settings["inputs"] == "coverage":
        inputs = counts.float() * 2 - 1
    else:
        inputs = normalise(change_intensity(hu, draw), settings["hu_window"])
    staple = None if store.staple is None else gather(store.staple, exact)
    inputs = with_places(inputs[:, None], store, draw, crop_vox)
    return inputs, gather(store.readers, exact), staple, counts


def bent_index(store, cube, bent, visible):
    """Return the flat index nearest to each bent place, and whether it counts there.

    Parameters
    ----------
    bent : list of float32 (batch, z, y, x)
        Places along z, y and x in voxels of the cube.
    visible : two int64 (batch, 3)
        Of `visible_box`.
    """
    flat, counts = cube[:, None, None, None], torch.ones_like(bent[0], dtype=torch.bool)
    for axis, (place, side) in enumerate(zip(bent, store.cube_vox, strict=True)):
        nearest = place.round().long()
        first, last = (corner[:, axis, None, None, None] for corner in visible)
        counts &= (nearest >= first) & (nearest < last)
        flat = flat * side + nearest.clamp(0, side - 1)
    return flat, counts & gather(store.coverage, flat).bool()


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
    return array.view(-1).index_select(0, index.reshape(-1)).view(index.shape)
