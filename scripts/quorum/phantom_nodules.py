"""A phantom's nodules: one true surface drawn from the readers, its site and its attenuation."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from quorum.outlines import annotation_mask, outline_box
from quorum.phantom_body import Chest, Raster, Site, lung_with_sites, wall_normal
from quorum.phantom_latent import Latent

# ASSUME: true surfaces scatter as the readers do: half are one reader's, half a level between 0.3
# and 0.7 of the vote smoothed by 0.8 mm (FACTS: readers agree to a Dice of 0.77 by pairs)
READER_SHARE, LEVELS, VOTE_SMOOTHING_MM = 0.5, (0.3, 0.7), 0.8
# ASSUME: of the nodules within 15 mm of a wall 45 % touch it, of the others 50 % touch a vessel
# (juxta-pleural and juxta-vascular nodules are the hard half of LIDC-IDRI)
WALL_SHARE, VESSEL_SHARE, WALL_REACH_MM = 0.45, 0.5, 15.0
# ASSUME: attenuation by texture rating 1 (ground glass) to 5 (solid): shell and core [HU]
# (LIDC's scale; ground glass is about -650 to -450 HU, solid tissue 0 to 60 HU)
SHELL_HU = {1: (-640, -540), 2: (-560, -430), 3: (-480, -330), 4: (-90, 0), 5: (15, 55)}
CORE_HU = {1: (-640, -540), 2: (-480, -330), 3: (-40, 30), 4: (10, 40), 5: (15, 55)}
# ASSUME: calcification rating 1 popcorn, 2 laminated, 3 solid, 4 off-centre, 5 central, 6 absent
# (LIDC's scale); calcified tissue has 250 to 600 HU
ABSENT_CALCIFICATION, CALCIFIED_HU = 6, (250, 600)
WALL_CONTACT_MM, WALL_CLEARANCE_MM = 1.2, 4.0
SUB_PLANE_MM = 0.8
MARGIN_PX = 4
MIN_VOXELS = 2


@dataclass(frozen=True)
class Body:
    """One nodule as the scanner sees it: share of each voxel it fills, and its attenuation.

    Attributes
    ----------
    share : float32 (z, y, x)
        0 to 1, after averaging over the slice thickness.
    hu : float32 (z, y, x)
        Attenuation of the nodule's part of the voxel.
    start_zyx : tuple of int
        First voxel of the box in the slab.
    """

    share: np.ndarray
    hu: np.ndarray
    start_zyx: tuple

    def moved(self, num_slices: int) -> "Body":
        """Return the body counted from a slice that lies `num_slices` higher."""
        start = self.start_zyx
        return Body(self.share, self.hu, (start[0] - num_slices, *start[1:]))


def draw_latent(readers: list, raster: Raster, rng) -> Latent:
    """Draw one true surface from the readers' outlines.

    Parameters
    ----------
    readers : list of list of Outline
        Each reader's outlines, in the nodule's order.
    raster : Raster
        Of the slab; the box counts in it.
    rng : numpy Generator

    Returns
    -------
    Latent
        With a margin of 4 pixels in plane and one slice at each end, where the slab has it.
    """
    box = outline_box([o for outlines in readers for o in outlines], raster.z_mm)
    box = box.padded(1, MARGIN_PX, MARGIN_PX)
    box = box._replace(slice0=max(box.slice0, 0), slice1=min(box.slice1, len(raster.z_mm)))
    masks = np.array([annotation_mask(outlines, raster.z_mm, box) for outlines in readers])
    reader, level = int(rng.integers(len(masks))), float(rng.uniform(*LEVELS))
    if rng.random() < READER_SHARE:
        mask, origin = masks[reader], f"reader{reader + 1}"
    else:
        # In plane alone: across thick slices the vote would leak into slices nobody marked.
        sigma = (0, VOTE_SMOOTHING_MM / raster.pixel_mm, VOTE_SMOOTHING_MM / raster.pixel_mm)
        vote = ndimage.gaussian_filter(masks.mean(axis=0, dtype=np.float32), sigma, truncate=3)
        mask, origin = vote >= level, f"vote{level:.2f}"
    mask = largest_part(mask)
    if mask.sum() < MIN_VOXELS:
        mask, origin = largest_part(masks.any(axis=0)), "union"
    return Latent(mask, (box.slice0, box.row0, box.column0), {"origin": origin})


def largest_part(mask: np.ndarray) -> np.ndarray:
    """Return the largest connected part of a mask (26 neighbours); an empty mask stays empty."""
    labels, count = ndimage.label(mask, np.ones((3, 3, 3)))
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())[1:]
    return labels == 1 + int(sizes.argmax())


def patient_points(latent: Latent, raster: Raster) -> np.ndarray:
    """Return the patient coordinates (x, y, z) of the latent mask's voxels: float (points, 3)."""
    index = np.argwhere(latent.mask) + np.asarray(latent.start_zyx)
    x, y = raster.x_of(index[:, 2]), raster.y_of(index[:, 1])
    return np.column_stack([x, y, raster.z_mm[index[:, 0]]])


