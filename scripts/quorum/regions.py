"""A trained network on any region of a scan: one crop, or windows slid over it.

A region is a grid of the model's spacing, parallel to the series, its axes towards +z, +y, +x.
"""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch
from scipy import ndimage

from quorum.augmentation import normalise
from quorum.cubes import read_cube
from quorum.errors import InputError
from quorum.evaluation import flip_sets, pick_answer, probability
from quorum.geometry import Geometry, cube_geometry
from quorum.postprocessing import finish_share
from quorum.predicting import load_network

SLAB_VOX = 48  # a whole scan is resampled in slabs, so that memory stays small
BATCH = 4


@dataclass(frozen=True)
class Region:
    """Where a model is applied.

    Attributes
    ----------
    name : str
        Of the output files.
    geometry : Geometry
    point_zyx_vox : float (3,) or None
        The click; None for a whole scan, where there is none.
    inside : tuple of slices, or None
        The part of the grid that was asked for; None: all.
    """

    name: str
    geometry: Geometry
    point_zyx_vox: np.ndarray | None = None
    inside: tuple | None = None


def refuse_unfit(model: dict):
    """Raise an InputError when a model can't be applied to a series without its annotations."""
    settings = model["settings"]
    if settings["method"] != "network":
        raise InputError(
            f"{model['experiment']} is a baseline ({settings['method']})", "a network's model.pt",
            "choose another model",
        )  # fmt: skip
    if settings["inputs"] != "image":
        raise InputError(
            f"the network of {model['experiment']} sees {settings['inputs']}, not the image alone",
            "a network with inputs: image",
            "choose another model",
        )


