"""The gallery: every nodule with its readers' outlines, consensus and predictions, failures first.

Pictures and cards lie in assets/nodules, one of each a nodule, and are loaded when wanted; the
first cards are in the page itself.
"""

import itertools
import json

import numpy as np

from quorum.command import progress
from quorum.consensus import consensus_mask
from quorum.report import tiles
from quorum.report.readers import nodule_agreement
from quorum.report.tabular import Column, Section, Table, plain
from quorum.report.vector_pictures import grey_planes, vector_picture

NUM_FIRST, NUM_TONES = 12, 6
RATINGS = ("subtlety", "texture", "spiculation", "malignancy")


def central_rows(scores):
    """Return the readers' rows, and the model's for the click nearest to the centre."""
    is_model = scores["subject"] == "model"
    nearest = scores.loc[is_model, "offset_mm"].min()
    return scores[~is_model | (scores["offset_mm"] == nearest)]


def model_scores(scores) -> dict:
    """Return each nodule's mean scores against the consensus by experiment, click at the centre.

    Returns
    -------
    dict
        nodule_id to experiment to dict of dice, iou, hd95_mm, volume_error_mm3, means over
        seeds, and smallest_mm3, the volume of the smallest mask.
    """
    if not len(scores):
        return {}
    rows = central_rows(scores)
    rows = rows[(rows["subject"] == "model") & (rows["reference"] == "consensus")]
    measures = ["dice", "iou", "hd95_mm", "volume_error_mm3"]
    groups = rows.groupby(["nodule_id", "experiment"])
    means = groups[measures].mean().assign(smallest_mm3=groups["volume_mm3"].min())
    found = {}
    for (nodule, experiment), row in means.iterrows():
        found.setdefault(nodule, {})[experiment] = {k: plain(v) for k, v in row.items()}
    return found


def fair_pairs(scores):
    """Return each nodule's Dice of model and of the readers left out, against the same others.

    For every reader left out, model and reader are compared with the majority of the others;
    both are averaged over the readers, folds and seeds.

    Returns
    -------
    DataFrame
        Index (nodule_id, experiment); columns model, reader.
    """
    rows = central_rows(scores)
    others = rows[rows["reference"].str.startswith("others")]
    keys = ["experiment", "fold", "seed", "nodule_id", "reference"]
    model = others[others["subject"] == "model"][[*keys, "dice"]]
    reader = others[others["subject"] == "reader" + others["reference"].str[6:]][[*keys, "dice"]]
    both = model.rename(columns={"dice": "model"}).merge(
        reader.rename(columns={"dice": "reader"}), on=keys
    )
    both = both[both[["model", "reader"]].notna().all(axis=1)]
    return both.groupby(["nodule_id", "experiment"])[["model", "reader"]].mean()


def fair_differences(scores) -> dict:
    """Return each nodule's model Dice less reader Dice against the same others, by experiment."""
    if not len(scores):
        return {}
    pairs = fair_pairs(scores)
    found = {}
    for (nodule, experiment), value in (pairs["model"] - pairs["reader"]).items():
        found.setdefault(nodule, {})[experiment] = plain(value)
    return found


