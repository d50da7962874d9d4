"""What each step after the network gains on nodules that chose none of them.

Temperature, flips, threshold and post-processing are chosen on the validation fold
(quorum.evaluation); here each is taken out, or put in where it was not chosen, on the scored fold,
and all the others are left as they were chosen.
"""

import numpy as np
import pandas as pd
import torch

from quorum.crf import crf_probability
from quorum.evaluation import HALF, cross_entropy, masks_dice, middle_crops, probability
from quorum.postprocessing import NONE, STEPS, finish_mask

COLUMNS = (
    *("step", "is_chosen", "measure", "compared_with", "with_step", "without_step", "gain"),
    *("num_nodules", "num_better", "num_worse"),
)


def measure_gains(predict, store, *, settings: dict, answer: dict, flips) -> pd.DataFrame:
    """Return one row a step: flips, temperature, threshold, crf, component, holes.

    Each is measured by the mean Dice, with the crop at the cube's middle, as it was chosen; the
    temperature by the cross-entropy against the consensus, without flips.

    Parameters
    ----------
    predict : callable
        Inputs to logits.
    store : quorum.stores.Store or StreamedStore
        With `reference`.
    settings : dict
        The plan's.
    answer : dict
        temperature, threshold, postprocess, is_flipped: what is applied.
    flips : bool (f, 3)
        Of `quorum.evaluation.flip_sets`, none first.
    """
    crops = list(middle_crops(predict, store, settings, against=settings["chosen_against"]))
    plain = [probability(batch.logits, answer["temperature"]) for batch in crops]
    total = [share.clone() for share in plain]
    for flip in flips[1:].tolist():
        turned = middle_crops(predict, store, settings, flip=flip)
        for share, batch in zip(total, turned, strict=True):
            share += probability(batch.logits, answer["temperature"])
    shares = {False: plain, True: [share / len(flips) for share in total]}
    chosen = answer["postprocess"].split("+")
    used = {"flips": answer["is_flipped"]} if len(flips) > 1 else {}
    used |= {"threshold": True, **{s: s in chosen for s in STEPS if s in settings["postprocess"]}}
    rows = [temperature_row(crops, answer["temperature"])]
    for step in used:
        scores = [
            answer_dice(shares, crops, {**used, step: is_used}, answer["threshold"])
            for is_used in (True, False)
        ]
        row = {"step": step, "is_chosen": used[step], "measure": "dice"}
        rows.append({**row, "compared_with": settings["chosen_against"], **difference(*scores)})
    return pd.DataFrame(rows, columns=COLUMNS)


def answer_dice(shares: dict, crops: list, used: dict, threshold: float) -> np.ndarray:
    """Return each nodule's Dice with some of the steps: float64 (n,)."""
    choice = "+".join(step for step in STEPS if used.get(step)) or NONE
    least, found = threshold if used["threshold"] else HALF, []
    for share, batch in zip(shares[used.get("flips", False)], crops, strict=True):
        point = (np.array(share.shape[1:]) - 1) / 2
        if used.get("crf"):
            pairs = zip(share.numpy(), batch.image.numpy(), strict=True)
            share = torch.from_numpy(np.stack([crf_probability(s, i) for s, i in pairs]))
        masks = ((share >= least) & batch.covered).numpy()
        masks = torch.from_numpy(np.stack([finish_mask(m, choice, point) for m in masks]))
        found.append(masks_dice(masks, batch))
    return torch.cat(found).numpy()


def difference(with_step, without_step) -> dict:
    """Return both means, the mean gain, and how many nodules got better and worse."""
    gain = with_step - without_step
    return {
        "with_step": float(np.nanmean(with_step)),
        "without_step": float(np.nanmean(without_step)),
        "gain": float(np.nanmean(gain)),
        "num_nodules": int(np.isfinite(gain).sum()),
        "num_better": int((gain > 0).sum()),
        "num_worse": int((gain < 0).sum()),
    }


def temperature_row(crops: list, temperature: float) -> dict:
    """Return the temperature's row: the cross-entropy that it takes away."""
    one, other = cross_entropy(crops, temperature), cross_entropy(crops, 1.0)
    return {
        "step": "temperature",
        "is_chosen": temperature != 1.0,
        "measure": "cross_entropy",
        "compared_with": "consensus",
        "with_step": one,
        "without_step": other,
        "gain": other - one,
        "num_nodules": sum(len(batch.inside) for batch in crops),
        "num_better": None,
        "num_worse": None,
    }
