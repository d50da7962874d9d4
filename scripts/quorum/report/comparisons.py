"""Experiments against each other: paired tests, spread over folds and seeds, ranks, volumes."""

from quorum.report import charts
from quorum.report.fifth_reader import nan
from quorum.report.gallery import central_rows
from quorum.report.measure_words import measure_words, reference_words
from quorum.report.svg import number, tick_words
from quorum.report.tabular import Section, frame_table, records, schema_columns

PAIRS = {
    "pair": "pair", "measure_words": "measure", "reference_words": "against", "difference": "a − b",
    "interval": "95 % interval", "p_value": "p, alone", "p_adjusted": "p, corrected",
    "mean_a": "mean of a", "mean_b": "mean of b", "num_nodules": "nodules",
    "num_patients": "patients", "test": "test", "correction": "correction",
    "num_tests": "corrected together",
}  # fmt: skip
RANKS = {
    "experiment": "experiment", "measure_words": "measure", "reference_words": "against",
    "value": "value", "rank": "rank", "mean_rank": "mean rank", "interval": "95 % of the ranks",
    "share_first": "share first", "kendall_tau": "Kendall’s τ", "num_nodules": "nodules",
}  # fmt: skip
SPREAD = {
    "experiment": "experiment", "measure_words": "measure", "reference_words": "against",
    "over": "over", "num_values": "values", "mean": "mean",
    "standard_deviation": "standard deviation", "smallest": "smallest", "largest": "largest",
}  # fmt: skip
VOLUMES = {
    "experiment": "experiment", "subject_words": "subject", "reference_words": "against",
    "scale_words": "scale",
    "bias": "bias", "interval": "95 % interval", "standard_deviation": "standard deviation",
    "limit_low": "lower limit", "limit_high": "upper limit", "slope": "slope",
    "num_nodules": "nodules", "num_patients": "patients",
}  # fmt: skip


def worded(frame, low: str = "low", high: str = "high") -> list:
    """Return rows with the measure in words and two ends as one interval."""
    rows = records(frame)
    for row in rows:
        if "measure" in row:
            row["measure_words"] = measure_words(row["measure"])
        row["reference_words"] = reference_words(row["reference"])
        if row.get(low) is not None:
            row["interval"] = f"{number(row[low])} to {number(row[high])}"
    return rows


def comparisons_section(inputs) -> Section:
    """Return the section; tables that were not made leave their part out."""
    found, tables, figures = inputs.tables, {}, {}
    if found.get("pairs") is not None:
        rows = worded(found["pairs"])
        for row in rows:
            row["pair"] = f"{row['experiment_a']} − {row['experiment_b']}"
        tables["pairs"] = frame_table(
            "pairs", "Paired tests, clustered by patient", rows, schema_columns("pairs", PAIRS)
        )
        mine = [r for r in rows if (r["measure"], r["reference"]) == ("dice", "consensus")]
        if mine:
            figures["pairs"] = charts.intervals(
                "pairs",
                "Dice of one experiment less another’s",
                [{"label": r["pair"], "tone": 0, "value": nan(r["difference"]),
                  "low": nan(r["low"]), "high": nan(r["high"])} for r in mine],
                x_label="difference in Dice against the consensus, with 95 % interval",
            )  # fmt: skip
    is_claim = True
    if found.get("ranks") is not None:
        is_claim = bool(found["ranks"]["is_claim"].all())
        rows = worded(found["ranks"])
        for row in rows:
            row["interval"] = f"{tick_words(row['rank_low'])} to {tick_words(row['rank_high'])}"
        columns = schema_columns("ranks", RANKS, ("rank", "mean_rank"))
        tables["ranks"] = frame_table("ranks", "Ranks and their stability", rows, columns)
    if found.get("spread") is not None:
        tables["spread"] = frame_table(
            "spread", "Spread over folds and seeds", worded(found["spread"]),
            schema_columns("spread", SPREAD),
        )  # fmt: skip
    num_tests = len(tables["pairs"].rows) if "pairs" in tables else 0
    values = {"is_claim": is_claim, "num_tests": num_tests}
    return Section("comparisons", "Experiments against each other", values, tables, figures)


def volumes_section(inputs) -> Section:
    """Return the section on volumes: bias and limits of agreement, and each nodule as a dot."""
    frame = inputs.tables.get("bland_altman")
    if frame is None or not len(frame):
        return Section("volumes", "Volumes", {"shown": None})
    rows = worded(frame, "bias_low", "bias_high")
    for row in rows:
        row["subject_words"] = reference_words(row["subject"])
        row["scale_words"] = {"mm3": "mm³", "percent": "% of the mean"}[row["scale"]]
    shown, figures = inputs.shown_experiment, {}
    for scale in ("mm3", "percent"):
        one = [
            row for row in rows
            if (row["experiment"], row["subject"], row["reference"], row["scale"])
            == (shown, "model", "consensus", scale)
        ]  # fmt: skip
        if one and one[0]["bias"] is not None:
            figures[scale] = volume_figure(inputs, one[0])
    columns = schema_columns("bland_altman", VOLUMES, set(VOLUMES) - {"slope"})
    table = frame_table("bland-altman", "Agreement of volumes", rows, columns)
    return Section("volumes", "Volumes", {"shown": shown}, {"volumes": table}, figures)


def volume_figure(inputs, row: dict):
    """Return each nodule's difference of volumes against their mean, with bias and limits."""
    scores = central_rows(inputs.scores)
    mine = scores[
        (scores["subject"] == "model")
        & (scores["reference"] == "consensus")
        & (scores["experiment"] == row["experiment"])
        & ~scores["is_truncated"].astype(bool)
    ]
    means = mine.groupby("nodule_id")[["volume_mm3", "volume_error_mm3"]].mean()
    is_percent, points = row["scale"] == "percent", []
    for nodule, volume, error in means.itertuples():
        middle = float(volume - error / 2)
        share = 100 * float(error) / middle if middle else 0.0
        value = share if is_percent else float(error)
        points.append((middle, value, f"{nodule}: {number(value, 1)}"))
    levels = {
        f"{words} {number(row[key], 0 if not is_percent else 1)}": float(row[key])
        for words, key in (("bias", "bias"), ("lower limit", "limit_low"),
                           ("upper limit", "limit_high"))
        if row[key] is not None
    }  # fmt: skip
    unit = "%" if is_percent else "mm³"
    return charts.scatter(
        f"bland-altman-{row['scale']}",
        f"{row['experiment']}: volume against the consensus, {unit}",
        points,
        x_label="mean of both volumes, mm³",
        y_label=f"model less consensus, {unit}",
        levels=levels,
    )
