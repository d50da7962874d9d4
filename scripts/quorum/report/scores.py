"""Models and readers side by side, on the same grid, region and reference."""

import numpy as np

from quorum.comparison import BESIDE_READER
from quorum.report import charts
from quorum.report.gallery import fair_differences, fair_pairs, model_scores
from quorum.report.measure_words import measure_words, reference_words
from quorum.report.svg import number
from quorum.report.tabular import Column, Section, Table, plain, records

READERS = "readers"
PENALIZED = "nodules of which one mask is empty: their distance is the cube’s diagonal"
WHOLE, TRUNCATED = "whole", "truncated"


def headline(summary, experiment: str, measure: str, reference: str) -> dict | None:
    """Return one row of the summary, nodules inside the cube, or None where it isn't there."""
    rows = summary[
        (summary["experiment"] == experiment)
        & (summary["measure"] == measure)
        & (summary["reference"] == reference)
        & (summary["subset"] == WHOLE)
    ]
    if not len(rows):
        return None
    row = {key: plain(value) for key, value in rows.iloc[0].items()}
    for key in ("value", "low", "high"):
        row[key] = float("nan") if row[key] is None else row[key]
    return row


def whole_scores(scores):
    """Return the rows of nodules that lie whole inside the cube."""
    return scores[~scores["is_truncated"].astype(bool)]


def fair_rows(inputs) -> list:
    """Return what stands side by side: models and readers against the majority of the others."""
    rows = []
    for index, experiment in enumerate(inputs.experiments):
        model = headline(inputs.summary, experiment, "dice", "others")
        reader = headline(inputs.summary, experiment, "reader_dice", "others")
        difference = headline(inputs.summary, experiment, "dice_difference", "others")
        if model is None:
            continue
        rows.append({
            "experiment": experiment,
            "method": inputs.methods.get(experiment, "unknown"),
            "tone": index,
            "model": model,
            "reader": reader,
            "difference": difference,
        })  # fmt: skip
    return rows


def side_by_side_figure(rows: list, prefix: str = "models"):
    """Return readers and models on one axis, with 95 % intervals."""
    marks = []
    if rows and rows[0]["reader"]:
        marks.append({**rows[0]["reader"], "label": "a reader left out", "tone": 7})
    marks += [{**row["model"], "label": row["experiment"], "tone": row["tone"]} for row in rows]
    return charts.intervals(
        f"{prefix}-side-by-side",
        "Against the majority of the other readers",
        marks,
        x_label="mean Dice, with 95 % interval",
    )


def difference_figure(rows: list):
    """Return each model's Dice less the reader's, with 95 % intervals."""
    marks = [
        {**row["difference"], "label": row["experiment"], "tone": row["tone"]}
        for row in rows
        if row["difference"]
    ]
    return charts.intervals(
        "difference",
        "Model less reader, nodule by nodule",
        marks,
        x_label="difference in Dice, with 95 % interval",
    )


def offsets_figure(inputs):
    """Return mean Dice against the distance of the click from a reader's own centre."""
    series = []
    for experiment in inputs.experiments:
        rows = inputs.offsets[inputs.offsets["experiment"] == experiment].sort_values("offset_mm")
        if len(rows):
            series.append({
                "label": experiment,
                "x": rows["offset_mm"].astype(float).tolist(),
                "y": rows["dice"].astype(float).tolist(),
                "low": rows["low"].astype(float).tolist(),
                "high": rows["high"].astype(float).tolist(),
            })  # fmt: skip
    return charts.lines(
        "offsets",
        "How far the click may be off",
        series,
        x_label="distance of the click from a reader’s centre, mm",
        y_label="mean Dice against the consensus",
    )


def spread_figure(inputs):
    """Return the distribution of the shown experiment's Dice over nodules."""
    shown = inputs.shown_experiment
    scores = model_scores(whole_scores(inputs.scores))
    values = [one[shown]["dice"] for one in scores.values() if shown in one]
    values = [np.nan if value is None else value for value in values]
    return charts.histogram(
        "dice-spread", f"{shown}: nodule by nodule", values, label="Dice against the consensus"
    )


def paired_figure(inputs):
    """Return the shown experiment's Dice against the readers' Dice, a dot a nodule."""
    shown, points = inputs.shown_experiment, []
    scores = whole_scores(inputs.scores)
    if len(scores):
        for (nodule, experiment), row in fair_pairs(scores).iterrows():
            if experiment == shown:
                words = f"{nodule}: reader {row['reader']:.3f}, model {row['model']:.3f}"
                points.append((float(row["reader"]), float(row["model"]), words))
    return charts.scatter(
        "paired",
        f"{shown} and readers, a dot a nodule",
        points,
        x_label="Dice of the reader left out",
        y_label=f"Dice of {shown}",
        is_square=True,
    )


def size_figure(inputs):
    """Return the shown experiment's Dice against the nodule's diameter."""
    shown, points = inputs.shown_experiment, []
    diameters = dict(zip(inputs.nodules["nodule_id"], inputs.nodules["diameter_mm"], strict=True))
    for nodule, one in model_scores(whole_scores(inputs.scores)).items():
        dice = one.get(shown, {}).get("dice")
        if dice is not None:
            points.append((float(diameters[nodule]), dice, f"{nodule}: {dice:.3f}"))
    return charts.scatter(
        "dice-diameter",
        f"{shown} by size",
        points,
        x_label="mean diameter, mm",
        y_label="Dice against the consensus",
    )


