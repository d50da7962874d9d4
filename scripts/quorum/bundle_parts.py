"""What a MONAI bundle of ours needs beside MONAI: network, crop at a point, post-processing.

This file and what it imports from this project are copied into the bundle's folder scripts.
"""

import numpy as np
import torch
from monai.transforms import Crop, MapTransform
from monai.transforms.croppad.dictionary import Cropd

from quorum.networks import build_network
from quorum.postprocessing import finish_share


class ProbabilityNetwork(torch.nn.Module):
    """A network of the catalogue whose output is one probability.

    Parameters
    ----------
    network : dict
        The plan's `network:` block.
    num_outputs : int
        Heads; the probability is their mean.
    temperature : float
        What logits are divided by, chosen on the validation fold.
    """

    def __init__(self, network: dict, num_outputs: int = 1, temperature: float = 1.0):
        super().__init__()
        self.temperature = temperature
        self.network = build_network(network, 1, num_outputs)

    def forward(self, image):
        """Return the probability (batch, 1, z, y, x) of images (batch, 1, z, y, x) in -1 .. 1."""
        return torch.sigmoid(self.network(image) / self.temperature).mean(1, keepdim=True)


class CropAtPointd(Cropd):
    """Crop around a point that travels with the image, kept inside the image where it fits.

    Parameters
    ----------
    keys : str or list of str
    point_key : str
        The point in voxels of the image, (1, 3) or (1, 1, 3).
    size : (int, int, int)
    """

    def __init__(self, keys, point_key: str, size):
        super().__init__(keys, cropper=Crop())
        self.point_key, self.size = point_key, np.array(size)

    def __call__(self, data, lazy=None):
        """Return the data with its keys cropped."""
        point = np.asarray(data[self.point_key], float).reshape(-1)[:3]
        whole = np.array(data[self.first_key(data)].shape[1:])
        if not ((point > -1) & (point < whole)).all():
            raise ValueError(
                f"the point lies at voxel {np.round(point, 1).tolist()} (z, y, x), outside the "
                f"image of {whole.tolist()}; expected a point of the image in LPS mm; to mend it, "
                "correct point_lps_mm"
            )
        first = np.round(point - (self.size - 1) / 2).astype(int)
        first = np.clip(first, 0, np.maximum(whole - self.size, 0))
        slices = Crop.compute_slices(roi_start=first, roi_end=np.minimum(first + self.size, whole))
        result = dict(data)
        for key in self.key_iterator(data):
            result[key] = self.cropper(data[key], slices)
        return result


class FinishShared(MapTransform):
    """Do to a crop's probability what the validation fold chose, around the image's point.

    Parameters
    ----------
    keys : str or list of str
        Probabilities (1, z, y, x).
    image_key : str
        The network's input of the same crop.
    point_key : str
        The point in LPS mm.
    choice : str
        Of quorum.postprocessing.
    threshold : float
    """

    def __init__(self, keys, image_key: str, point_key: str, choice: str, threshold: float):
        super().__init__(keys)
        self.image_key, self.point_key = image_key, point_key
        self.choice, self.threshold = choice, threshold

    def __call__(self, data):
        """Return the data with its keys changed."""
        result, image = dict(data), data[self.image_key]
        # The affine of MONAI's images is RAS.
        ras = np.asarray(data[self.point_key], float).reshape(-1)[:3] * (-1, -1, 1)
        point = np.linalg.solve(np.asarray(image.affine, float), [*ras, 1])[:3]
        for key in self.key_iterator(data):
            finished = finish_share(
                np.asarray(data[key][0].cpu(), np.float32),
                np.asarray(image[0].cpu(), np.float32),
                choice=self.choice,
                threshold=self.threshold,
                point=point,
            )
            result[key] = data[key].clone()
            result[key][0] = torch.as_tensor(finished, device=data[key].device)
        return result