def nodule_rows(inputs) -> list:
    """Return one row a cube, failures of the shown experiment first, unscored nodules last."""
    scores = model_scores(inputs.scores)
    differences = fair_differences(inputs.scores)
    agreement = nodule_agreement(inputs.agreement)
    parts = dict(zip(inputs.splits["patient_id"], inputs.splits["part"], strict=True))
    ratings = inputs.nodules.set_index("nodule_id")
    rows = []
    for index, nodule in enumerate(inputs.cubes.nodule_id):
        row = {
            "nodule_id": nodule,
            "index": index,
            "patient_id": inputs.cubes.patient_id[index],
            "part": parts.get(inputs.cubes.patient_id[index], "none"),
            "diameter_mm": float(inputs.cubes.diameter_mm[index]),
            "readers_dice": agreement.get(nodule),
            "num_readers": int(inputs.cubes.num_readers[index]),
            "is_truncated": bool(inputs.cubes.is_truncated[index]),
            "scores": scores.get(nodule, {}),
        }
        for rating in RATINGS:
            row[rating] = plain(ratings.at[nodule, f"{rating}_median"])
        for experiment in inputs.experiments:
            one = row["scores"].get(experiment, {})
            row[f"dice {experiment}"] = one.get("dice")
            row[f"difference {experiment}"] = differences.get(nodule, {}).get(experiment)
        row["dice"] = row.get(f"dice {inputs.shown_experiment}")
        row["flag"] = "reaches beyond the cube" if row["is_truncated"] else None
        rows.append(row)
    return sorted(rows, key=lambda row: (row["dice"] is None, row["dice"] or 0.0, row["nodule_id"]))


def draw_nodule(inputs, row: dict, sources: dict) -> dict:
    """Return one nodule's picture and outlines.

    Returns
    -------
    dict
        picture (WebP), planes (uint8, a pixel a voxel), width and height in mm, paths: list of
        (CSS class, label, path data).
    """
    cubes, index = inputs.cubes, row["index"]
    readers, num_readers = cubes.readers(index), row["num_readers"]
    consensus = reference_mask(inputs, index, readers)
    view = tiles.choose_view(readers > 0, consensus)
    paths = []
    for k in range(num_readers):
        mask = readers >> k & 1
        paths.append((f"reader reader{k + 1}", f"reader {k + 1}", tiles.outline_path(mask, view)))
    if cubes.has_latent:
        path = tiles.outline_path(cubes.latent(index), view)
        paths.append(("latent", "true surface of the phantom", path))
    paths.append(("consensus", "consensus", tiles.outline_path(consensus, view)))
    tones = tone_of(inputs)
    for number, experiment in enumerate(inputs.experiments):
        run = sources.get((experiment, row["nodule_id"]))
        if run is not None:
            probability = run.probability(row["nodule_id"])
            path = tiles.outline_path(probability, view, run.threshold)
            paths.append((f"model model{number} tone{tones[experiment]}", experiment, path))
    return {
        "picture": tiles.picture(cubes.image(index), cubes.coverage(index), view),
        "planes": grey_planes(cubes.image(index), cubes.coverage(index), view),
        "width": view.width,
        "height": view.field_vox,
        "paths": paths,
        "slices": dict(zip(tiles.PLANES, view.slices_zyx, strict=True)),
    }


def tone_of(inputs) -> dict:
    """Return each experiment's colour; the shown one has the first."""
    shown = inputs.shown_experiment
    ordered = sorted(inputs.experiments, key=lambda name: name != shown)
    return {name: place % NUM_TONES for place, name in enumerate(ordered)}


def reference_mask(inputs, index: int, readers) -> np.ndarray:
    """Return the mask that the configuration's consensus means."""
    consensus = inputs.settings.get("consensus", "majority")
    staple = inputs.cubes.staple(index) if str(consensus) == "staple" else None
    return consensus_mask(readers, int(inputs.cubes.num_readers[index]), staple, consensus)


def prediction_sources(inputs) -> dict:
    """Return which run's prediction is drawn of each experiment and nodule: its first seed's."""
    sources = {}
    for run in sorted(inputs.predictions, key=lambda run: (run.seed, run.fold)):
        for nodule in run.nodule_id:
            sources.setdefault((run.experiment, nodule), run)
    return sources


