"""Where a user would click: one seeded reader's own centre, and points at a distance from it."""

import hashlib

import numpy as np


def nodule_generator(nodule_id: str, seed: int) -> np.random.Generator:
    """Return a generator of one nodule's own, whatever other nodules there are."""
    digest = hashlib.sha256(f"{seed} {nodule_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def click_points(
    readers, num_readers: int, *, nodule_id: str, offsets_mm, seed: int, spacing_mm=1.0
):
    """Return the clicks on one nodule, one for each offset.

    Parameters
    ----------
    readers : uint8 (z, y, x)
        Bit k is reader k + 1.
    num_readers : int
    nodule_id : str
        Seeds the choice, together with `seed`.
    offsets_mm : sequence of float
        Distances from that reader's centre, all in one direction drawn at random.
    seed : int
    spacing_mm : float

    Returns
    -------
    float64 (offsets, 3)
        Voxels (z, y, x), kept inside the cube. The centre is the centroid of the reader's mask;
        of the next reader's where that mask is empty on this grid; else the cube's centre.
    """
    generator = nodule_generator(nodule_id, seed)
    order = generator.permutation(num_readers)
    # ASSUME: a user's click is like one reader's own centre, off by 0 to 8 mm in any direction.
    direction = generator.normal(size=3)
    direction /= np.linalg.norm(direction)
    center = (np.array(readers.shape) - 1) / 2
    for reader in order:
        voxels = np.argwhere(readers >> reader & 1)
        if len(voxels):
            center = voxels.mean(axis=0)
            break
    points = center + np.asarray(offsets_mm, float)[:, None] * direction / spacing_mm
    return np.clip(points, 0, np.array(readers.shape) - 1)


def crop_starts(points, crop_vox, cube_vox) -> np.ndarray:
    """Return the first voxel of the crop around each point, kept inside the cube: int64 (n, 3)."""
    starts = np.floor(np.asarray(points) + 0.5).astype(np.int64) - np.array(crop_vox) // 2
    return np.clip(starts, 0, np.array(cube_vox) - np.array(crop_vox))
