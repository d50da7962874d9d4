"""One page for a lab meeting, drawn with matplotlib."""

import logging
import textwrap

import matplotlib
import numpy as np
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure

from quorum import __version__
from quorum.consensus import consensus_mask
from quorum.errors import InputError
from quorum.predictions import open_predictions

A4_INCH = (8.27, 11.69)
SHARES = (0.1, 0.5, 0.9)
WINDOW_HU = (-1000, 400)
CONSENSUS, MODEL = "#1b7f5c", "#c8501e"
# No date in the file; text stays text.
FREE_OF_TIME = {"CreationDate": None}
matplotlib.rcParams["pdf.fonttype"] = 42
# It tells of every table of a font that it cuts.
logging.getLogger("fontTools").setLevel(logging.WARNING)


def numbers_in(words: str) -> list:
    """Return mean, low and high of words such as `0.801 (0.761 to 0.831)`; nan where missing."""
    parts = words.replace("(", " ").replace(")", " ").replace("to", " ").split()
    found = [float(part) for part in parts if part.replace(".", "", 1).isdigit()]
    return (found + [np.nan] * 3)[:3]


def pick_nodules(facts: dict, cubes, paths) -> list:
    """Return the last network's nodules at three shares of its Dice, as slices to draw.

    Returns
    -------
    list of dict
        nodule_id, dice, image (y, x) [HU], consensus and model: bool (y, x). Empty without a
        network, or without a nodule that has a Dice.

    Raises
    ------
    InputError
        When the network has no predictions, or of nodules that the cubes lack.
    """
    if facts["network"] is None:
        return []
    name, found = facts["network"]["name"], []
    row_of = {str(nodule): k for k, nodule in enumerate(cubes.nodule_id)}
    own = [path for path in paths if experiment_of(path) == name]
    if not own:
        raise InputError(
            f"no predictions of the experiment {name} were given",
            "predictions of every experiment that has a record",
            "predict them with the rule predict_cubes",
        )
    with open_predictions(own[0]) as file:
        column = int(np.argmin(file["offsets_mm"][()]))
        for row, nodule in enumerate(file["nodule_id"].asstr()[()]):
            if nodule not in row_of:
                raise InputError(
                    f"{own[0]} holds the nodule {nodule}, which the shards lack",
                    "predictions and shards of one cohort",
                    "predict again with the rule predict_cubes",
                )
            share = file["probability"][row, column].astype(np.float32)
            one = slice_of(cubes, row_of[nodule], share >= file.attrs["threshold"], facts)
            if one is not None:
                found.append({"nodule_id": nodule, **one})
    found.sort(key=lambda one: one["dice"])
    return [found[round(share * (len(found) - 1))] for share in SHARES] if found else []


def experiment_of(path) -> str:
    """Return the experiment that a prediction file belongs to."""
    with open_predictions(path) as file:
        return str(file.attrs["experiment"])


def slice_of(cubes, k: int, model, facts: dict):
    """Return a nodule's Dice and its slice of the largest consensus; None without a consensus."""
    covered = cubes.coverage(k) > 0
    staple = cubes.staple(k) if facts["consensus"] == "staple" else None
    count = int(cubes.num_readers[k])
    reference = consensus_mask(cubes.readers(k), count, staple, facts["consensus"]) & covered
    model = model & covered
    if not reference.any():
        return None
    z = int(reference.sum(axis=(1, 2)).argmax())
    dice = 2 * np.count_nonzero(reference & model) / (reference.sum() + model.sum())
    return {
        "dice": float(dice),
        "image": cubes.image(k)[z],
        "consensus": reference[z],
        "model": model[z],
    }


