"""Where the networks look: activation maps over nodules, and how they fare with drawn weights."""

import io

import numpy as np
from PIL import Image

from quorum.explanation_files import CLASSIFIER, WORDS
from quorum.report import charts, tiles
from quorum.report.gallery import reference_mask
from quorum.report.tabular import Column, Section, Table
from quorum.report.vector_pictures import join_planes, vector_picture

# From transparent to bright: share of the largest value, red, green, blue, opacity.
RAMP = np.array([
    [0.0, 60, 10, 110, 0.0], [0.15, 60, 10, 110, 0.0], [0.4, 190, 55, 85, 0.45],
    [0.7, 250, 140, 10, 0.6], [1.0, 255, 255, 120, 0.7],
])  # fmt: skip
COLUMNS = [
    Column("experiment", "experiment"),
    Column("method", "method"),
    Column("randomised_share", "weights drawn anew", 2, "share of the layers, from the output on"),
    Column("num_nodules", "maps compared", 0),
    Column("spearman", "Spearman", 3, "mean over maps; 1: the same order of voxels"),
    Column("spearman_max", "largest", 3, "largest Spearman of a nodule"),
    Column("ssim", "SSIM", 3, "mean structural similarity; 1: the same map"),
]


def explanations_section(inputs) -> Section:
    """Return the section; where nothing was explained it says so."""
    sanity = inputs.tables.get("explanation_sanity")
    if sanity is None or not len(sanity):
        values = {"has_any": False, "has_classifiers": False, "nodules": []}
        return Section("explanations", "Explanations", values)
    rows = sanity_rows(sanity)
    nodules, files = draw_nodules(inputs)
    values = {
        "has_any": True,
        "nodules": nodules,
        "num_nodules": int(sanity["nodule_id"].nunique()),
        "experiments": sorted(set(sanity["experiment"])),
        "has_classifiers": sanity["experiment"].str.startswith(CLASSIFIER).any(),
        "methods": [WORDS[name] for name in WORDS if name in set(sanity["method"])],
        "whole": [row for row in rows if row["randomised_share"] == 1],
    }
    table = Table("explanation-sanity", "How alike maps are with drawn weights", COLUMNS, rows)
    files["tables/explanation-sanity-by-nodule.csv"] = sanity.to_csv(index=False)
    figures = {"sanity": sanity_figure(rows)}
    return Section("explanations", "Explanations", values, {"sanity": table}, figures, files)


def sanity_rows(sanity) -> list:
    """Return the means over nodules and runs, a row an experiment, method and share."""
    rows = []
    keys = ["experiment", "method", "randomised_share"]
    for (experiment, method, share), part in sanity.groupby(keys, sort=True):
        spearman = part["spearman"].dropna()
        rows.append({
            "experiment": experiment,
            "method": WORDS[method],
            "randomised_share": float(share),
            "num_nodules": len(part),
            "spearman": float(spearman.mean()) if len(spearman) else None,
            "spearman_max": float(spearman.max()) if len(spearman) else None,
            "ssim": float(part["ssim"].mean()),
        })  # fmt: skip
    return rows


def sanity_figure(rows: list):
    """Return Spearman's correlation against the share of weights drawn anew, a line a method."""
    by_line = {}
    for row in rows:
        if row["spearman"] is not None:
            label = f"{row['method']}, {row['experiment']}"
            line = by_line.setdefault(label, {"label": label, "x": [0.0], "y": [1.0]})
            line["x"].append(row["randomised_share"])
            line["y"].append(row["spearman"])
    return charts.lines(
        "explanation-sanity", "Maps against maps of drawn weights", list(by_line.values()),
        x_label="share of layers drawn anew", y_label="Spearman’s correlation",
    )  # fmt: skip


def draw_nodules(inputs) -> tuple:
    """Return the explained nodules with their pictures' names and outlines, and the pictures."""
    place = {str(name): index for index, name in enumerate(inputs.cubes.nodule_id)}
    nodules, files = [], {}
    mark = "PHANTOM DATA. " if inputs.data_kind == "phantom" else ""
    for maps in inputs.explanations:
        for name in maps.nodule_id:
            index = place[name]
            readers = inputs.cubes.readers(index)
            consensus = reference_mask(inputs, index, readers)
            view = tiles.choose_view(readers > 0, consensus)
            image = inputs.cubes.image(index)
            pictures, outline = [], tiles.outline_path(consensus, view)
            for number, (label, values) in enumerate(maps.of_nodule(name)):
                stem = f"{maps.experiment}_fold{maps.fold}_seed{maps.seed}_{name}_{number}"
                planes = mixed_planes(image, values, view)
                files[f"explanations/{stem}.webp"] = picture(planes, view)
                files[f"explanations/{stem}.svg"] = vector_picture(
                    join_planes(planes, view), [("consensus", "consensus", outline)],
                    f"{mark}{label}, nodule {name}",
                )  # fmt: skip
                pictures.append({"stem": f"explanations/{stem}", "label": label})
            nodules.append({
                "nodule_id": name,
                "run": f"{maps.experiment}, fold {maps.fold}, seed {maps.seed}",
                "pictures": pictures,
                "outline": outline,
                "width": view.width,
                "height": view.field_vox,
            })  # fmt: skip
    return nodules, files


def mixed_planes(image, values, view) -> list:
    """Return a map over the three planes of a nodule: uint8 (rows, columns, 3), a pixel a voxel.

    Parameters
    ----------
    image : int16 (z, y, x) [HU]
    values : float32 (z, y, x)
        0 to 1.
    view : quorum.report.tiles.View
    """
    low, high = tiles.WINDOW_HU
    planes = []
    for hu, share in zip(tiles.panes(image, view, -1000), tiles.panes(values, view), strict=True):
        grey = np.clip((hu.astype(np.float32) - low) / (high - low), 0, 1) * 255
        colours = [np.interp(share, RAMP[:, 0], RAMP[:, k]) for k in range(1, 5)]
        opacity = colours.pop()
        mixed = [grey * (1 - opacity) + colour * opacity for colour in colours]
        planes.append(np.stack(mixed, axis=-1).round().astype(np.uint8))
    return planes


def picture(planes: list, view) -> bytes:
    """Return planes beside each other, enlarged, as one WebP."""
    scale = max(2, round(tiles.PANE_PX / view.field_vox))
    side = view.field_vox * scale
    canvas = np.full((side, view.width * scale, 3), 255, np.uint8)
    for number, plane in enumerate(planes):
        left = number * (view.field_vox + tiles.GAP_MM) * scale
        large = Image.fromarray(plane).resize((side, side), Image.BICUBIC)
        canvas[:, left : left + side] = np.asarray(large)
    stream = io.BytesIO()
    Image.fromarray(canvas).save(stream, "WEBP", quality=tiles.QUALITY, method=1)
    return stream.getvalue()
