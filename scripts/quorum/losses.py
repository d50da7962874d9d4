"""Losses in which voxels that the scan does not cover never count.

MONAI's losses know no mask by voxel. A logit of HIDDEN_LOGIT beside a target of 0 adds exactly
nothing to Dice's and Tversky's sums and, within 1e-12, nothing to the focal loss, and passes no
gradient; means over voxels are then taken over the covered ones.
"""

import torch
from monai.losses import DiceLoss, FocalLoss, TverskyLoss

HIDDEN_LOGIT = -30.0


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


LOSSES = {
    "dice": dice_loss,
    "cross_entropy": cross_entropy_loss,
    "focal": focal_loss,
    "tversky": tversky_loss,
}