def draw_dice(axes, facts: dict):
    """Draw model and reader left out against the same others: means with their intervals."""
    named = facts["experiments"]
    for place, experiment in enumerate(named):
        tone = MODEL if experiment["is_network"] else "#666666"
        pair = (("dice_others", place - 0.14, tone), ("reader_others", place + 0.14, CONSENSUS))
        for key, height, colour in pair:
            mean, low, high = numbers_in(experiment[key])
            axes.plot([low, high], [height, height], color=colour, linewidth=2)
            axes.plot(mean, height, "o", color=colour, markersize=4)
        words = f"{experiment['dice_others']}\nreader {experiment['reader_others']}"
        axes.annotate(words, (0.01, place), xycoords=("axes fraction", "data"),
                      va="center", fontsize=7)  # fmt: skip
    axes.set_title(
        "Dice against the majority of the other readers, same nodules and grid; "
        "green: the reader left out", fontsize=8, loc="left",
    )  # fmt: skip
    axes.set_yticks(range(len(named)), [experiment["name"] for experiment in named], fontsize=8)
    axes.set_ylim(len(named) - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.tick_params(axis="x", labelsize=8)


def draw_groups(axes, facts: dict):
    """Draw the last network's Dice by diameter."""
    groups = [g for g in facts["groups"] if g["characteristic"] == "diameter_mm"]
    groups.sort(key=lambda g: float("inf") if g["level"].startswith(">") else
                -1 if g["level"].startswith("<") else float(g["level"].split()[0]))  # fmt: skip
    for place, group in enumerate(groups):
        mean, low, high = numbers_in(group["words"])
        axes.plot([place, place], [low, high], color=MODEL, linewidth=2)
        axes.plot(place, mean, "o", color=MODEL)
    labels = [f"{g['level']}\nn = {g['num_nodules']}" for g in groups]
    axes.set_xticks(range(len(groups)), labels, fontsize=7)
    axes.set_ylim(0, 1)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_title(
        f"{facts['title']}: Dice with the consensus by diameter, mm", fontsize=8, loc="left"
    )


def draw_example(axes, example: dict, share: float):
    """Draw a slice with the two outlines."""
    axes.imshow(example["image"], cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1])
    for name, tone in (("consensus", CONSENSUS), ("model", MODEL)):
        if example[name].any():
            axes.contour(example[name], [0.5], colors=tone, linewidths=1.2)
    words = f"{share:.0%} of nodules are below: Dice {example['dice']:.2f}"
    axes.set_title(f"{words}\n{example['nodule_id']}", fontsize=7)
    axes.set_axis_off()


def page_words(facts: dict) -> list:
    """Return the page's lines: what was run, and what it does not say."""
    network = facts["network"]
    trained = [f"Training of {network['name']}: {network['training']}"] if network else []
    limits = "Readers were not blind to each other; one collection; research only, not for care."
    if facts["kind"] == "cut_out":
        limits = f"Cut-out volumes give the answer away in part: optimistic. {limits}"
    return [
        f"{facts['num_nodules']} nodules of {facts['num_patients']} patients, each outlined by "
        f"{facts['readers_words']} readers; {facts['num_scored']} scored. Images: "
        f"{facts['kind_words']} ({facts['num_excluded']} series excluded, "
        f"{facts['num_repaired']} repaired). {facts['dataset']['title']}, "
        f"{facts['dataset']['licence']}.",
        f"Split by patient: {facts['part_words']}. Folds {facts['folds']}, seeds {facts['seeds']}.",
        *trained,
        facts["fifth_words"],
        f"What it does not say: {limits}",
    ]


def write_page(facts: dict, examples: list, path):
    """Write the page as PDF, the same bytes for the same run."""
    kind = "phantom images" if facts["is_phantom"] else facts["kind_words"]
    metadata = {**FREE_OF_TIME, "Title": f"Quorum summary, {kind}"}
    draw_page(facts, examples).savefig(path, format="pdf", metadata=metadata)


def draw_page(facts: dict, examples: list) -> Figure:
    """Return the page.

    Parameters
    ----------
    facts : dict
        Of quorum.card_facts.
    examples : list of dict
        Of pick_nodules.
    """
    figure = Figure(figsize=A4_INCH)
    FigureCanvasPdf(figure)
    figure.text(0.08, 0.955, "Quorum: the fifth reader beside the readers", fontsize=15)
    if facts["is_phantom"]:
        words = "PHANTOM IMAGES: no number here speaks of a patient or of a method's worth"
        figure.text(0.08, 0.932, words, fontsize=10, color="#b00020", weight="bold")
    top = 0.912
    for line in page_words(facts):
        wrapped = textwrap.fill(line, 118)
        figure.text(0.08, top, wrapped, fontsize=8, va="top")
        top -= 0.0135 * (wrapped.count("\n") + 1) + 0.006
    grid = figure.add_gridspec(
        3, 3, left=0.16, right=0.94, bottom=0.06, top=top - 0.035, hspace=0.35, wspace=0.1,
        height_ratios=[max(1, 0.3 * len(facts["experiments"])), 1, 1.2],
    )  # fmt: skip
    draw_dice(figure.add_subplot(grid[0, :]), facts)
    draw_groups(figure.add_subplot(grid[1, :]), facts)
    for place, example in enumerate(examples):
        draw_example(figure.add_subplot(grid[2, place]), example, SHARES[place])
    words = "green: consensus of the readers; orange: model" if examples else ""
    figure.text(0.16, 0.035, words, fontsize=8)
    kind = "phantom images" if facts["is_phantom"] else facts["kind_words"]
    figure.text(0.94, 0.02, f"Quorum {__version__}, {kind}", fontsize=7, ha="right")
    return figure
