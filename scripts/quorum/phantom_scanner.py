"""The phantom scanner: from a chest, its vessels and nodules to noisy, blurred slices in HU."""

import functools

import numpy as np
from scipy import fft, ndimage

from quorum.phantom_body import (
    AXIAL_PIXELS,
    Chest,
    Raster,
    airway_distance,
    bone_distance,
    fat_distance,
    lung_with_sites,
    skin_distance,
)
from quorum.phantom_vessels import draw_tubes

AIR_HU, FAT_HU, LEAN_HU, BONE_HU, VESSEL_HU = -1000.0, -100.0, 45.0, 330.0, 50.0
# ASSUME: lung is -880 HU in front and 40 HU denser at the back, with 12 HU of fine texture
# (supine adults at full inspiration)
LUNG_HU, LUNG_GRADIENT_HU, LUNG_TEXTURE_HU = -865.0, 40.0, 12.0
# ASSUME: the plane's point spread is a Gaussian of 0.6 mm sigma (a standard kernel, MTF 50 % at
# about 3 line pairs a cm)
BLUR_SIGMA_MM = 0.6
# ASSUME: noise power rises with frequency and ends at 0.6 of the pixels' limit (filtered back
# projection: ramp times a smooth apodisation)
NOISE_END = 0.6
HU_RANGE = (-1024, 3071)
COARSE = 4  # pixels between the places where smooth anatomy is evaluated
NUM_NODES = AXIAL_PIXELS // COARSE + 1


def render_slices(chest: Chest, raster: Raster, tubes, bodies: list, texture) -> np.ndarray:
    """Return slices without noise, after the plane's blur: float32 (slices, rows, columns) [HU].

    Parameters
    ----------
    chest : Chest
    raster : Raster
        The slices to render.
    tubes : float (tubes, 8)
    bodies : list of Body
        Their boxes count slices from the raster's first one (negative: begins before it).
    texture : float32 (slices, nodes, nodes)
        Fine structure of the lung, standard deviation 1.
    """
    share = draw_tubes(tubes, raster)
    surfaces = coarse_surfaces(chest, raster)
    rows_mm = raster.y_of(np.arange(AXIAL_PIXELS)).astype(np.float32)
    gradient = (LUNG_GRADIENT_HU * rows_mm / chest.half_depth_mm)[:, None]
    image = np.empty_like(share)
    sigma = BLUR_SIGMA_MM / raster.pixel_mm
    for index in range(len(raster.z_mm)):
        fields = {name: enlarge(field[index]) for name, field in surfaces.items()}
        lung = LUNG_HU + gradient + LUNG_TEXTURE_HU * enlarge(texture[index])
        plane = compose(fields, lung, share[index])
        add_bodies(plane, index, bodies)
        image[index] = ndimage.gaussian_filter(plane, sigma, mode="nearest", truncate=3)
    return image


def coarse_surfaces(chest: Chest, raster: Raster) -> dict:
    """Return each surface's distance in edge widths at every 4th pixel: (slices, nodes, nodes).

    The edge of a surface that is slanted against the slice is as wide as the slice cuts it.
    """
    nodes = np.arange(NUM_NODES) * COARSE
    x = raster.x_of(nodes).astype(np.float32)[None, None, :]
    y = raster.y_of(nodes).astype(np.float32)[None, :, None]
    z = raster.z_mm.astype(np.float32)[:, None, None]
    quarter = np.float32(raster.thickness_mm / 4)
    low, high = (lung_with_sites(chest, x, y, z + step) for step in (-quarter, quarter))
    skin = skin_distance(chest, x, y, z)
    distances = {
        "skin": skin,
        "lean": fat_distance(chest, x, y, z, skin),
        "bone": bone_distance(chest, x, y, z),
        "airway": airway_distance(chest, x, y, z),
    }
    width = np.float32(raster.pixel_mm)
    surfaces = {name: distance / width for name, distance in distances.items()}
    surfaces["lung"] = (low + high) / 2 / (width + 2 * np.abs(high - low))
    return surfaces


def enlarge(nodes: np.ndarray) -> np.ndarray:
    """Return values at every pixel from those at every 4th one, linearly: float32 (512, 512)."""
    wide = np.empty((NUM_NODES, AXIAL_PIXELS), np.float32)
    step = np.diff(nodes, axis=1)
    for part in range(COARSE):
        wide[:, part::COARSE] = nodes[:, :-1] + np.float32(part / COARSE) * step
    full = np.empty((AXIAL_PIXELS, AXIAL_PIXELS), np.float32)
    step = np.diff(wide, axis=0)
    for part in range(COARSE):
        full[part::COARSE] = wide[:-1] + np.float32(part / COARSE) * step
    return full