def point_region(scan, point_lps_mm, *, model: dict, name: str) -> Region:
    """Return the crop around a point; InputError when the scan doesn't hold the point."""
    point, geometry = np.asarray(point_lps_mm, float), scan.raster.geometry
    refuse_outside(geometry, point)
    shape, spacing = tuple(model["settings"]["crop_vox"]), model["spacing_mm"]
    # As in training: the click lies on the voxel half the crop from its first.
    shift = (np.array(shape) // 2 - (np.array(shape) - 1) / 2) * spacing
    center = point - geometry.canonical().direction @ shift[::-1]
    grid = cube_geometry(geometry, center, shape=shape, spacing_mm=spacing)
    return Region(name, grid, np.array(shape) // 2)


def box_region(scan, low_lps_mm, high_lps_mm, *, model: dict, name: str) -> Region:
    """Return the region around a box, at least a crop; InputError for an empty or outer box."""
    low, high = np.asarray(low_lps_mm, float), np.asarray(high_lps_mm, float)
    if not (high > low).all():
        raise InputError(
            f"the box from {low.tolist()} to {high.tolist()} mm is empty",
            "x0 y0 z0 x1 y1 z1 with every second corner above the first",
            "correct --box-lps-mm",
        )
    middle, spacing = (low + high) / 2, model["spacing_mm"]
    refuse_outside(scan.raster.geometry, middle)
    wanted = np.ceil((high - low)[::-1] / spacing).astype(int)
    shape = np.maximum(wanted, model["settings"]["crop_vox"])
    grid = cube_geometry(scan.raster.geometry, middle, shape=tuple(shape), spacing_mm=spacing)
    start = (shape - wanted) // 2
    inside = tuple(slice(int(a), int(a + n)) for a, n in zip(start, wanted, strict=True))
    return Region(name, grid, (shape - 1) / 2, inside)


def whole_region(scan, *, model: dict, name: str) -> Region:
    """Return the region of a whole scan."""
    geometry, spacing = scan.raster.geometry.canonical(), model["spacing_mm"]
    ends = [(axis.lower_mm[0], axis.upper_mm[-1]) for axis in geometry.axes]
    middle = geometry.to_lps_mm([(low + high) / 2 for low, high in ends])
    shape = [int(np.ceil((high - low) / spacing)) for low, high in ends]
    shape = tuple(np.maximum(shape, model["settings"]["crop_vox"]))
    grid = cube_geometry(scan.raster.geometry, middle, shape=shape, spacing_mm=spacing)
    return Region(name, grid)


def refuse_outside(geometry: Geometry, point):
    """Raise an InputError when a scan doesn't hold a point, or it is no point."""
    pairs = zip(geometry.axes, geometry.along_axes_mm(point), strict=True)
    if not all(axis.lower_mm[0] <= place <= axis.upper_mm[-1] for axis, place in pairs):
        corners = [[axis.lower_mm[0] for axis in geometry.axes],
                   [axis.upper_mm[-1] for axis in geometry.axes]]  # fmt: skip
        ends = [np.round(geometry.to_lps_mm(corner), 1).tolist() for corner in corners]
        raise InputError(
            f"the point {np.round(point, 2).tolist()} lies outside of the scan",
            f"x, y, z in LPS mm between {ends[0]} and {ends[1]}",
            "correct the point (other programs show RAS: turn the signs of x and y)",
        )


def read_region(scan, region: Region) -> tuple:
    """Return a region's image, int16 [HU], and coverage, uint8, read in slabs of slices."""
    shape, image, coverage = region.geometry.shape, [], []
    for first in range(0, shape[0], SLAB_VOX):
        box = ((first, min(first + SLAB_VOX, shape[0])), (0, shape[1]), (0, shape[2]))
        hu, covered = read_cube(scan, region.geometry.part(box))
        image.append(hu)
        coverage.append(covered)
    return np.concatenate(image), np.concatenate(coverage)


def region_probability(model: dict, image, *, is_flipped: bool, overlap: float) -> np.ndarray:
    """Return a network's probability of a region: one crop, or crops slid over it.

    Parameters
    ----------
    model : dict
    image : int16 (z, y, x) [HU]
        At least a crop.
    is_flipped : bool
        Average over flips of the axes that the network was trained to flip.
    overlap : float
        Of neighbouring windows, from 0 to below 1; they are blended by a Gaussian.

    Returns
    -------
    float32 (z, y, x)
    """
    from monai.inferers import SlidingWindowInferer

    settings = model["settings"]
    network, device = load_network(model, cubes=SimpleNamespace(shape_vox=image.shape))
    flips = flip_sets(settings["flip_axes"] if is_flipped else []).tolist()
    axes = [[axis + 2 for axis in range(3) if flip[axis]] for flip in flips]

    def predict(windows):
        windows = windows.to(device)
        parts = [probability(network(windows.flip(f)), model["temperature"])[:, None].flip(f)
                 for f in axes]  # fmt: skip
        return torch.stack(parts).mean(0).cpu()

    slide = SlidingWindowInferer(
        roi_size=tuple(settings["crop_vox"]), sw_batch_size=BATCH, overlap=overlap, mode="gaussian"
    )
    inputs = normalise(torch.from_numpy(image).float(), settings["hu_window"])
    with torch.inference_mode():
        return slide(inputs[None, None], predict)[0, 0].numpy()


def predict_region(model: dict, scan, region: Region, *, has_flips: bool, overlap: float) -> dict:
    """Return image, coverage, probability and answer of a region.

    The answer is post-processed as the model's validation fold wanted it where there is a click;
    a whole scan has none, so there every voxel at or above the threshold counts.

    Returns
    -------
    dict
        image (int16), coverage (uint8), probability (float32), mask (bool), each (z, y, x).
    """
    image, coverage = read_region(scan, region)
    answer = pick_answer(model, has_flips)
    share = region_probability(model, image, is_flipped=answer["is_flipped"], overlap=overlap)
    if region.point_zyx_vox is not None:
        shown = normalise(torch.from_numpy(image).float(), model["settings"]["hu_window"]).numpy()
        share = finish_share(
            share, shown, choice=answer["postprocess"], threshold=answer["threshold"],
            point=region.point_zyx_vox,
        )  # fmt: skip
    share = np.where(coverage > 0, share, np.float32(0))
    if region.inside is not None:
        kept = np.zeros_like(share)
        kept[region.inside] = share[region.inside]
        share = kept
    mask = share >= answer["threshold"]
    return {"image": image, "coverage": coverage, "probability": share, "mask": mask}


def found_rows(region: Region, found: dict) -> list:
    """Return a row for each connected part of a region's answer, largest first."""
    labels, count = ndimage.label(found["mask"])
    spacing = region.geometry.spacing_mm[0]
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    windows, rows = ndimage.find_objects(labels), []
    for place in np.argsort(-sizes, kind="stable"):
        window = windows[place]
        part = labels[window] == place + 1
        middle = np.argwhere(part).mean(0) + [w.start for w in window]
        share, volume = found["probability"][window][part], float(sizes[place] * spacing**3)
        ends = zip(window, labels.shape, strict=True)
        rows.append({
            "region": region.name,
            "part": len(rows) + 1,
            "center_lps_mm": [round(float(v), 3) for v in region.geometry.index_to_lps(middle)],
            "volume_mm3": volume,
            "diameter_mm": (6 * volume / np.pi) ** (1 / 3),
            "mean_probability": float(share.mean()),
            "max_probability": float(share.max()),
            "is_truncated": any(w.start == 0 or w.stop == side for w, side in ends),
        })  # fmt: skip
    return rows
