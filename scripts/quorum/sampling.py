"""Outlines that a probabilistic network draws for each nodule, kept beside its probability."""

import numpy as np
import torch

from quorum.batches import cut_batch, plain_draw
from quorum.clicks import nodule_generator
from quorum.command import progress
from quorum.predicting import fitted_network
from quorum.stores import load_store


def num_samples(model: dict) -> int:
    """Return how many outlines a model draws for each nodule; 0 where it answers with one."""
    settings = model["settings"]
    return settings["network"].get("num_samples", 0) if settings["method"] == "network" else 0


def draw_masks(network, inputs, *, nodule_id: str, seed: int) -> np.ndarray:
    """Return the outlines that a network draws in one crop.

    Parameters
    ----------
    network : torch.nn.Module
        With a method `sample`.
    inputs : float32 (1, channels, z, y, x)
    nodule_id : str
        Seeds the draws, together with `seed`.
    seed : int

    Returns
    -------
    bool (samples, z, y, x)
        Where a draw's own probability is over one half; the first head's.
    """
    number = int(nodule_generator(nodule_id, seed).integers(2**63))
    with torch.inference_mode():
        logits = network.sample(inputs, torch.Generator().manual_seed(number))
    return (logits[:, 0] > 0).cpu().numpy()


def write_samples(writer, model: dict, *, cubes, chosen: list, seed: int):
    """Draw each nodule's outlines in the crop of its first click, which the writer holds."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    settings, network = model["settings"], fitted_network(model).to(device)
    for row, k in enumerate(progress(chosen, "nodules sampled")):
        box = writer.file["inside_crop"][row, 0]
        draw = plain_draw([0], [box[:3].tolist()])
        store = load_store(cubes, [k], device=device)
        inputs = cut_batch(store, draw, tuple(settings["crop_vox"]), settings)[0]
        masks = draw_masks(network, inputs, nodule_id=str(cubes.nodule_id[k]), seed=seed)
        writer.put_samples(row, box, masks)