def side_by_side_table(rows: list, prefix: str = "models") -> Table:
    """Return models and readers against the same reference, with intervals."""
    columns = [
        Column("experiment", "experiment"),
        Column("model", "model Dice", 3),
        Column("model_interval", "95 % interval"),
        Column("reader", "reader Dice", 3, "the reader left out, same nodules and reference"),
        Column("reader_interval", "95 % interval"),
        Column("difference", "model − reader", 3),
        Column("difference_interval", "95 % interval"),
        Column("num_nodules", "nodules", 0),
        Column("num_patients", "patients", 0),
    ]
    cells = []
    for row in rows:
        cell = {key: row[key] for key in ("experiment", "method")}
        for key in ("model", "reader", "difference"):
            if row[key]:
                cell[key] = row[key]["value"]
                cell[f"{key}_interval"] = between(row[key])
        cell.update(
            num_nodules=row["model"]["num_nodules"], num_patients=row["model"]["num_patients"]
        )
        cells.append(cell)
    return Table(
        f"{prefix}-side-by-side", "Model and reader against the same others", columns, cells
    )


def measures_table(inputs) -> Table:
    """Return what else model and reader were measured by, against the same others."""
    columns = [
        Column("experiment", "experiment"),
        Column("measure_words", "measure"),
        Column("model", "model", 3),
        Column("model_interval", "95 % interval"),
        Column("reader", "reader left out", 3),
        Column("reader_interval", "95 % interval"),
        Column("difference", "model − reader", 3),
        Column("difference_interval", "95 % interval"),
        Column("num_nodules", "nodules", 0),
        Column("num_penalized", "penalty distances", 0, PENALIZED),
    ]
    cells = []
    for experiment in inputs.experiments:
        for measure in BESIDE_READER:
            names = {"model": measure, "reader": f"reader_{measure}"}
            names["difference"] = f"{measure}_difference"
            found = {k: headline(inputs.summary, experiment, v, "others") for k, v in names.items()}
            if any(row is None for row in found.values()):
                continue
            cell = {"experiment": experiment, "measure_words": measure_words(measure)}
            for name, row in found.items():
                cell |= {name: row["value"], f"{name}_interval": between(row)}
            cell["num_nodules"] = found["difference"]["num_nodules"]
            cell["num_penalized"] = found["difference"].get("num_penalized")
            cells.append(cell)
    caption = "Model and reader by every measure, against the same others"
    return Table("models-measures", caption, columns, cells)


def between(row) -> str | None:
    """Return an interval in words, or None."""
    if not (np.isfinite(row["low"]) and np.isfinite(row["high"])):
        return None
    return f"{number(row['low'])} to {number(row['high'])}"


def summary_table(inputs, subset: str = WHOLE) -> Table:
    """Return the summary of one subset, experiments in the configuration's order."""
    order = {name: place for place, name in enumerate([READERS, *inputs.experiments])}
    frame = inputs.summary[inputs.summary["subset"] == subset].copy()
    frame["place"] = frame["experiment"].map(order)
    rows = records(frame.sort_values("place", kind="stable").drop(columns="place"))
    for row in rows:
        row["measure_words"] = measure_words(row["measure"])
        row["reference_words"] = reference_words(row["reference"])
        row["interval"] = between({k: nan_if_none(row[k]) for k in ("low", "high")})
    columns = [
        Column("experiment", "experiment"),
        Column("measure_words", "measure"),
        Column("reference_words", "against"),
        Column("value", "value", 3),
        Column("interval", "95 % interval"),
        Column("num_nodules", "nodules", 0),
        Column("num_patients", "patients", 0),
        Column("num_penalized", "penalty distances", 0, PENALIZED),
    ]
    if subset == WHOLE:
        return Table("summary", "Everything that was measured", columns, rows)
    caption = "Nodules that reach beyond the cube, apart"
    return Table("summary-truncated", caption, columns, rows)


def nan_if_none(value) -> float:
    """Return a number, nan where there is none."""
    return float("nan") if value is None else float(value)


def count_wins(inputs) -> dict:
    """Return for each experiment on how many nodules it was closer to the others than a reader."""
    differences = fair_differences(whole_scores(inputs.scores))
    found = {}
    for experiment in inputs.experiments:
        values = [one.get(experiment) for one in differences.values()]
        values = [value for value in values if value is not None]
        found[experiment] = {"closer": sum(v > 0 for v in values), "of": len(values)}
    return found


def scores_section(inputs) -> Section:
    """Return the section on models and readers."""
    rows = fair_rows(inputs)
    tables = {"side_by_side": side_by_side_table(rows), "summary": summary_table(inputs)}
    measures = measures_table(inputs)
    if measures.rows:
        tables["measures"] = measures
    truncated = summary_table(inputs, TRUNCATED)
    if truncated.rows:
        tables["truncated"] = truncated
    figures = {
        "side_by_side": side_by_side_figure(rows),
        "difference": difference_figure(rows),
        "offsets": offsets_figure(inputs),
        "spread": spread_figure(inputs),
        "paired": paired_figure(inputs),
        "size": size_figure(inputs),
    }
    whole, num_scored = whole_scores(inputs.scores), inputs.scores["nodule_id"].nunique()
    values = {
        "rows": rows,
        "shown": inputs.shown_experiment,
        "num_nodules": int(whole["nodule_id"].nunique()),
        "num_patients": int(whole["patient_id"].nunique()),
        "num_truncated": int(num_scored - whole["nodule_id"].nunique()),
        "has_latent": inputs.cubes.has_latent,
        "wins": count_wins(inputs),
        "offsets": sorted({float(v) for v in inputs.scores["offset_mm"].dropna()}),
    }
    files = {"tables/scores-all.csv": inputs.scores.to_csv(index=False, lineterminator="\n")}
    return Section("scores", "Models and readers", values, tables, figures, files)