def place_site(latent: Latent, raster: Raster, chest: Chest, rng) -> Site:
    """Decide what a nodule touches, and where.

    Returns
    -------
    Site
        `wall` only where the chest's own wall is within reach of the nodule's surface.
    """
    points = patient_points(latent, raster)
    center = (points.min(axis=0) + points.max(axis=0)) / 2
    half_voxel_mm = raster.pixel_mm / 2
    radius_mm = float(np.linalg.norm(points - center, axis=1).max()) + half_voxel_mm
    draw_wall, draw_vessel = rng.random(2)
    normal = wall_normal(chest, center)
    foot = points[((points - center) @ normal).argmax()] + normal * half_voxel_mm
    free_mm = -float(lung_with_sites(chest, *foot))
    if free_mm < WALL_REACH_MM and draw_wall < WALL_SHARE:
        # The voxels that reach farthest rest on the wall, with common ground.
        return Site(center, radius_mm, "wall", foot, free_mm + WALL_CONTACT_MM)
    attachment = "vessel" if draw_vessel < VESSEL_SHARE else "none"
    return Site(center, radius_mm, attachment, foot, min(free_mm - WALL_CLEARANCE_MM, 0.0))


def slice_cells(z_mm: np.ndarray) -> tuple:
    """Return the lower and upper end of the part of space that each slice stands for [mm].

    Cells meet half way between slices; next to a gap they end after half the usual spacing.
    """
    if len(z_mm) == 1:
        return z_mm - 0.5, z_mm + 0.5
    steps = np.diff(z_mm)
    half = np.minimum(steps, 1.5 * np.median(steps)) / 2
    return z_mm - np.append(half[0], half), z_mm + np.append(half, half[-1])


def fine_share(mask: np.ndarray, z_mm: np.ndarray) -> tuple:
    """Return a smooth-edged body of the mask's volume on sub-planes of the slices.

    Parameters
    ----------
    mask : bool (slices, y, x)
    z_mm : float (slices,)

    Returns
    -------
    share : float32 (planes, y, x)
        0 to 1; an edge is one pixel wide and lies on the mask's.
    plane_mm : float (planes,)
        z of each sub-plane's centre.
    step_mm : float (planes,)
        Its thickness.
    """
    low, high = slice_cells(z_mm)
    count = max(1, int(np.ceil(np.median(high - low) / SUB_PLANE_MM)))
    fraction = (np.arange(count) + 0.5) / count
    planes = (low[:, None] + (high - low)[:, None] * fraction).ravel()
    steps = np.repeat((high - low) / count, count)
    fine = np.repeat(mask, count, axis=0).astype(np.float32)
    smooth = ndimage.gaussian_filter(fine, (0.35 * count, 0.7, 0.7), mode="nearest", truncate=3)
    return soft_cut(smooth, float(fine.sum())), planes, steps


def soft_cut(smooth: np.ndarray, wanted: float) -> np.ndarray:
    """Return a smoothed mask with edges one pixel wide, at the level that keeps its volume.

    Parameters
    ----------
    smooth : float32 array
        A mask smoothed by 0.7 pixels: its edges' steepest slope is 0.57 a pixel.
    wanted : float
        Sum of the result; small nodules would fade at a fixed level.
    """
    low, high = 0.0, float(smooth.max())
    for _ in range(16):
        level = (low + high) / 2
        share = np.clip((smooth / level - 1) * (0.5 / 0.57) + 0.5, 0, 1)
        low, high = (low, level) if share.sum() < wanted else (level, high)
    return share


