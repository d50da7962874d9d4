"""Branching vessels of lung-like calibre: trees that fill the lungs, drawn as tubes on the raster.

Method: random points in the lung, taken in the order of their distance from the hilum, each join
the tree where distance plus a share of the path back to the hilum is least; radii follow Murray's
law from the number of twigs downstream.

Source: Murray 1926, PNAS 12(3), 207-214 (r^3 = sum of the branches' r^3).
"""

import numpy as np
from scipy.spatial.distance import cdist

from quorum.phantom_body import AXIAL_PIXELS, Chest, Raster, lung_with_sites

# ASSUME: twigs of 0.55 mm radius, one a 1.5 cm3 of lung, grow to trunks of up to 6 mm at the hilum
# (arteries and veins that CT of 1 to 3 mm thickness resolves)
TWIG_RADIUS_MM, TRUNK_RADIUS_MM = 0.55, 6.0
TWIG_VOLUME_MM3 = 1500.0
PATH_WEIGHT = 0.45
MARGIN_MM = 15.0  # trees grow this far beyond the slab, so that tubes cross its ends
# ASSUME: a vessel that meets a nodule has 0.35 of its radius, at least 1.2 and at most 4 mm
# (feeding vessels seen on CT)
FEEDER_SHARE, FEEDER_MM = 0.35, (1.2, 4.0)
CLEARANCE_MM = 2.5


def grow_vessels(chest: Chest, raster: Raster, rng) -> np.ndarray:
    """Return the tubes of both lungs, arteries and veins.

    Parameters
    ----------
    chest : Chest
        With its nodules' sites.
    raster : Raster
        The slab that they have to fill.
    rng : numpy Generator

    Returns
    -------
    float (tubes, 8)
        Start x y z, end x y z, radius at start and end [mm].
    """
    tubes = [np.zeros((0, 8))]
    low, high = raster.z_mm[0] - MARGIN_MM, raster.z_mm[-1] + MARGIN_MM
    for side in (-1, 1):
        points = lung_points(chest, side, (low, high), rng)
        for half in (points[::2], points[1::2]):
            jitter = rng.uniform(-8, 8, 3)
            hilum = np.array([side * 0.20 * chest.half_width_mm, 5.0, (low + high) / 2]) + jitter
            tubes.append(tree(hilum, half, rng))
    tubes = clear_nodules(np.concatenate(tubes), chest)
    return np.concatenate([tubes, feeders(tubes, chest, rng)])


def lung_points(chest: Chest, side: int, z_range_mm: tuple, rng) -> np.ndarray:
    """Return random points inside one lung: float (points, 3)."""
    width, depth = chest.half_width_mm, chest.half_depth_mm
    volume = width * 2 * depth * (z_range_mm[1] - z_range_mm[0])
    count = int(volume / TWIG_VOLUME_MM3)
    low = (min(0, side * width), -depth, z_range_mm[0])
    high = (max(0, side * width), depth, z_range_mm[1])
    points = rng.uniform(low, high, (count, 3))
    return points[lung_with_sites(chest, *points.T) < -3.0]


def tree(root: np.ndarray, points: np.ndarray, rng) -> np.ndarray:
    """Return the tubes of one tree from its root to all points: float (tubes, 8)."""
    if not len(points):
        return np.zeros((0, 8))
    order = np.argsort(np.linalg.norm(points - root, axis=1))
    nodes = np.concatenate([root[None], points[order]])
    distance = cdist(nodes, nodes)
    parent, path_mm = np.zeros(len(nodes), int), np.zeros(len(nodes))
    for index in range(1, len(nodes)):
        cost = distance[index, :index] + PATH_WEIGHT * path_mm[:index]
        parent[index] = int(cost.argmin())
        path_mm[index] = path_mm[parent[index]] + distance[index, parent[index]]
    cubes = np.zeros(len(nodes))
    twigs = np.bincount(parent[1:], minlength=len(nodes)) == 0
    cubes[twigs] = TWIG_RADIUS_MM**3
    for index in range(len(nodes) - 1, 0, -1):
        cubes[parent[index]] += cubes[index]
    radius = np.minimum(np.cbrt(cubes), TRUNK_RADIUS_MM)
    return bent_tubes(nodes[parent[1:]], nodes[1:], radius[1:], rng)


def bent_tubes(start, end, radius, rng) -> np.ndarray:
    """Return two tubes for each straight piece, with a slight bend between them."""
    length = np.linalg.norm(end - start, axis=1, keepdims=True)
    middle = (start + end) / 2 + rng.normal(0, 0.08, start.shape) * length
    radius = radius[:, None]
    first = np.hstack([start, middle, radius * 1.05, radius])
    return np.concatenate([first, np.hstack([middle, end, radius, radius * 0.95])])


