"""What is done to a network's probability before it is an answer, chosen on the validation fold.

In this order, each of them or not:

crf        a fully connected conditional random field (quorum.crf)
           then every voxel at or above the threshold
component  of those only the connected component nearest to the click
holes      and what it encloses

A choice is written as its steps joined by `+`, or as `none`.
"""

from itertools import combinations

import numpy as np
from scipy import ndimage

from quorum.crf import crf_probability

STEPS = ("crf", "component", "holes")
NONE = "none"


def choices(steps) -> list:
    """Return the names of every choice among some steps, those of fewest steps first."""
    steps = [step for step in STEPS if step in steps]
    chosen = [c for size in range(len(steps) + 1) for c in combinations(steps, size)]
    return ["+".join(c) or NONE for c in chosen]


def nearest_component(mask, point) -> np.ndarray:
    """Return the 6-connected component of a mask that is nearest to a point.

    Parameters
    ----------
    mask : bool (z, y, x)
    point : float (3,)
        In voxels (z, y, x).

    Returns
    -------
    bool (z, y, x)
        Empty where the mask is.
    """
    labels, count = ndimage.label(mask)
    if count < 2:
        return np.asarray(mask, bool)
    at = np.argwhere(labels)
    nearest = at[np.argmin(((at - np.asarray(point)) ** 2).sum(1))]
    return labels == labels[tuple(nearest)]


def fill_holes(mask) -> np.ndarray:
    """Return a mask with all that it encloses on every side: bool (z, y, x)."""
    labels, _ = ndimage.label(np.pad(~mask, 1, constant_values=True))
    return (labels != labels[0, 0, 0])[1:-1, 1:-1, 1:-1]


def finish_mask(mask, choice: str, point) -> np.ndarray:
    """Return a mask after the steps of a choice that follow the threshold.

    Parameters
    ----------
    mask : bool (z, y, x)
    choice : str
        Of `choices`.
    point : float (3,)
        In voxels (z, y, x): the click.
    """
    steps = choice.split("+")
    if ("component" not in steps and "holes" not in steps) or not mask.any():
        return mask
    # In the mask's own box alone: a nodule is a small part of its crop.
    window = ndimage.find_objects(mask.astype(np.uint8))[0]
    inner, finished = mask[window], np.zeros_like(mask)
    if "component" in steps:
        inner = nearest_component(inner, np.asarray(point) - [w.start for w in window])
    finished[window] = fill_holes(inner) if "holes" in steps else inner
    return finished


def finish_share(share, image, *, choice: str, threshold: float, point) -> np.ndarray:
    """Return a probability whose voxels at or above the threshold are the finished mask.

    What a step removes becomes 0, what it fills just reaches the threshold.

    Parameters
    ----------
    share : float32 (z, y, x)
        Probability.
    image : float (z, y, x)
        Brightness, -1 to 1; for the conditional random field.
    choice : str
    threshold : float
    point : float (3,)
        In voxels (z, y, x): the click.
    """
    if "crf" in choice.split("+"):
        share = crf_probability(share, image)
    mask = share >= threshold
    finished = finish_mask(mask, choice, point)
    # Predictions are stored as float16: a value that is not below the threshold there either.
    least = np.float16(threshold)
    least = least if least >= threshold else np.nextafter(least, np.float16(1))
    share = np.where(mask & ~finished, np.float32(0), share)
    return np.where(finished & ~mask, np.float32(least), share)
