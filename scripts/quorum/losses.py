"""Losses in which voxels that the scan does not cover never count.

MONAI's losses know no mask by voxel. A logit of HIDDEN_LOGIT beside a target of 0 adds exactly
nothing to Dice's and Tversky's sums and, within 1e-12, nothing to the focal loss, and passes no
gradient; means over voxels are then taken over the covered ones.
"""

import functools

import numpy as np
import torch
from monai.losses import DiceLoss, FocalLoss, TverskyLoss
from scipy import ndimage

HIDDEN_LOGIT = -30.0
HALF = 0.5
# ASSUME: each output of a deeper level counts half of the one before (Isensee 2021, nnU-Net).
DEEPER_COUNTS = 0.5


def network_loss(compute, network, batch: tuple, *, losses: dict, speed):
    """Return the plan's losses of a network's output, or what the network makes of them.

    Parameters
    ----------
    compute : callable
        The network, or what it was compiled to.
    network : torch.nn.Module
    batch : (inputs, target, counts)
        Of quorum.step_batches.learning_batch.
    losses : dict
        Name to weight.
    speed : quorum.speed.Speed
    """
    inputs, target, counts = batch
    inputs = inputs.contiguous(memory_format=speed.layout())
    weighted = functools.partial(supervised_loss, losses)
    with speed.mixed():
        if hasattr(network, "own_loss"):
            return network.own_loss(inputs, target, counts, weighted)
        outputs = compute(inputs)
    return weighted(outputs, target, counts)


def supervised_loss(weights: dict, outputs, target, counts):
    """Return the loss of one output, or the mean over a network's outputs at several depths.

    Parameters
    ----------
    weights, target, counts
        As for `total_loss`.
    outputs : tensor, or list of tensors (batch, heads, z, y, x)
        Logits; the first of a list is the answer, each that follows counts half of the one before.
    """
    if isinstance(outputs, torch.Tensor):
        return total_loss(weights, outputs.float(), target, counts)
    shares = [DEEPER_COUNTS**depth for depth in range(len(outputs))]
    losses = [total_loss(weights, output.float(), target, counts) for output in outputs]
    return sum(s * loss for s, loss in zip(shares, losses, strict=True)) / sum(shares)


def total_loss(weights: dict, logits, target, counts):
    """Return the weighted sum of losses over the voxels that count.

    Parameters
    ----------
    weights : dict
        Name of a loss to its weight; 0 switches it off.
    logits : float32 (batch, heads, z, y, x)
    target : float32 (batch, heads, z, y, x)
        0 to 1.
    counts : float32 (batch, heads, z, y, x)
        1 where a voxel is covered and its head has a reader, else 0.

    Returns
    -------
    float32 scalar
    """
    counted = counts > 0
    hidden = torch.where(counted, logits, torch.full_like(logits, HIDDEN_LOGIT))
    target = torch.where(counted, target, torch.zeros_like(target))
    terms = [
        weight * LOSSES[name](hidden, target, counts)
        for name, weight in sorted(weights.items())
        if weight > 0
    ]
    return torch.stack(terms).sum()


def dice_loss(logits, target, counts):
    """Return 1 - Dice, mean over samples and heads that have a voxel; squared denominator.

    Source: Milletari 2016, arXiv 1606.04797 (V-Net), equation in section 3.
    """
    each = DiceLoss(sigmoid=True, squared_pred=True, reduction="none", soft_label=False)(
        logits, target
    )
    return mean_of_present(each, counts)


def tversky_loss(logits, target, counts):
    """Return 1 - Tversky index (false positives 0.3, false negatives 0.7) likewise.

    Source: Salehi 2017, arXiv 1706.05721.
    """
    each = TverskyLoss(sigmoid=True, alpha=0.3, beta=0.7, reduction="none")(logits, target)
    return mean_of_present(each, counts)


def mean_of_present(each, counts):
    """Return the mean over the samples and heads with at least one voxel that counts."""
    present = (counts.flatten(2).sum(2) > 0).float()
    each = each.reshape(*present.shape, -1).mean(2)
    return (each * present).sum() / present.sum().clamp(min=1)


def cross_entropy_loss(logits, target, counts):
    """Return the binary cross-entropy, mean over the voxels that count."""
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (each * counts).sum() / counts.sum().clamp(min=1)


def focal_loss(logits, target, counts):
    """Return the focal loss (gamma 2), mean over the voxels that count.

    Source: Lin 2017, arXiv 1708.02002.
    """
    each = FocalLoss(gamma=2.0, reduction="none")(logits, target)
    return (each * counts).sum() / counts.sum().clamp(min=1)


def boundary_loss(logits, target, counts):
    """Return the mean of probability times signed distance to the outline, in voxels.

    Negative inside: it is lowest, and below 0, for the target itself. It says nothing about size
    alone and goes beside Dice. A head without target, or without background, has no outline and
    adds 0. The distance to a background that is not covered is not known: only the covered counts.

    Source: Kervadec 2019, arXiv 1812.07032, equation 5.
    """
    distance = [
        signed_distance(one, covered)
        for one, covered in zip(
            (target.detach().flatten(0, 1) >= HALF).cpu().numpy(),
            (counts.expand_as(target).flatten(0, 1) > 0).cpu().numpy(),
            strict=True,
        )
    ]
    distance = torch.from_numpy(np.stack(distance)).to(logits.device).view_as(logits)
    return (torch.sigmoid(logits) * distance * counts).sum() / counts.sum().clamp(min=1)


def signed_distance(mask, covered):
    """Return the distance to a mask's outline, negative inside: float32 (z, y, x), voxels.

    Parameters
    ----------
    mask, covered : bool (z, y, x)
        A mask without voxels, or without covered background, gives 0 everywhere.
    """
    if not mask.any() or not (covered & ~mask).any():
        return np.zeros(mask.shape, np.float32)
    outside = ndimage.distance_transform_edt(~mask)
    inside = ndimage.distance_transform_edt(mask | ~covered)
    # The outermost voxels of the mask are on the outline: 0, those behind them -1.
    return np.where(mask, 1 - inside, outside).astype(np.float32)


def residual_moment_loss(logits, target, counts):
    """Return the squared difference of probability and target, both weighted by coordinates.

    As in the paper's abstract: the map of the prediction and the map of the truth are weighted by
    absolute coordinates, as in an image's moments, and what is left between the two weighted maps
    is the loss. Ours, since the paper's equations were not at hand: four maps, weighted by z, by
    y, by x and by their product; coordinates from 0 at the crop's first voxel to 1 at its last;
    the residual squared voxel by voxel (so nothing cancels, and what lies far from the origin
    counts more); the mean over the maps and the voxels that count. It goes beside Dice or
    cross-entropy: a residual at the origin itself costs nothing.

    Source: Wang 2021, arXiv 2106.14178, abstract.
    """
    # ASSUME: moments of orders 100, 010, 001 and 111, coordinates from 0 to 1 (own reading).
    axes = [torch.linspace(0, 1, side, device=logits.device) for side in logits.shape[2:]]
    maps = torch.meshgrid(*axes, indexing="ij")
    squares = sum(axis.square() for axis in (*maps, maps[0] * maps[1] * maps[2])) / 4
    residual = (torch.sigmoid(logits) - target).square()
    return (residual * squares * counts).sum() / counts.sum().clamp(min=1)


LOSSES = {
    "dice": dice_loss,
    "cross_entropy": cross_entropy_loss,
    "focal": focal_loss,
    "tversky": tversky_loss,
    "boundary": boundary_loss,
    "residual_moment": residual_moment_loss,
}
