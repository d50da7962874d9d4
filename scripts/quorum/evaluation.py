"""A network over nodules: probabilities in crops, and Dice by threshold on a validation fold."""

import torch

from quorum.batches import AXES, cut_batch, plain_draw

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


def mean_dice(predict, store, settings: dict, thresholds) -> torch.Tensor:
    """Return the mean Dice over nodules at each threshold, in the covered part of the cube.

    The crop is the cube's middle; what of the reference lies outside it counts as missed.

    Returns
    -------
    float64 (thresholds,)
        A nodule whose reference has no covered voxel is left out.
    """
    crop_vox = tuple(settings["crop_vox"])
    middle = [(whole - side) // 2 for whole, side in zip(store.cube_vox, crop_vox, strict=True)]
    window = tuple(slice(a, a + side) for a, side in zip(middle, crop_vox, strict=True))
    per_nodule = []
    for first in range(0, len(store), BATCH):
        cube = torch.arange(first, min(first + BATCH, len(store)))
        draw = plain_draw(cube, torch.tensor(middle).expand(len(cube), 3))
        with torch.inference_mode():
            inputs, _, _, counts = cut_batch(store, draw, crop_vox, settings)
            inputs = inputs.contiguous(memory_format=torch.channels_last_3d)
            share = probability(predict(inputs)) * counts
        whole = store.reference[first : first + len(cube)]
        inside = whole[(slice(None), *window)]
        sizes = whole.flatten(1).sum(1).double()
        for threshold in thresholds:
            mask = share >= threshold
            both = (mask & inside).flatten(1).sum(1).double()
            per_nodule.append(2 * both / (mask.flatten(1).sum(1) + sizes))
            per_nodule[-1][sizes == 0] = float("nan")
    blocks = [torch.cat(per_nodule[k :: len(thresholds)]) for k in range(len(thresholds))]
    return torch.stack(blocks).nanmean(1)


def best_threshold(predict, store, settings: dict, thresholds):
    """Return the threshold with the best mean Dice, the lowest of equals, and that Dice."""
    dice = mean_dice(predict, store, settings, thresholds)
    best = int(dice.argmax())
    return float(thresholds[best]), float(dice[best])
