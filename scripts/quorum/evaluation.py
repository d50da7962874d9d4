"""A network over nodules: probabilities in crops, and what its answer is on a validation fold."""

import numpy as np
import torch

from quorum.batches import AXES, cut_batch, plain_draw
from quorum.postprocessing import STEPS, nearest_component

BATCH = 8


def flip_sets(axes) -> torch.Tensor:
    """Return every combination of flips of the given axes: bool (2 ** axes, 3), none first."""
    may_flip = [axis in axes for axis in AXES]
    sets = [(z, y, x) for z in (False, True) for y in (False, True) for x in (False, True)]
    kept = [s for s in sets if all(may or not flip for flip, may in zip(s, may_flip, strict=True))]
    return torch.tensor(kept, dtype=torch.bool)


def crop_probability(predict, store, *, index: int, starts, settings: dict, flips):
    """Return one nodule's probability in a crop at each start, averaged over flips.

    Parameters
    ----------
    predict : callable
        Inputs (batch, 1, z, y, x) to logits (batch, heads, z, y, x).
    store : quorum.batches.Store
    index : int
    starts : int64 (n, 3)
        First voxel of each crop.
    settings : dict
        The plan's.
    flips : bool (f, 3)
        Of `flip_sets`.

    Returns
    -------
    float32 (n, z, y, x)
        Mean over heads and flips, back in the cube's orientation.
    """
    crop_vox = tuple(settings["crop_vox"])
    starts = torch.as_tensor(starts, dtype=torch.int64).reshape(-1, 3)
    all_starts, all_flips = starts.repeat_interleave(len(flips), 0), flips.repeat(len(starts), 1)
    parts = []
    with torch.inference_mode():
        for first in range(0, len(all_starts), BATCH):
            some = slice(first, first + BATCH)
            cube = torch.full((len(all_starts[some]),), index, dtype=torch.int64)
            draw = plain_draw(cube, all_starts[some], all_flips[some])
            inputs = cut_batch(store, draw, crop_vox, settings)[0]
            inputs = inputs.contiguous(memory_format=torch.channels_last_3d)
            parts.append(probability(predict(inputs)))
    turned = [
        part.flip([axis for axis in range(3) if flip[axis]])
        for part, flip in zip(torch.cat(parts), all_flips, strict=True)
    ]
    return torch.stack(turned).reshape(len(starts), len(flips), *crop_vox).mean(1)


def probability(logits):
    """Return the probability of a batch, mean over the heads: (batch, z, y, x)."""
    return torch.sigmoid(logits.float()).mean(1)


def middle_shares(predict, store, settings: dict):
    """Yield batches of nodules, cut at the cube's middle: probability, reference and its size.

    Yields
    ------
    share : float32 (batch, z, y, x)
        0 where not covered.
    inside : bool (batch, z, y, x)
        The reference in the crop.
    sizes : float64 (batch,)
        Voxels of the reference in the whole cube: what lies outside the crop counts as missed.
    """
    crop_vox = tuple(settings["crop_vox"])
    middle = [(whole - side) // 2 for whole, side in zip(store.cube_vox, crop_vox, strict=True)]
    window = tuple(slice(a, a + side) for a, side in zip(middle, crop_vox, strict=True))
    for first in range(0, len(store), BATCH):
        cube = torch.arange(first, min(first + BATCH, len(store)))
        draw = plain_draw(cube, torch.tensor(middle).expand(len(cube), 3))
        with torch.inference_mode():
            inputs, _, _, counts = cut_batch(store, draw, crop_vox, settings)
            inputs = inputs.contiguous(memory_format=torch.channels_last_3d)
            share = probability(predict(inputs)) * counts
        whole = store.reference[first : first + len(cube)]
        yield share, whole[(slice(None), *window)], whole.flatten(1).sum(1).double()


def mean_dice(predict, store, settings: dict, threshold: float) -> float:
    """Return the mean Dice over nodules, in the covered part of the cube.

    A nodule whose reference has no covered voxel is left out.
    """
    values = [
        masks_dice(share >= threshold, inside, sizes)
        for share, inside, sizes in middle_shares(predict, store, settings)
    ]
    return float(torch.cat(values).nanmean())


def masks_dice(masks, inside, sizes):
    """Return each nodule's Dice: float64 (batch,); nan where its reference is empty."""
    both = (masks & inside).flatten(1).sum(1).double()
    dice = 2 * both / (masks.flatten(1).sum(1) + sizes)
    return torch.where(sizes > 0, dice, torch.nan)


def choose_answer(predict, store, settings: dict, thresholds) -> dict:
    """Return the threshold and post-processing with the best mean Dice on the validation fold.

    Parameters
    ----------
    thresholds : list of float

    Returns
    -------
    dict
        threshold, postprocess (`none` or `component`), validation_dice, and dice_by_postprocess:
        the best Dice of each, so that the gain of the step can be seen.
    """
    point = (np.array(settings["crop_vox"]) - 1) / 2
    dice = {(step, threshold): [] for step in STEPS for threshold in thresholds}
    for share, inside, sizes in middle_shares(predict, store, settings):
        for threshold in thresholds:
            masks = share >= threshold
            kept = [nearest_component(mask, point) for mask in masks.cpu().numpy()]
            dice["none", threshold].append(masks_dice(masks, inside, sizes))
            kept = torch.from_numpy(np.stack(kept)).to(masks.device)
            dice["component", threshold].append(masks_dice(kept, inside, sizes))
    means = {key: float(torch.cat(values).nanmean()) for key, values in dice.items()}
    step, threshold = max(means, key=means.get)
    best = {name: max(means[name, t] for t in thresholds) for name in STEPS}
    return {
        "threshold": threshold,
        "postprocess": step,
        "validation_dice": means[step, threshold],
        "dice_by_postprocess": best,
    }
