"""A network over nodules: probabilities in crops, and what its answer is on a validation fold."""

from dataclasses import dataclass

import numpy as np
import torch

from quorum.batches import AXES, cut_batch, plain_draw
from quorum.crf import crf_probability
from quorum.postprocessing import choices, finish_mask
from quorum.targets import HALF, count_bits, reader_bits

BATCH = 8
# ASSUME: candidates for the temperature; 1 leaves the network's probability as it is.
TEMPERATURES = (0.5, 0.63, 0.79, 1.0, 1.26, 1.58, 2.0, 2.51, 3.16, 3.98)
SMALLEST = 1e-6


def flip_sets(axes) -> torch.Tensor:
    """Return every combination of flips of the given axes: bool (2 ** axes, 3), none first."""
    may_flip = [axis in axes for axis in AXES]
    sets = [(z, y, x) for z in (False, True) for y in (False, True) for x in (False, True)]
    kept = [s for s in sets if all(may or not flip for flip, may in zip(s, may_flip, strict=True))]
    return torch.tensor(kept, dtype=torch.bool)


def crop_probability(predict, store, *, starts, settings: dict, flips, temperature=1.0):
    """Return a nodule's probability in a crop at each start, averaged over flips.

    Parameters
    ----------
    predict : callable
        Inputs (batch, 1, z, y, x) to logits (batch, heads, z, y, x).
    store : quorum.stores.Store
        Of this nodule alone.
    starts : int64 (n, 3)
        First voxel of each crop.
    settings : dict
        The plan's.
    flips : bool (f, 3)
        Of `flip_sets`.
    temperature : float

    Returns
    -------
    share : float32 (n, z, y, x)
        Mean over heads and flips, back in the cube's orientation.
    image : float32 (n, z, y, x)
        What the network saw.
    """
    crop_vox = tuple(settings["crop_vox"])
    starts = torch.as_tensor(starts, dtype=torch.int64).reshape(-1, 3)
    all_starts, all_flips = starts.repeat_interleave(len(flips), 0), flips.repeat(len(starts), 1)
    parts, images = [], []
    with torch.inference_mode():
        for first in range(0, len(all_starts), BATCH):
            some = slice(first, first + BATCH)
            cube = torch.zeros(len(all_starts[some]), dtype=torch.int64)
            draw = plain_draw(cube, all_starts[some], all_flips[some])
            inputs = cut_batch(store, draw, crop_vox, settings)[0]
            images.append(inputs[:, 0])
            parts.append(probability(predict(inputs), temperature))
    turned = [
        part.flip([axis for axis in range(3) if flip[axis]])
        for part, flip in zip(torch.cat(parts), all_flips, strict=True)
    ]
    share = torch.stack(turned).reshape(len(starts), len(flips), *crop_vox).mean(1)
    return share, torch.cat(images)[:: len(flips)]


def probability(logits, temperature=1.0):
    """Return the probability of a batch, mean over the heads: (batch, z, y, x)."""
    return torch.sigmoid(logits.float() / temperature).mean(1)


@dataclass
class Crops:
    """A batch of nodules cut at the cubes' middle, on the CPU.

    Attributes
    ----------
    logits : float32 (batch, heads, z, y, x)
    image : float32 (batch, z, y, x)
    covered, inside : bool (batch, z, y, x)
        Where the scan is, and the consensus.
    references : bool (batch, references, z, y, x)
        What a mask's Dice is taken against: the consensus, or `others_references`.
    sizes : float64 (batch, references)
        Voxels of each in the whole cube: what lies outside the crop counts as missed.
    """

    logits: torch.Tensor
    image: torch.Tensor
    covered: torch.Tensor
    inside: torch.Tensor
    references: torch.Tensor
    sizes: torch.Tensor