def layers_of(inputs) -> list:
    """Return the outlines that a picture may show, in the legend's order."""
    num_readers = max((int(n) for n in inputs.cubes.num_readers), default=0)
    consensus = inputs.settings.get("consensus", "majority")
    layers = [(f"reader{k}", f"reader{k}", f"reader {k}", True) for k in range(1, num_readers + 1)]
    layers.append(("consensus", "consensus", f"consensus ({consensus})", True))
    if inputs.cubes.has_latent:
        layers.append(("latent", "latent", "phantom’s true surface", False))
    tones = tone_of(inputs)
    for number, name in enumerate(inputs.experiments):
        is_shown = name == inputs.shown_experiment
        layers.append((f"model{number}", f"tone{tones[name]}", name, is_shown))
    return [
        {"layer": layer, "tone": tone, "label": label, "is_shown": is_shown,
         "is_dashed": layer in ("consensus", "latent")}
        for layer, tone, label, is_shown in layers
    ]  # fmt: skip


def draw_cards(inputs, rows: list, render_card, opened: list):
    """Yield each nodule's card, and its files: the picture, and the card as a script."""
    sources, opened = prediction_sources(inputs), set(opened)
    mark = "PHANTOM DATA. " if inputs.data_kind == "phantom" else ""
    for row in progress(rows, "pictures of nodules"):
        drawing = draw_nodule(inputs, row, sources)
        drawing["has_cube"] = row["nodule_id"] in opened
        name = f"nodules/{row['nodule_id']}"
        picture, planes = drawing.pop("picture"), drawing.pop("planes")
        title = f"{mark}Nodule {row['nodule_id']}, {row['patient_id']}"
        drawn = vector_picture(planes, drawing["paths"], title)
        card = str(render_card(row={**row, **drawing}, experiments=inputs.experiments))
        script = f"quorumCard({json.dumps(row['nodule_id'])},{json.dumps(card)});\n"
        yield card, {f"{name}.webp": picture, f"{name}.svg": drawn, f"{name}.js": script}


def gallery_section(inputs, rows: list, render_card, viewer: dict) -> Section:
    """Return the section with all nodules; pictures beyond the first are drawn when written.

    Parameters
    ----------
    rows : list of dict
        Of `nodule_rows`.
    render_card : callable
        Makes a card's HTML from a row with its drawing.
    viewer : dict
        opened (nodules whose cube the viewer can open), words (what the page says of it), files
        (pairs of name and content).
    """
    drawn = draw_cards(inputs, rows, render_card, viewer["opened"])
    first = list(itertools.islice(drawn, NUM_FIRST))
    files = {name: content for _, made in first for name, content in made.items()}
    values = {
        "cards": [card for card, _ in first],
        "num_nodules": len(rows),
        "num_scored": sum(row["dice"] is not None for row in rows),
        "shown": inputs.shown_experiment,
        "order_key": f"dice {inputs.shown_experiment}",
        "window_hu": tiles.WINDOW_HU,
        "is_cut_out": inputs.data_kind == "cut_out",
        "viewer": viewer["words"],
    }
    tables = {"nodules": nodule_table(inputs, rows)}
    rest = (pair for _, made in drawn for pair in made.items())
    rest = itertools.chain(rest, viewer["files"])
    return Section("nodules", "Every nodule", values, tables, {}, files, rest)


def nodule_table(inputs, rows: list) -> Table:
    """Return the table of all nodules; each row opens its card."""
    columns = [
        Column("nodule_id", "nodule"),
        Column("patient_id", "patient"),
        Column("part", "part", note="fold or locked test part of the split"),
        Column("diameter_mm", "diameter, mm", 1),
        Column("readers_dice", "readers’ Dice", 3, "mean over pairs of readers, native grid"),
    ]
    for experiment in inputs.experiments:
        note = "against the consensus, on the cube's grid"
        columns.append(Column(f"dice {experiment}", f"{experiment} Dice", 3, note))
    for experiment in inputs.experiments:
        note = "Dice of the model less the left-out reader's, against the majority of the others"
        columns.append(Column(f"difference {experiment}", f"{experiment} − reader", 3, note))
    columns += [Column(rating, rating, 1, "median of the readers' ratings") for rating in RATINGS]
    columns.append(Column("flag", "flag"))
    return Table("nodules", "Every nodule with a cube", columns, rows, opens_nodules=True)
