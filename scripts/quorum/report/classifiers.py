"""The radiologists' suspicion of malignancy as networks tell it, beside the diameter alone."""

import pandas as pd

from quorum.report import charts
from quorum.report.svg import number
from quorum.report.tabular import Section, frame_table, records, schema_columns
from quorum.suspicion import SUBJECTS

MEASURES = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "accuracy": "accuracy",
    "brier": "Brier score",
    "calibration_error": "calibration error",
}
WORDS = {
    "classifier": "classifier",
    "diameter": "diameter alone",
    "difference": "classifier − diameter",
}


def classifiers_section(inputs) -> Section | None:
    """Return the section; None where no classifier was trained."""
    summary = inputs.tables.get("classifier_summary")
    if summary is None or not len(summary):
        return None
    pooled = summary_rows(summary[summary["fold"].isna()])
    columns = schema_columns("classifier_summary", {
        "label_rule": "label", "measure": "measure", "subject": "subject", "value": "value",
        "value_interval": "95 % interval", "num_nodules": "nodules",
        "num_suspicious": "suspicious", "num_patients": "patients",
    })  # fmt: skip
    caption = "Suspicion told by a network, and by the diameter alone"
    tables = {"summary": frame_table("classifiers", caption, pooled, columns)}
    figures = {"auroc": auroc_figure(pooled)}
    calibration = inputs.tables.get("classifier_calibration")
    if calibration is not None:
        figures["calibration"] = calibration_figure(calibration)
    files = {"tables/classifiers-by-run.csv": summary.to_csv(index=False)}
    if (scores := inputs.tables.get("classifier_scores")) is not None:
        files["tables/classifiers-by-nodule.csv"] = scores.to_csv(index=False)
    values = {
        "labels": sorted(set(summary["label_rule"])),
        "folds": sorted({int(fold) for fold in summary["fold"].dropna()}),
        "seeds": sorted({int(seed) for seed in summary["seed"].dropna()}),
        "sentences": [sentence_of(pooled, label) for label in sorted(set(summary["label_rule"]))],
        "has_scores": scores is not None,
    }
    title = "Radiologists’ suspicion of malignancy"
    return Section("classifiers", title, values, tables, figures, files)


def summary_rows(pooled: pd.DataFrame) -> list:
    """Return the rows over all runs, with words for codes, and intervals as text."""
    rows = records(pooled)
    for row in rows:
        row["subject"] = WORDS[row["subject"]]
        row["measure"] = MEASURES[row["measure"]]
        if row["low"] is not None:
            row["value_interval"] = f"{number(row['low'])} to {number(row['high'])}"
    return rows


def row_of(rows: list, label: str, subject: str) -> dict:
    """Return a label's AUROC of one subject."""
    wanted = (label, "AUROC", WORDS[subject])
    return next(r for r in rows if (r["label_rule"], r["measure"], r["subject"]) == wanted)


def sentence_of(rows: list, label: str) -> dict:
    """Return what the template says of a label: AUROC of both, difference, nodules, patients."""
    found = {subject: interval_of(row_of(rows, label, subject)) for subject in WORDS}
    row = row_of(rows, label, "classifier")
    counts = {key: row[key] for key in ("num_nodules", "num_suspicious", "num_patients")}
    return {"label": label, **found, **counts}


def interval_of(row: dict) -> str:
    """Return `0.812 (0.800 to 0.824)`."""
    nan = float("nan")
    values = {key: nan if row[key] is None else row[key] for key in ("value", "low", "high")}
    return charts.interval_words(values)


def auroc_figure(rows: list):
    """Return each subject's AUROC with its interval; chance is 0.5."""
    marks, nan = [], float("nan")
    labels = sorted({row["label_rule"] for row in rows})
    for label in labels:
        for tone, subject in enumerate(SUBJECTS):
            row = row_of(rows, label, subject)
            low, high = (nan if row[key] is None else row[key] for key in ("low", "high"))
            name = WORDS[subject] if len(labels) == 1 else f"{WORDS[subject]}, {label}"
            marks.append({
                "label": name, "value": row["value"], "low": low, "high": high, "tone": tone,
            })  # fmt: skip
    return charts.intervals(
        "classifier-auroc", "AUROC for the radiologists’ suspicion", marks,
        x_label="AUROC with 95 % interval", at={"chance": 0.5},
    )  # fmt: skip


def calibration_figure(calibration: pd.DataFrame):
    """Return the share of suspicious nodules against the probability, and both equal."""
    filled = calibration[calibration["num_scores"] > 0]
    series = []
    for (label, subject), part in filled.groupby(["label_rule", "subject"], sort=True):
        x, y = (part[c].tolist() for c in ("mean_probability", "share_suspicious"))
        series.append({"label": f"{WORDS[subject]}, {label}", "x": x, "y": y})
    ideal = {"label": "equal", "x": [0.0, 1.0], "y": [0.0, 1.0], "plain": True}
    return charts.lines(
        "classifier-calibration", "Probability and the share that radiologists suspect",
        [*series, ideal], x_label="mean probability", y_label="share suspicious",
        y_low=0.0, y_high=1.0,
    )  # fmt: skip
