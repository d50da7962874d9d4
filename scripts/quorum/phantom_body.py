"""The phantom's chest: signed distances to lung, skin, muscle and bone, in patient millimetres.

Analytic, so that any point costs the same; negative inside. x runs to the patient's left, y to the
back, z to the head (LPS), the origin of x and y is the image's centre.
"""

from dataclasses import dataclass, replace

import numpy as np

AXIAL_PIXELS = 512
MIDDLE = (AXIAL_PIXELS - 1) / 2
# ASSUME: the chest spans 0.88 of the reconstructed field in width, its depth is 0.70 of its width
# (field of view as radiographers set it; proportions of an adult thorax)
WIDTH_OF_FIELD, DEPTH_OF_WIDTH = 0.88, 0.70
MAX_HALF_WIDTH_MM = 190.0
WALL_MM = 23.0  # chest wall between lung and skin
PLEURA_REACH_MM = 15.0  # least width (Gaussian sigma) of the wall's bend at a nodule
RIB_PITCH_MM, RIB_HEIGHT_MM, RIB_DEPTH_MM = 28.0, 12.0, 8.0
NUM_WAVES = 6


@dataclass(frozen=True)
class Raster:
    """Slices of one series and how their pixels lie in the patient.

    Attributes
    ----------
    z_mm : float (slices,)
        Ascending.
    pixel_mm, thickness_mm : float
    sign : int
        1, or -1 where rows and columns run against y and x.
    middle_mm : (float, float)
        x and y of the image's middle, between the four pixels there.
    """

    z_mm: np.ndarray
    pixel_mm: float
    thickness_mm: float
    sign: int = 1
    middle_mm: tuple = (0.0, 0.0)

    def x_of(self, column):
        """Return x of a column; pixel indices count from 0."""
        return self.middle_mm[0] + self.sign * (np.asarray(column) - MIDDLE) * self.pixel_mm

    def y_of(self, row):
        """Return y of a row."""
        return self.middle_mm[1] + self.sign * (np.asarray(row) - MIDDLE) * self.pixel_mm

    def column_of(self, x_mm):
        """Return the column of an x, not rounded."""
        return self.sign * (np.asarray(x_mm) - self.middle_mm[0]) / self.pixel_mm + MIDDLE

    def row_of(self, y_mm):
        """Return the row of a y, not rounded."""
        return self.sign * (np.asarray(y_mm) - self.middle_mm[1]) / self.pixel_mm + MIDDLE

    def part(self, start: int, stop: int) -> "Raster":
        """Return the same raster with some of the slices."""
        return replace(self, z_mm=self.z_mm[start:stop])


@dataclass(frozen=True)
class Site:
    """Where a nodule sits and what it touches.

    Attributes
    ----------
    center_mm : float (3,)
        x, y, z.
    radius_mm : float
        Of the smallest ball around its centre that holds its latent surface.
    attachment : str
        `none`, `vessel` or `wall`.
    wall_mm : float (3,)
        The point of the nodule that is nearest to the wall.
    shift_mm : float
        By how much the wall is moved there, into the lung (negative: out of it).
    """

    center_mm: np.ndarray
    radius_mm: float
    attachment: str
    wall_mm: np.ndarray
    shift_mm: float


@dataclass(frozen=True)
class Chest:
    """Sizes of one chest, in mm, and the random waves of its inner surface."""

    half_width_mm: float
    half_depth_mm: float
    bottom_mm: float
    top_mm: float
    waves: np.ndarray  # (waves, 5): wave vector x y z [1/mm], phase, amplitude [mm]
    sites: tuple = ()

    def with_sites(self, sites) -> "Chest":
        """Return the same chest with its nodules' sites."""
        return replace(self, sites=tuple(sites))