def others_references(part):
    """Return each nodule's majorities of the others, a reader left out in turn.

    Parameters
    ----------
    part : quorum.stores.Store
        A nodule of one reader has no others: the consensus stands for them.

    Returns
    -------
    bool (batch, readers, z, y, x)
        Where the scan is; empty where the nodule has no such reader.
    """
    counts, total = count_bits(part.readers.cpu()), part.num_readers[:, None, None, None]
    found = []
    for reader in range(max(int(total.max()), 1)):
        own = reader_bits(part.readers.cpu(), torch.full_like(part.num_readers, reader))
        # ASSUME: half of the others is a majority, as in quorum.consensus.others_mask.
        others = (counts - own >= HALF * (total - 1)) & (reader < total) & (total > 1)
        alone = part.reference.cpu() & (total == 1) if reader == 0 else torch.tensor(False)
        found.append((others & (part.coverage.cpu() > 0)) | alone)
    return torch.stack(found, 1)


def middle_crops(predict, store, settings: dict, *, against="consensus", flip=(False,) * 3):
    """Yield the nodules of a store in batches, as Crops; logits are turned back after a flip.

    Masks are compared with the `consensus`, or with the `others` (`others_references`).
    """
    crop_vox = tuple(settings["crop_vox"])
    middle = [(whole - side) // 2 for whole, side in zip(store.cube_vox, crop_vox, strict=True)]
    window = tuple(slice(a, a + side) for a, side in zip(middle, crop_vox, strict=True))
    axes = [axis + 1 for axis in range(3) if flip[axis]]
    for first in range(0, len(store), BATCH):
        part = store.part(first, min(first + BATCH, len(store)))
        start, flips = torch.tensor([middle] * len(part)), torch.tensor([list(flip)] * len(part))
        draw = plain_draw(torch.arange(len(part)), start, flips)
        with torch.inference_mode():
            inputs, _, _, covered = cut_batch(part, draw, crop_vox, settings)
            logits = predict(inputs).float().flip([axis + 1 for axis in axes]).cpu()
        whole = part.reference.cpu()
        references = whole[:, None] if against == "consensus" else others_references(part)
        yield Crops(
            logits=logits,
            image=inputs[:, 0].flip(axes).cpu(),
            covered=covered.flip(axes).cpu(),
            inside=whole[(slice(None), *window)],
            references=references[(slice(None), slice(None), *window)],
            sizes=references.flatten(2).sum(2).double(),
        )


def mean_dice(predict, store, settings: dict, threshold: float) -> float:
    """Return the mean Dice over nodules, in the covered part of the cube.

    A nodule whose reference has no covered voxel is left out.
    """
    values = [
        masks_dice((probability(crops.logits) >= threshold) & crops.covered, crops)
        for crops in middle_crops(predict, store, settings)
    ]
    return float(torch.cat(values).nanmean())


def masks_dice(masks, crops: Crops):
    """Return each nodule's Dice, mean over its references: float64 (batch,); nan without any."""
    both = (masks[:, None] & crops.references).flatten(2).sum(2).double()
    dice = 2 * both / (masks.flatten(1).sum(1)[:, None] + crops.sizes)
    return torch.where(crops.sizes > 0, dice, torch.nan).nanmean(1)


def choose_answer(predict, store, settings: dict, thresholds, *, flips) -> dict:
    """Return temperature, flips, post-processing and threshold as the validation fold wants them.

    The temperature has the lowest cross-entropy against the consensus; of the rest, that is taken
    which has the best mean Dice against what `chosen_against` names. Post-processing that is worse
    by no more than twice the standard error of the difference over nodules counts as equal: of
    equal ones that with the component at the centre is taken, as the mask asked for is one
    nodule's, and of these the one of the fewest steps.

    Parameters
    ----------
    thresholds : list of float
    flips : bool (f, 3)
        Of `flip_sets`: what may be averaged over.

    Returns
    -------
    dict
        temperature, cross_entropy_by_temperature, answers: for `plain` and `flips` each
        threshold, postprocess, validation_dice and dice_by_postprocess (the best Dice of each
        choice, so that the gain of a step can be seen; on the fold that chose it, so optimistic).
    """
    against = settings["chosen_against"]
    batches = list(middle_crops(predict, store, settings, against=against))
    entropy = {t: cross_entropy(batches, t) for t in TEMPERATURES}
    temperature = min(entropy, key=entropy.get)
    shares = [probability(crops.logits, temperature) for crops in batches]
    names = choices(settings["postprocess"])
    answers = {"plain": best_answer(shares, batches, names, thresholds)}
    for flip in flips[1:].tolist():
        turned = middle_crops(predict, store, settings, flip=flip)
        for share, crops in zip(shares, turned, strict=True):
            share += probability(crops.logits, temperature)
    if len(flips) > 1:
        shares = [share / len(flips) for share in shares]
        answers["flips"] = best_answer(shares, batches, names, thresholds)
    return {
        "temperature": temperature,
        "cross_entropy_by_temperature": {str(t): value for t, value in entropy.items()},
        "answers": answers,
    }


def pick_answer(found: dict, has_flips: bool) -> dict:
    """Return which answer is used: that with flips where they may be and were the better one."""
    answers = found["answers"]
    if has_flips and "flips" in answers:
        gain = answers["flips"]["validation_dice"] - answers["plain"]["validation_dice"]
        return {**answers["flips" if gain > 0 else "plain"], "is_flipped": gain > 0}
    return {**answers["plain"], "is_flipped": False}


def cross_entropy(batches: list, temperature: float) -> float:
    """Return the mean binary cross-entropy over the covered voxels of all crops."""
    total, count = 0.0, 0
    for crops in batches:
        share = probability(crops.logits, temperature)[crops.covered].clamp(SMALLEST, 1 - SMALLEST)
        inside = crops.inside[crops.covered].float()
        total += float(torch.nn.functional.binary_cross_entropy(share, inside, reduction="sum"))
        count += inside.numel()
    return total / count


def best_answer(shares: list, batches: list, names: list, thresholds) -> dict:
    """Return the choice of post-processing and its best threshold, and the Dice of each choice.

    Of the choices that are as good as the best one: the component at the centre, or the first.
    """
    dice = {(name, threshold): [] for name in names for threshold in thresholds}
    for share, crops in zip(shares, batches, strict=True):
        point, agreed = (np.array(share.shape[1:]) - 1) / 2, None
        if any("crf" in name.split("+") for name in names):
            pairs = zip(share.numpy(), crops.image.numpy(), strict=True)
            agreed = torch.from_numpy(np.stack([crf_probability(s, i) for s, i in pairs]))
        for name in names:
            ready = agreed if "crf" in name.split("+") else share
            for threshold in thresholds:
                masks = ((ready >= threshold) & crops.covered).numpy()
                masks = torch.from_numpy(np.stack([finish_mask(m, name, point) for m in masks]))
                dice[name, threshold].append(masks_dice(masks, crops))
    dice = {key: torch.cat(values) for key, values in dice.items()}
    means = {key: float(values.nanmean()) for key, values in dice.items()}
    best = {name: max(((name, t) for t in thresholds), key=means.get) for name in names}
    highest = dice[max(best.values(), key=means.get)]
    equal = [name for name in names if is_as_good(dice[best[name]], highest)]
    name, threshold = best[min(equal, key=lambda name: "component" not in name.split("+"))]
    return {
        "threshold": threshold,
        "postprocess": name,
        "validation_dice": means[name, threshold],
        "dice_by_postprocess": {name: means[best[name]] for name in names},
    }


def is_as_good(dice, highest) -> bool:
    """Tell whether Dice is lower by no more than twice the mean difference's standard error.

    Parameters
    ----------
    dice, highest : torch.Tensor (n,)
        Of the same nodules; nan where a nodule has none.
    """
    less = (highest - dice)[~torch.isnan(highest - dice)]
    if not len(less):
        return True  # without a nodule that has a Dice, nothing is worse
    error = less.std(correction=0) / len(less) ** 0.5
    return bool(less.mean() <= 2 * error)
