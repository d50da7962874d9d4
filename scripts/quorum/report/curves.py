"""Learning curves: loss and validation Dice of every run, and how runs ended."""

import numpy as np

from quorum.report import charts
from quorum.report.tabular import Column, Section, Table, frame_table, schema_columns

MAX_POINTS = 240
RUNS = {
    "experiment": "experiment", "fold": "fold", "seed": "seed", "network": "network",
    "target": "target", "losses": "losses", "num_parameters": "parameters",
    "validation_dice": "validation Dice", "best_step": "best step", "num_steps": "steps",
    "threshold": "threshold", "postprocess": "steps after it", "temperature": "temperature",
    "gain_flips": "gain by flips", "gain_postprocess": "gain by steps after it",
    "training_s": "training, s", "energy_j": "energy, J", "peak_memory_mb": "memory, MB",
    "precision": "precision", "processor": "processor", "gpu": "GPU", "commit": "commit",
    "code_digest": "digest of the code", "data_sha256": "digest of the data", "diff": "differs by",
}  # fmt: skip
NETWORKS = {
    "experiment": "experiment", "network": "network", "num_parameters": "parameters",
    "multiply_adds_g": "multiply-adds, 10⁹", "crop_vox": "crop",
    "training_crop_vox": "training crop",
    "inputs": "inputs", "target": "target", "source": "published in",
}  # fmt: skip
HOW_RUNS_WENT = [
    Column("experiment", "experiment"),
    Column("fold", "fold", 0),
    Column("seed", "seed", 0),
    Column("steps", "steps", 0),
    Column("last_loss", "last loss", 3),
    Column("best_dice", "best validation Dice", 3),
    Column("minutes", "minutes of steps", 1, "validation apart"),
    Column("threshold", "threshold", 2, "probability from which a voxel is inside"),
]


def binned(values, num_bins: int = MAX_POINTS) -> np.ndarray:
    """Return means over equal stretches, so that a long history stays a small drawing."""
    values = np.asarray(values, dtype=float)
    if len(values) <= num_bins:
        return values
    edges = np.linspace(0, len(values), num_bins + 1).astype(int)
    sums = np.add.reduceat(values, edges[:-1])
    return sums / np.diff(edges)


def experiment_figures(experiment: str, runs: list, history) -> list:
    """Return an experiment's curves, a line a run: loss, and Dice on the validation fold."""
    losses, dices = [], []
    for run in runs:
        mine = run_history(history, run).sort_values("step")
        label = f"fold {run.fold}, seed {run.seed}"
        loss, dice = (mine[mine[c].notna()] for c in ("loss", "validation_dice"))
        if len(loss) > 1:
            x, y = list(binned(loss["step"])), list(binned(loss["loss"]))
            losses.append({"label": label, "x": x, "y": y, "plain": True})
        if len(dice) > 1:
            x, y = (dice[c].astype(float).tolist() for c in ("step", "validation_dice"))
            dices.append({"label": label, "x": x, "y": y})
    kinds = (
        ("loss", losses, f"{experiment}: training loss", "loss"),
        ("dice", dices, f"{experiment}: validation fold", "Dice at probability 0.5"),
    )
    name = f"curve-{experiment}".replace("_", "-")
    return [
        charts.lines(f"{name}-{kind}", title, series, x_label="step", y_label=label)
        for kind, series, title, label in kinds
        if series
    ]


def run_history(history, run):
    """Return one run's rows."""
    is_mine = (history["experiment"] == run.experiment) & (history["fold"] == run.fold)
    return history[is_mine & (history["seed"] == run.seed)]


def curves_section(inputs) -> Section:
    """Return the section on training: curves of runs that have them, a row for every run."""
    figures, rows = {}, []
    history = inputs.histories
    for experiment in inputs.experiments:
        runs = [run for run in inputs.predictions if run.experiment == experiment]
        for figure in experiment_figures(experiment, runs, history):
            figures[figure.name] = figure
    for one in inputs.predictions:
        mine = run_history(history, one)
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
    tables = {"runs": Table("runs", "How each run went", HOW_RUNS_WENT, rows)}
    found = inputs.tables
    if found.get("runs") is not None:
        columns = schema_columns("runs", RUNS)
        tables["records"] = frame_table("runs-records", "Every run", found["runs"], columns)
    if found.get("networks") is not None:
        columns = schema_columns("networks", NETWORKS)
        caption = "The catalogue of networks"
        tables["networks"] = frame_table("networks", caption, found["networks"], columns)
    files = {"tables/histories.csv": history.to_csv(index=False, lineterminator="\n")}
    return Section("training", "Curves and runs", {"num_runs": len(rows)}, tables, figures, files)
