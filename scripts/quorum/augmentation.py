"""Changes of a batch by chance, on the device: intensity, noise, and elastic bending.

What is drawn comes from generators that a step's number seeds; see quorum.batches.
"""

import numpy as np
import torch

AIR_HU = -1000.0


def draw_displacement(elastic: dict, shape, seeds):
    """Return displacements of control points: float32 (batch, 3, gz, gy, gx) in voxels.

    Parameters
    ----------
    elastic : dict
        max_displacement_vox (0: none is drawn), grid_vox.
    shape : tuple of int
        Batch, and the crop's (z, y, x).
    seeds : list of int

    Returns
    -------
    float32 tensor
        Empty where nothing bends.
    """
    most = elastic["max_displacement_vox"]
    if most == 0:
        return torch.empty(0)
    points = [max(2, side // elastic["grid_vox"] + 1) for side in shape[1:]]
    drawn = np.random.default_rng(seeds).uniform(-most, most, (shape[0], 3, *points))
    return torch.from_numpy(drawn.astype(np.float32))


def bend_places(places, displacement) -> list:
    """Return the places along z, y and x of every voxel of bent crops.

    Between control points the displacement is trilinear, so that neighbours stay neighbours while
    it is smaller than half the distance between two points.

    Parameters
    ----------
    places : three int64 (batch, side)
        Along each axis, in voxels of the cube.
    displacement : float32 (batch, 3, gz, gy, gx)

    Returns
    -------
    list of three float32 (batch, z, y, x)

    Source: Simard 2003 (10.1109/ICDAR.2003.1227801), on a coarse grid.
    """
    sides = [axis.shape[1] for axis in places]
    moved = torch.nn.functional.interpolate(
        displacement, size=sides, mode="trilinear", align_corners=True
    )
    bent = []
    for axis, along in enumerate(places):
        shape = [1, 1, 1]
        shape[axis] = sides[axis]
        bent.append(along.view(-1, *shape) + moved[:, axis])
    return bent


def sample_image(images, places, visible):
    """Return images between voxels, trilinear; what is not visible repeats the nearest that is.

    Parameters
    ----------
    images : int16 (batch, z, y, x) [HU]
    places : list of three float32 (batch, z, y, x)
    visible : two int64 (batch, 3)
        First visible voxel and one past the last.

    Returns
    -------
    float32 (batch, z, y, x) [HU]
    """
    grid = []
    for axis, place in enumerate(places):
        first, last = (corner[:, axis, None, None, None].float() for corner in visible)
        inside = torch.minimum(torch.maximum(place, first), last - 1)
        grid.append(inside * (2 / max(1, images.shape[axis + 1] - 1)) - 1)
    grid = torch.stack(grid[::-1], dim=-1)  # grid_sample wants x, y, z
    sampled = torch.nn.functional.grid_sample(
        images[:, None].float(), grid, mode="bilinear", padding_mode="border", align_corners=True
    )
    return sampled[:, 0]


def change_intensity(hu, draw):
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