def make_chest(field_mm: float, z_range_mm: tuple, rng) -> Chest:
    """Return a random chest that fills a field of view.

    Parameters
    ----------
    field_mm : float
        Width of the image.
    z_range_mm : (float, float)
        Lowest and highest slice of the whole series.
    rng : numpy Generator
    """
    half_width = min(WIDTH_OF_FIELD * field_mm / 2, MAX_HALF_WIDTH_MM) * rng.uniform(0.96, 1.03)
    lengths = rng.uniform(25, 90, NUM_WAVES)
    directions = rng.normal(size=(NUM_WAVES, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    vectors = directions * (2 * np.pi / lengths[:, None])
    phases, amplitudes = rng.uniform(0, 2 * np.pi, NUM_WAVES), lengths / 60.0
    return Chest(
        half_width_mm=half_width,
        half_depth_mm=half_width * DEPTH_OF_WIDTH * rng.uniform(0.95, 1.05),
        bottom_mm=float(z_range_mm[0]),
        top_mm=float(z_range_mm[1]),
        waves=np.column_stack([vectors, phases, amplitudes]),
    )


def smooth_min(a, b, width: float):
    """Return the smaller of two distances, blended over `width` mm where they are close."""
    share = np.maximum(width - np.abs(a - b), 0) / width
    return np.minimum(a, b) - share * share * (width / 4)


def smooth_max(a, b, width: float):
    """Return the larger of two distances, blended over `width` mm where they are close."""
    return -smooth_min(-a, -b, width)


def ball_distance(point, center, radii):
    """Return about the signed distance to an ellipsoid; exact for a ball."""
    radii = np.broadcast_to(np.asarray(radii, np.float32), (3,))
    scaled = sum(
        ((p - c) / r) ** 2
        for p, c, r in zip(point, np.asarray(center, np.float32), radii, strict=True)
    )
    return (np.sqrt(scaled) - 1) * radii.min()


def oval_distance(x, y, half_width, half_depth):
    """Return about the signed distance to a rounded box in the axial plane (exponent 2.5)."""
    ratio = (np.abs(x / half_width) ** 2.5 + np.abs(y / half_depth) ** 2.5) ** 0.4
    return (ratio - 1) * half_depth


def skin_distance(chest: Chest, x, y, z):
    """Return the signed distance to the skin: negative in the body [mm]."""
    return oval_distance(x, y, chest.half_width_mm, chest.half_depth_mm) + 0 * z


def cage_distance(chest: Chest, x, y, z):
    """Return the signed distance to the inner side of the ribs [mm]."""
    height = (z - chest.bottom_mm) / max(chest.top_mm - chest.bottom_mm, 1.0)
    narrowing = 1 - 0.32 * np.clip((height - 0.6) / 0.4, 0, 1) ** 2
    half_width = (chest.half_width_mm - WALL_MM) * narrowing
    half_depth = (chest.half_depth_mm - WALL_MM) * (1 + narrowing) / 2
    return oval_distance(x, y - 2.0, half_width, half_depth)


def lung_distance(chest: Chest, x, y, z):
    """Return the signed distance to the lungs without regard to nodules: negative inside [mm].

    Parameters
    ----------
    chest : Chest
    x, y, z : float arrays [mm]
        Broadcast against each other.

    Returns
    -------
    float array
    """
    width, depth = chest.half_width_mm, chest.half_depth_mm
    length = chest.top_mm - chest.bottom_mm
    lung = cage_distance(chest, x, y, z)
    # Mediastinum: narrow in front and behind, wide at the great vessels and the heart.
    half = 13 + 17 * np.exp(-(((y + 5) / (0.45 * depth)) ** 2))
    lung = smooth_max(lung, half - np.abs(x - 4), 8.0)
    spine_y = depth - WALL_MM - 14
    lung = smooth_max(lung, 27 - np.hypot(x, y - spine_y) + 0 * z, 8.0)
    aorta = np.hypot(x - 24, y - spine_y + 22) - 13
    lung = smooth_max(lung, -aorta + 0 * z, 5.0)
    heart = (0.14 * width, -0.22 * depth, chest.bottom_mm + 0.30 * length)
    lung = smooth_max(lung, -ball_distance((x, y, z), heart, (0.36 * width, 0.42 * depth, 70)), 8.0)
    for side, dome in ((-1, 55.0), (1, 40.0)):
        center = (side * 0.45 * width, 0.05 * depth, chest.bottom_mm)
        radii = (0.42 * width, 0.75 * depth, dome)
        lung = smooth_max(lung, -ball_distance((x, y, z), center, radii), 8.0)
    for kx, ky, kz, phase, amplitude in chest.waves.astype(np.float32):
        lung = lung + amplitude * np.cos(kx * x + ky * y + (kz * z + phase))
    return lung


def lung_with_sites(chest: Chest, x, y, z):
    """Return the signed distance to the lungs, whose walls make room for nodules or touch them."""
    lung = lung_distance(chest, x, y, z)
    for site in chest.sites:
        if not site.shift_mm:
            continue
        reach_mm = np.float32(max(PLEURA_REACH_MM, site.radius_mm + 6, abs(site.shift_mm)))
        wall = site.wall_mm.astype(np.float32)
        distance2 = (x - wall[0]) ** 2 + (y - wall[1]) ** 2 + (z - wall[2]) ** 2
        lung = lung + np.float32(site.shift_mm) * np.exp(distance2 / (-2 * reach_mm**2))
    return lung


def wall_normal(chest: Chest, point_mm) -> np.ndarray:
    """Return the direction from a point towards the nearest wall: unit vector (x, y, z)."""
    steps = np.eye(3) * 2.0
    points = np.concatenate([point_mm + steps, point_mm - steps])
    distance = lung_with_sites(chest, *points.T)
    gradient = distance[:3] - distance[3:]
    length = np.linalg.norm(gradient)
    return gradient / length if length > 1e-6 else np.array([0.0, 1.0, 0.0])


def fit_chest(chest: Chest, points_mm: np.ndarray, radii_mm: np.ndarray) -> tuple:
    """Return the chest in a size and place that has all nodules well inside its lungs.

    Parameters
    ----------
    chest : Chest
    points_mm : float (nodules, 3)
        Centres relative to the image's middle (x, y) and in patient z.
    radii_mm : float (nodules,)

    Returns
    -------
    chest : Chest
    middle_mm : (float, float)
        x and y of the image's middle in the patient.
    """
    best = None
    for scale in (1.0, 0.94, 1.06, 0.88, 1.12):
        sized = replace(
            chest,
            half_width_mm=chest.half_width_mm * scale,
            half_depth_mm=chest.half_depth_mm * scale,
        )
        for shift_x in (0.0, 8.0, -8.0, 16.0, -16.0, 24.0, -24.0):
            for shift_y in (0.0, 10.0, -10.0, 20.0, -20.0, 30.0, -30.0):
                moved = points_mm + np.array([shift_x, shift_y, 0.0])
                outside = lung_distance(sized, *moved.T) + radii_mm + 2.0
                cost = np.maximum(outside, 0).sum() + 0.15 * np.hypot(shift_x, shift_y)
                cost += 60 * abs(scale - 1)
                if best is None or cost < best[0]:
                    best = (cost, sized, (shift_x, shift_y))
    return best[1], best[2]


def fat_distance(chest: Chest, x, y, z, skin):
    """Return the signed distance to the lean tissue inside the fat under the skin [mm]."""
    waves = chest.waves.astype(np.float32)
    layer_mm = 9 + 5 * np.cos(waves[0, 3] + 3 * np.arctan2(y, x) + waves[0, 2] * z)
    lumps = sum(np.cos(2 * (w[0] * x + w[1] * y + w[2] * z) + w[3]) for w in waves[:4])
    return np.maximum(skin + layer_mm, (lumps - 1.6) * 6)


def bone_distance(chest: Chest, x, y, z):
    """Return the signed distance to ribs, spine and breastbone [mm]."""
    depth = chest.half_depth_mm
    cage = cage_distance(chest, x, y, z)
    ring = np.abs(cage - 7.0) - RIB_DEPTH_MM / 2
    slope = (z - 0.45 * y - chest.bottom_mm) / RIB_PITCH_MM
    rib = np.abs(slope - np.round(slope)) * RIB_PITCH_MM - RIB_HEIGHT_MM / 2
    ribs = np.maximum(np.maximum(ring, rib * 0.8), 24 - np.abs(x))
    spine_y = depth - WALL_MM - 12
    spine = np.minimum(
        np.hypot(x, (y - spine_y) * 1.2) - 17,
        np.maximum(np.abs(x) * 0.5 - 9, np.abs(y - spine_y - 27) - 4),
    )
    breastbone = np.maximum(np.abs(x) - 17, np.abs(y + depth - WALL_MM + 6) - 5)
    return np.minimum(np.minimum(ribs, spine), breastbone)


def airway_distance(chest: Chest, x, y, z):
    """Return the signed distance to the windpipe, and below its fork to the main bronchi [mm]."""
    fork_mm = chest.bottom_mm + 0.62 * (chest.top_mm - chest.bottom_mm)
    below = np.maximum(fork_mm - z, 0)
    ends = 0.35 * np.minimum(below - 0, 90.0)
    across = np.minimum(np.abs(x - 2 - ends), np.abs(x - 2 + ends))
    radius = np.where(below > 70, -5.0, 8.5 - 0.04 * below)
    return np.hypot(across, y - 2) - radius
