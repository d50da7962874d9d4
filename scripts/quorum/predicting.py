"""Apply fitted models to nodules: a function from a nodule and clicks to probabilities in boxes."""

import functools

import numpy as np
import torch

from quorum.baselines import apply_baseline
from quorum.cases import load_case
from quorum.clicks import click_points, crop_starts
from quorum.command import progress
from quorum.errors import InputError
from quorum.plans import check_cube
from quorum.postprocessing import finish_share
from quorum.stores import load_store


def fitted_network(model: dict):
    """Return a model's network with its weights, on the CPU, ready to be applied.

    Raises
    ------
    InputError
        When the weights are not of the plan's network.
    """
    from quorum.training import make_network

    settings = model["settings"]
    network = make_network(settings, model["seed"])
    try:
        network.load_state_dict(model["weights"])
    except RuntimeError as error:
        raise InputError(
            f"the weights do not fit the network {settings['network']['name']} "
            f"({str(error).splitlines()[0]})",
            "weights of the plan's own network",
            "train this experiment again",
        ) from error
    return network.eval()


def load_network(model: dict, *, cubes):
    """Return a model's network with its weights, from inputs to logits, and its device.

    Raises
    ------
    InputError
        When the weights are not of the plan's network, or the crop is larger than the cube.
    """
    from quorum.speed import choose_speed

    settings = model["settings"]
    check_cube(settings, cubes.shape_vox)
    network = fitted_network(model)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return choose_speed(settings["speed"], device).predictor(network.to(device)), device


def share_predictor(model: dict, *, cubes, is_flipped: bool):
    """Return a function from (nodule, clicks) to boxes (n, 6), probabilities and images in them.

    Before post-processing: one crop around each click, kept inside the stored cube.
    """
    from quorum.evaluation import crop_probability, flip_sets

    settings, (network, device) = model["settings"], load_network(model, cubes=cubes)
    options = {
        "settings": settings,
        "flips": flip_sets(settings["flip_axes"] if is_flipped else []),
        "temperature": model["temperature"],
    }

    def predict(index, clicks):
        store = load_store(cubes, [index], device=device)
        starts = crop_starts(clicks, settings["crop_vox"], cubes.shape_vox)
        share, image = crop_probability(network, store, starts=starts, **options)
        boxes = np.concatenate([starts, starts + np.array(settings["crop_vox"])], axis=1)
        return boxes, share.cpu().numpy(), image.cpu().numpy()

    return predict


def finished_predictor(predict, answer: dict):
    """Return a function like `predict`, without images, its probabilities post-processed.

    Parameters
    ----------
    predict : callable
        Of `share_predictor`.
    answer : dict
        postprocess and threshold.
    """
    chosen = {"choice": answer["postprocess"], "threshold": answer["threshold"]}

    def finish(index, clicks):
        boxes, share, image = predict(index, clicks)
        points = clicks - boxes[:, :3]
        triples = zip(share, image, points, strict=True)
        return boxes, np.stack([finish_share(s, i, point=at, **chosen) for s, i, at in triples])

    return finish


def baseline_predictor(model: dict, *, cubes):
    """Return the same kind of function for a baseline, which sees the whole cube."""
    apply = functools.partial(apply_baseline, model["settings"]["method"], model["numbers"])

    def predict(index, clicks):
        shape, share = np.array(cubes.shape_vox), []
        for click in clicks:
            case = load_case(cubes, index, click)
            # The oracle is told the centre; off by as much as the click is.
            case.center = case.center + (click - clicks[0])
            share.append(apply(case).astype(np.float32))
        boxes = np.tile(np.concatenate([np.zeros(3, int), shape]), (len(clicks), 1))
        return boxes, np.stack(share)

    return predict


def write_clicks(writer, predict, *, cubes, chosen: list, offsets_mm, seed: int):
    """Predict each chosen nodule from its clicks and put it into a PredictionsWriter."""
    for row, k in enumerate(progress(chosen, "nodules")):
        clicks = click_points(
            cubes.readers(k),
            int(cubes.num_readers[k]),
            nodule_id=str(cubes.nodule_id[k]),
            offsets_mm=offsets_mm,
            seed=seed,
            spacing_mm=cubes.spacing_mm,
        )
        boxes, share = predict(k, clicks)
        for column, click in enumerate(clicks):
            writer.put(row, column, click=click, box=boxes[column], probability=share[column])