def average_over_slices(fine, plane_mm, step_mm, raster: Raster, z_mm) -> np.ndarray:
    """Return sub-planes averaged over the slice thickness: (slices, y, x)."""
    half = raster.thickness_mm / 2
    top = np.minimum(z_mm[:, None] + half, (plane_mm + step_mm / 2)[None])
    bottom = np.maximum(z_mm[:, None] - half, (plane_mm - step_mm / 2)[None])
    weights = (np.maximum(top - bottom, 0) / raster.thickness_mm).astype(np.float32)
    return np.tensordot(weights, fine, axes=1)


def make_body(latent: Latent, raster: Raster, ratings: dict, rng) -> Body:
    """Return the nodule as the scanner sees it, blurred in z only (the plane's blur comes later).

    Parameters
    ----------
    latent : Latent
    raster : Raster
        The slab's.
    ratings : dict
        Median `texture` (1 to 5) and `calcification` (1 to 6) of the readers.
    rng : numpy Generator
    """
    start, reach = latent.start_zyx[0], int(np.ceil(raster.thickness_mm)) + 2
    first, stop = max(start - reach, 0), min(start + len(latent.mask) + reach, len(raster.z_mm))
    margin = ((start - first, stop - start - len(latent.mask)), (0, 0), (0, 0))
    mask, z_mm = np.pad(latent.mask, margin), raster.z_mm[first:stop]
    fine, planes, steps = fine_share(mask, z_mm)
    share = average_over_slices(fine, planes, steps, raster, z_mm)
    step_mm = float(np.median(np.diff(raster.z_mm))) if len(raster.z_mm) > 1 else 1.0
    spacing = (step_mm, raster.pixel_mm, raster.pixel_mm)
    hu = attenuation(mask, spacing, ratings, rng)
    return Body(share, hu, (first, *latent.start_zyx[1:]))


def attenuation(mask: np.ndarray, spacing_mm: tuple, ratings: dict, rng) -> np.ndarray:
    """Return a nodule's attenuation by its texture and calcification ratings: float32 HU.

    Parameters
    ----------
    mask : bool (z, y, x)
    spacing_mm : (float, float, float)
        z, y, x.
    ratings : dict
        `texture`, `calcification`: readers' medians.
    rng : numpy Generator
    """
    texture = int(np.clip(round(ratings["texture"]), 1, 5))
    shell, core = rng.uniform(*SHELL_HU[texture]), rng.uniform(*CORE_HU[texture])
    depth_mm = ndimage.distance_transform_edt(mask, sampling=spacing_mm)
    radius_mm = max(float(depth_mm.max()), 0.5)
    depth = (depth_mm / radius_mm).astype(np.float32)
    hu = shell + (core - shell) * np.clip((depth - 0.3) / 0.2, 0, 1)
    grain = rng.standard_normal(mask.shape, np.float32)
    sigma = [1.2 / step for step in spacing_mm]
    grain = ndimage.gaussian_filter(grain, sigma, truncate=3)
    grain /= max(float(grain.std()), 1e-6)
    hu += grain * (15.0 if texture >= 4 else 35.0)
    kind = round(ratings["calcification"])
    if kind < ABSENT_CALCIFICATION:
        calcified = calcification_share(kind, depth, grain, rng)
        hu += (rng.uniform(*CALCIFIED_HU) - hu) * calcified
    return hu.astype(np.float32)


def calcification_share(kind: int, depth: np.ndarray, grain: np.ndarray, rng) -> np.ndarray:
    """Return how calcified each voxel is, 0 to 1, by the pattern that the readers named."""
    if kind == 1:  # popcorn: lumps all over
        return np.clip(grain, 0, 1)
    if kind == 2:  # laminated: shells
        return np.clip(np.sin(depth * 3 * np.pi) * 2, 0, 1) * (depth > 0.1)
    if kind == 3:  # solid
        return np.ones_like(depth)
    if kind == 5:  # central
        return np.clip((depth - 0.5) / 0.15, 0, 1)
    # off-centre: a ball around some voxel half way in
    places = np.argwhere((depth > 0.3) & (depth < 0.7))
    center = places[rng.integers(len(places))] if len(places) else np.array(depth.shape) // 2
    offset = np.indices(depth.shape).astype(np.float32) - center[:, None, None, None]
    return np.clip(3.0 - np.sqrt((offset**2).sum(axis=0)), 0, 1)
