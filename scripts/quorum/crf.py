"""A fully connected conditional random field over a crop, by mean field, in plain NumPy.

Every voxel is tied to every other by two Gaussian kernels: one over places (neighbours agree) and
one over places and brightness (alike voxels agree). The second is filtered on a bilateral grid, so
an iteration takes time in proportion to the voxels, not to their pairs.
Source: Kraehenbuhl and Koltun 2011, arXiv 1210.5644; the grid: Paris and Durand 2006
(10.1007/11744085_44).
"""

import numpy as np
from scipy import ndimage

# ASSUME: widths and weights of the two kernels, and the iterations: usual values of the method,
# none tuned here. Whether the step is used at all is chosen on the validation fold.
PLACE_VOX, PLACE_WEIGHT = 1.5, 1.0
ALIKE_VOX, ALIKE_BRIGHTNESS, ALIKE_WEIGHT = 8.0, 0.15, 2.0
NUM_ITERATIONS = 5
SMALLEST = 1e-4
GRID_MARGIN = 2


def crf_probability(share, image) -> np.ndarray:
    """Return the probability after mean-field inference of a fully connected CRF.

    Parameters
    ----------
    share : float (z, y, x)
        Probability of each voxel by itself.
    image : float (z, y, x)
        Brightness, -1 to 1.

    Returns
    -------
    float32 (z, y, x)
    """
    share = np.clip(np.asarray(share, np.float64), SMALLEST, 1 - SMALLEST)
    alone = np.log(share / (1 - share))
    alike = make_alike_filter(np.asarray(image, np.float64))
    for _ in range(NUM_ITERATIONS):
        signs = 2 * share - 1  # two labels: a neighbour's vote for inside, less that for outside
        near = ndimage.gaussian_filter(signs, PLACE_VOX, mode="nearest")
        share = 1 / (1 + np.exp(-(alone + PLACE_WEIGHT * near + ALIKE_WEIGHT * alike(signs))))
    return share.astype(np.float32)


def make_alike_filter(image):
    """Return a function that averages values over voxels near in place and brightness."""
    axes = [np.arange(side) / ALIKE_VOX for side in image.shape]
    places = [p.ravel() for p in np.meshgrid(*axes, indexing="ij")]
    places.append((image.ravel() - image.min()) / ALIKE_BRIGHTNESS)
    places = np.stack(places) + GRID_MARGIN
    shape = tuple(int(p.max()) + 2 + GRID_MARGIN for p in places)
    cells = np.ravel_multi_index(tuple(np.floor(places + 0.5).astype(int)), shape)

    def blur(values):
        summed = np.bincount(cells, values.ravel(), int(np.prod(shape))).reshape(shape)
        return ndimage.gaussian_filter(summed, 1.0, mode="constant")

    total = blur(np.ones(image.shape))

    def average(values):
        mean = blur(values) / np.maximum(total, 1e-9)
        return ndimage.map_coordinates(mean, places, order=1).reshape(image.shape)

    return average
