"""Learning curves: loss and validation Dice of every run, and how runs ended."""

import numpy as np

from quorum.report import charts
from quorum.report.tabular import Column, Section, Table

MAX_POINTS = 240


def binned(values, num_bins: int = MAX_POINTS) -> np.ndarray:
    """Return means over equal stretches, so that a long history stays a small drawing."""
    values = np.asarray(values, dtype=float)
    if len(values) <= num_bins:
        return values
    edges = np.linspace(0, len(values), num_bins + 1).astype(int)
    sums = np.add.reduceat(values, edges[:-1])
    return sums / np.diff(edges)


def run_figures(run: str, name: str, history) -> list:
    """Return the figures of one run: loss, and validation Dice where it was measured."""
    history = history.sort_values("step")
    figures = []
    loss, dice = (history[history[c].notna()] for c in ("loss", "validation_dice"))
    if len(loss) > 1:
        steps, values = binned(loss["step"]), binned(loss["loss"])
        series = {"label": "loss", "x": list(steps), "y": list(values), "plain": True}
        words = {"x_label": "step", "y_label": "loss"}
        figures.append(charts.lines(f"{name}-loss", f"{run}: training loss", [series], **words))
    if len(dice) > 1:
        x, y = (dice[c].astype(float).tolist() for c in ("step", "validation_dice"))
        series = {"label": "validation Dice", "x": x, "y": y}
        words = {"x_label": "step", "y_label": "Dice"}
        title = f"{run}: Dice on the validation fold"
        figures.append(charts.lines(f"{name}-dice", title, [series], **words))
    return figures


def curves_section(inputs) -> Section:
    """Return the section on training: curves of runs that have them, a row for every run."""
    figures, rows = {}, []
    history = inputs.histories
    for one in inputs.predictions:
        mine = history[
            (history["experiment"] == one.experiment)
            & (history["fold"] == one.fold)
            & (history["seed"] == one.seed)
        ]
        name = f"curve-{one.experiment}-fold{one.fold}-seed{one.seed}".replace("_", "-")
        for figure in run_figures(one.label, name, mine):
            figures[figure.name] = figure
        dice, loss = mine["validation_dice"].dropna(), mine["loss"].dropna()
        rows.append({
            "experiment": one.experiment,
            "fold": one.fold,
            "seed": one.seed,
            "steps": int(mine["step"].max()) if len(mine) else 0,
            "best_dice": float(dice.max()) if len(dice) else None,
            "last_loss": float(loss.iloc[-1]) if len(loss) else None,
            "threshold": one.threshold,
            "minutes": float(mine["duration_s"].sum()) / 60 if len(mine) else None,
        })  # fmt: skip
    columns = [
        Column("experiment", "experiment"),
        Column("fold", "fold", 0),
        Column("seed", "seed", 0),
        Column("steps", "steps", 0),
        Column("last_loss", "last loss", 3),
        Column("best_dice", "best validation Dice", 3),
        Column("minutes", "minutes of steps", 1, "validation apart"),
        Column("threshold", "threshold", 2, "probability from which a voxel is inside"),
    ]
    tables = {"runs": Table("runs", "Every run", columns, rows)}
    files = {"tables/histories.csv": history.to_csv(index=False, lineterminator="\n")}
    return Section("training", "Training", {"num_runs": len(rows)}, tables, figures, files)
