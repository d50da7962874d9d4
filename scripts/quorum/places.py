"""Where in the chest a crop lies, as three more channels beside its image.

z   -1 at the lowest slice of the whole series, 1 at its highest
y   LPS y / 200 mm, back positive
x   LPS x / 200 mm, left positive
"""

import numpy as np
import torch

from quorum.errors import InputError
from quorum.tables import read_table

# ASSUME: the patient lies at the scanner's isocentre, so LPS x and y are measured from the middle
# of the chest, which is about 200 mm from there to the skin (choice; no outline of the lung comes
# with the cubes). A chest CT spans the lung from top to bottom, so z is a share of the series.
HALF_WIDTH_MM = 200.0
NUM_CHANNELS = 3


def cube_places(centers_lps_mm, series_uids, *, slices, spacing_mm: float) -> np.ndarray:
    """Return the place of each cube's middle, and how far a voxel moves it.

    Parameters
    ----------
    centers_lps_mm : float (n, 3)
        LPS x, y, z of the cubes' middles.
    series_uids : list of str
        The annotated series of each cube.
    slices : DataFrame
        The table slices.
    spacing_mm : float
        Of the cubes' voxels.

    Returns
    -------
    float32 (n, 2, 3)
        Place and step a voxel, (z, y, x).

    Raises
    ------
    InputError
        When a series has no slices in the table.
    """
    ends = slices.groupby("series_uid")["z_mm"].agg(["min", "max"])
    lacking = sorted({uid for uid in series_uids if uid not in ends.index})
    if lacking:
        raise InputError(
            f"the series {lacking[0]} ({len(lacking)} in all) has no slices in the table",
            "slices.parquet of the same cohort",
            "make it again with list_series",
        )
    bottom, top = ends.loc[list(series_uids)].to_numpy().T
    half_height_mm = np.maximum((top - bottom) / 2, spacing_mm)
    x, y, z = np.asarray(centers_lps_mm, float).reshape(-1, 3).T
    place = [(z - (top + bottom) / 2) / half_height_mm, y / HALF_WIDTH_MM, x / HALF_WIDTH_MM]
    width = np.full_like(half_height_mm, HALF_WIDTH_MM)
    step = [spacing_mm / half_height_mm, spacing_mm / width, spacing_mm / width]
    return np.stack([np.stack(place, 1), np.stack(step, 1)], 1).astype(np.float32)


def add_places(cubes, settings: dict, slices_paths):
    """Give a CubeSet the places of its cubes, where the plan's inputs hold them.

    Every store made of the set then carries them, and its inputs have them as channels.

    Parameters
    ----------
    cubes : quorum.shards.CubeSet
    settings : dict
        The plan's.
    slices_paths : list of str or None
        At most one: the table slices.

    Raises
    ------
    InputError
        When the table is needed and not given, or lacks a series.
    """
    if settings["inputs"] != "position":
        return
    if not slices_paths:
        raise InputError(
            "the experiment's inputs hold the position, and no table of slices was given",
            "slices.parquet of list_series",
            "add --slices",
        )
    cubes.places = cube_places(
        cubes.center_lps_mm,
        [str(uid) for uid in cubes.source_series_uid],
        slices=read_table(slices_paths[0], "slices"),
        spacing_mm=cubes.spacing_mm,
    )


def crop_places(place, cube_vox, draw, crop_vox) -> torch.Tensor:
    """Return the place of each crop's middle; flipped where its crop is, as a mirrored chest.

    Parameters
    ----------
    place : float32 (n, 2, 3)
        Of `cube_places`.
    cube_vox, crop_vox : tuple of int
    draw : quorum.batches.Draw

    Returns
    -------
    float32 (batch, 3)
    """
    device = place.device
    sides = torch.tensor([crop_vox, cube_vox], dtype=torch.float32, device=device)
    moved = draw.start.to(device) + (sides[0] - sides[1]) / 2
    center, step = place[draw.cube.to(device)].unbind(1)
    found = center + moved * step
    return torch.where(draw.is_flipped.to(device), -found, found)


def with_places(image, store, draw, crop_vox):
    """Return images (batch, 1, z, y, x), with their places as channels where the store has them."""
    if store.place is None:
        return image
    found = crop_places(store.place, store.cube_vox, draw, crop_vox)
    spread = found[:, :, None, None, None].expand(-1, -1, *image.shape[2:])
    return torch.cat([image, spread], dim=1)