def clear_nodules(tubes: np.ndarray, chest: Chest) -> np.ndarray:
    """Return the tubes without those that run into a nodule: what touches one is decided."""
    keep = np.ones(len(tubes), bool)
    for site in chest.sites:
        gap = point_distance(tubes, site.center_mm) - tubes[:, 6:8].max(axis=1)
        keep &= gap > site.radius_mm + CLEARANCE_MM
    return tubes[keep]


def point_distance(tubes: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Return the distance of a point from each tube's axis [mm]."""
    axis = tubes[:, 3:6] - tubes[:, :3]
    along = ((point - tubes[:, :3]) * axis).sum(axis=1)
    along = np.clip(along / np.maximum((axis**2).sum(axis=1), 1e-9), 0, 1)
    return np.linalg.norm(point - tubes[:, :3] - along[:, None] * axis, axis=1)


def feeders(tubes: np.ndarray, chest: Chest, rng) -> np.ndarray:
    """Return the vessels that meet nodules: one towards the tree, one out behind."""
    found = [np.zeros((0, 8))]
    for site in chest.sites:
        if site.attachment != "vessel":
            continue
        radius = float(np.clip(FEEDER_SHARE * site.radius_mm, *FEEDER_MM))
        inward = rng.normal(size=3)
        if len(tubes):
            nearest = tubes[point_distance(tubes, site.center_mm).argmin(), :3]
            inward = nearest - site.center_mm
        # Flattened, so that a vessel doesn't stay hidden above and below the nodule.
        inward = inward / np.linalg.norm(inward) * (1, 1, 0.5)
        turn = rng.normal(size=3)
        reach_mm = site.radius_mm + rng.uniform(18, 30)
        ends = [inward, -inward + 0.5 * turn / np.linalg.norm(turn)]
        for direction, taper in zip(ends, (1.0, 0.75), strict=True):
            end = site.center_mm + direction / np.linalg.norm(direction) * reach_mm
            sides = np.full(1, radius * taper)
            found.append(bent_tubes(site.center_mm[None], end[None], sides, rng))
    return np.concatenate(found)


def draw_tubes(tubes: np.ndarray, raster: Raster) -> np.ndarray:
    """Return the share of each voxel that tubes fill, averaged over the slice thickness.

    Parameters
    ----------
    tubes : float (tubes, 8)
    raster : Raster

    Returns
    -------
    float32 (slices, rows, columns), 0 to 1
    """
    share = np.zeros((len(raster.z_mm), AXIAL_PIXELS, AXIAL_PIXELS), np.float32)
    half = raster.thickness_mm / 2
    count = max(1, int(np.ceil(raster.thickness_mm / 1.25)))
    offsets = ((np.arange(count) + 0.5) / count - 0.5) * raster.thickness_mm
    planes = (raster.z_mm[:, None] + offsets).astype(np.float32)  # (slices, sub-planes)
    for tube in tubes:
        radius = tube[6:8].max()
        low = np.minimum(tube[:3], tube[3:6]) - radius - raster.pixel_mm
        high = np.maximum(tube[:3], tube[3:6]) + radius + raster.pixel_mm
        first = int(np.searchsorted(raster.z_mm, low[2] - half))
        stop = int(np.searchsorted(raster.z_mm, high[2] + half))
        rows = pixel_range(raster.row_of(low[1]), raster.row_of(high[1]))
        columns = pixel_range(raster.column_of(low[0]), raster.column_of(high[0]))
        if first >= stop or rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        part = tube_share(tube, raster, planes[first:stop], (rows, columns))
        view = share[first:stop, rows, columns]
        np.maximum(view, part, out=view)
    return share


def pixel_range(one_end, other_end) -> slice:
    """Return the rows or columns between two places, within the image."""
    ends = sorted((float(one_end), float(other_end)))
    return slice(max(int(np.floor(ends[0])), 0), min(int(np.ceil(ends[1])) + 1, AXIAL_PIXELS))


def tube_share(tube, raster: Raster, planes, window: tuple) -> np.ndarray:
    """Return the share of voxels in a window that one tube fills: float32 (slices, y, x)."""
    rows, columns = window
    tube = tube.astype(np.float32)
    y = raster.y_of(np.arange(rows.start, rows.stop)).astype(np.float32) - tube[1]
    x = raster.x_of(np.arange(columns.start, columns.stop)).astype(np.float32) - tube[0]
    z = planes[:, :, None, None] - tube[2]
    y, x = y[:, None], x[None, :]
    axis = tube[3:6] - tube[:3]
    length2 = max(float((axis**2).sum()), 1e-6)
    along = np.clip((x * axis[0] + y * axis[1] + z * axis[2]) / length2, 0, 1)
    distance2 = (x - along * axis[0]) ** 2 + (y - along * axis[1]) ** 2
    distance2 += (z - along * axis[2]) ** 2
    radius = tube[6] + along * (tube[7] - tube[6])
    fill = np.clip((radius - np.sqrt(distance2)) / np.float32(raster.pixel_mm) + 0.5, 0, 1)
    return fill.mean(axis=1)
