"""What is done to a network's probability before it is an answer, chosen on the validation fold.

none       every voxel at or above the threshold
component  of those only the connected component nearest to the click
"""

import numpy as np
from scipy import ndimage

STEPS = ("none", "component")


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


def keep_component(share, threshold: float, point) -> np.ndarray:
    """Return a probability that is 0 in every component but the one nearest to a point.

    Parameters
    ----------
    share : float (z, y, x)
        Probability; voxels below the threshold stay as they are.
    threshold : float
    point : float (3,)
        In voxels (z, y, x).
    """
    mask = share >= threshold
    return np.where(mask & ~nearest_component(mask, point), 0, share).astype(share.dtype)
