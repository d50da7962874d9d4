"""One phantom patient on a real series' raster, and its slices as the scanner delivers them."""

import hashlib
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from quorum.phantom_body import AXIAL_PIXELS, Chest, Raster, fit_chest, make_chest
from quorum.phantom_nodules import draw_latent, make_body, place_site
from quorum.phantom_scanner import lung_texture, noise_slices, render_slices, to_pixels
from quorum.phantom_vessels import grow_vessels

CUBE_HALF_MM = 20.0  # a cube is 40 mm high
CHUNK_SLICES = 16  # rendered at a time, about 150 MB


def generator(seed: int, *words) -> np.random.Generator:
    """Return a generator that depends on the seed and these words, and on nothing else."""
    digest = hashlib.sha256("\n".join(map(str, (seed, *words))).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def slab_of(nodules: pd.DataFrame, z_mm: np.ndarray) -> np.ndarray:
    """Return z of the slices from the lowest to the highest that any nodule's cube reaches.

    One slice more at each end, so that the cube's ends lie between slices.
    """
    low = np.minimum(nodules["center_z_mm"] - CUBE_HALF_MM, nodules["min_z_mm"]).min()
    high = np.maximum(nodules["center_z_mm"] + CUBE_HALF_MM, nodules["max_z_mm"]).max()
    first = max(int(np.searchsorted(z_mm, low, "left")) - 1, 0)
    stop = min(int(np.searchsorted(z_mm, high, "right")) + 1, len(z_mm))
    return z_mm[first:stop]


class Patient(NamedTuple):
    """What lies in front of the scanner.

    Attributes
    ----------
    raster : Raster
        The slab's, now placed in the patient.
    chest : Chest
        With its nodules' sites.
    tubes : float (tubes, 8)
        Vessels.
    latents : dict of str to Latent
        True surfaces by nodule_id.
    bodies : list of Body
    """

    raster: Raster
    chest: Chest
    tubes: np.ndarray
    latents: dict
    bodies: list


def make_patient(nodules, outlines: dict, raster: Raster, z_range_mm: tuple, seed: int) -> Patient:
    """Return one phantom patient, whose chest stands around the readers' nodules.

    Parameters
    ----------
    nodules : DataFrame
        Rows of the plan that belong to one series.
    outlines : dict of str to list of Outline
    raster : Raster
        The slab's, in the image's middle.
    z_range_mm : (float, float)
        Of the whole series.
    seed : int
    """
    uid = nodules["series_uid"].iloc[0]
    chest = make_chest(AXIAL_PIXELS * raster.pixel_mm, z_range_mm, generator(seed, uid, "chest"))
    centers = np.column_stack(
        [
            raster.x_of(nodules["center_column_px"].to_numpy(float)),
            raster.y_of(nodules["center_row_px"].to_numpy(float)),
            nodules["center_z_mm"].to_numpy(float),
        ]
    )
    chest, middle_mm = fit_chest(chest, centers, nodules["diameter_mm"].to_numpy(float) / 2)
    raster = replace(raster, middle_mm=middle_mm)
    latents, bodies = {}, []
    for row in nodules.sort_values("nodule_id").itertuples():
        rng = generator(seed, row.nodule_id)
        latent = draw_latent([outlines[key] for key in row.annotation_ids], raster, rng)
        site = place_site(latent, raster, chest, rng)
        chest = chest.with_sites((*chest.sites, site))
        ratings = {"texture": row.texture_median, "calcification": row.calcification_median}
        bodies.append(make_body(latent, raster, known_ratings(ratings), rng))
        latent.notes.update(attachment=site.attachment, body_hu=mean_hu(latent, bodies[-1]))
        latents[row.nodule_id] = latent
    tubes = grow_vessels(chest, raster, generator(seed, uid, "vessels"))
    return Patient(raster, chest, tubes, latents, bodies)


def known_ratings(ratings: dict) -> dict:
    """Return the ratings with solid tissue and no calcification where a reader gave none."""
    usual = {"texture": 5.0, "calcification": 6.0}
    return {key: usual[key] if pd.isna(value) else float(value) for key, value in ratings.items()}


def mean_hu(latent, body) -> float:
    """Return the mean attenuation inside a nodule's true surface [HU]."""
    start = latent.start_zyx[0] - body.start_zyx[0]
    return float(body.hu[start : start + len(latent.mask)][latent.mask].mean())


def render_chunks(patient: Patient, noise_hu: float, rng):
    """Yield (first slice, int16 HU (slices, rows, columns)) for a few slices at a time."""
    raster = patient.raster
    spacing = np.median(np.diff(raster.z_mm)) if len(raster.z_mm) > 1 else raster.thickness_mm
    carry = float(np.clip(1 - spacing / raster.thickness_mm, 0, 0.9))
    previous = None
    for start in range(0, len(raster.z_mm), CHUNK_SLICES):
        part = raster.part(start, start + CHUNK_SLICES)
        count = len(part.z_mm)
        near = [body.moved(start) for body in patient.bodies]
        texture = lung_texture(count, rng)
        image = render_slices(patient.chest, part, patient.tubes, near, texture)
        noise = noise_slices(count, sigma_hu=noise_hu, carry=carry, previous=previous, rng=rng)
        previous = noise[-1]
        yield start, to_pixels(image + noise)