def compose(fields: dict, lung_hu: np.ndarray, vessel_share: np.ndarray) -> np.ndarray:
    """Return one slice of the body without its nodules, in HU."""
    shares = {name: np.clip(0.5 - field, 0, 1) for name, field in fields.items()}
    plane = FAT_HU + (LEAN_HU - FAT_HU) * shares["lean"]
    # Bone is denser at its surface, within about 3 pixels.
    shell = np.clip(1 - np.abs(fields["bone"] + 2.0) / 3.0, 0, 1)
    plane += shares["bone"] * (BONE_HU - 160 + 450 * shell - plane)
    plane = AIR_HU + shares["skin"] * (plane - AIR_HU)
    plane += shares["lung"] * (lung_hu - plane)
    plane += shares["airway"] * (AIR_HU - plane)
    plane += vessel_share * np.maximum(VESSEL_HU - plane, 0)
    return plane.astype(np.float32)


def add_bodies(plane: np.ndarray, index: int, bodies: list):
    """Put the nodules' parts of one slice in place."""
    for body in bodies:
        part = index - body.start_zyx[0]
        if not 0 <= part < len(body.share):
            continue
        share, hu = body.share[part], body.hu[part]
        row, column = body.start_zyx[1:]
        first_row, first_column = max(row, 0), max(column, 0)
        view = plane[first_row : row + share.shape[0], first_column : column + share.shape[1]]
        cut = (slice(first_row - row, None), slice(first_column - column, None))
        share = share[cut][: view.shape[0], : view.shape[1]]
        view += share * (hu[cut][: view.shape[0], : view.shape[1]] - view)


def lung_texture(num_slices: int, rng) -> np.ndarray:
    """Return smooth random structure of standard deviation 1: float32 (slices, nodes, nodes)."""
    field = rng.standard_normal((num_slices, NUM_NODES, NUM_NODES), np.float32)
    field = ndimage.gaussian_filter(field, (1.0, 0.6, 0.6), mode="wrap", truncate=3)
    return field / field.std()


@functools.cache
def noise_filter() -> np.ndarray:
    """Return noise amplitude by spatial frequency, for unit variance: (rows, columns / 2 + 1)."""
    rows = fft.fftfreq(AXIAL_PIXELS)[:, None] * 2
    columns = fft.rfftfreq(AXIAL_PIXELS)[None, :] * 2
    radius = np.hypot(rows, columns)
    # Power ~ frequency, so amplitude ~ its root; the offset leaves some slow noise.
    amplitude = np.sqrt(radius + 0.02) * np.cos(np.pi / 2 * np.clip(radius / NOISE_END, 0, 1))
    # Columns between the first and the last stand for two frequencies.
    twice = np.full(columns.shape[1], 2.0)
    twice[[0, -1]] = 1.0
    power = (amplitude**2 * twice).sum() / AXIAL_PIXELS**2
    return (amplitude / np.sqrt(power)).astype(np.float32)


def noise_slices(num_slices: int, *, sigma_hu: float, carry: float, previous, rng) -> np.ndarray:
    """Return correlated noise: float32 (slices, rows, columns) [HU].

    Parameters
    ----------
    num_slices : int
    sigma_hu : float
        Standard deviation in every slice.
    carry : float
        Correlation with the slice below (thick slices that overlap share their photons).
    previous : float32 (rows, columns) or None
        The slice below the first one.
    rng : numpy Generator
    """
    noise = np.empty((num_slices, AXIAL_PIXELS, AXIAL_PIXELS), np.float32)
    for index in range(num_slices):
        white = rng.standard_normal((AXIAL_PIXELS, AXIAL_PIXELS), np.float32)
        spectrum = fft.rfft2(white, workers=1, overwrite_x=True)
        fresh = fft.irfft2(spectrum * noise_filter(), workers=1, overwrite_x=True) * sigma_hu
        if previous is None or carry <= 0:
            noise[index] = fresh
        else:
            noise[index] = carry * previous + np.sqrt(1 - carry**2) * fresh
        previous = noise[index]
    return noise


def to_pixels(image_hu: np.ndarray) -> np.ndarray:
    """Return HU as whole numbers within a CT scanner's range: int16."""
    return np.clip(np.rint(image_hu), *HU_RANGE).astype(np.int16)
