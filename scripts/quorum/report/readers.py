"""The readers' agreement with each other, on the native grid."""

import numpy as np

from quorum.report import charts
from quorum.report.tabular import Column, Section, Table, plain

MEASURES = (("dice", "Dice"), ("iou", "IoU"), ("hd95_mm", "HD95, mm"), ("assd_mm", "ASSD, mm"))
KINDS = {
    "pair": "two readers of one nodule",
    "against_others": "one reader against the majority of the others",
}


def agreement_rows(agreement) -> list:
    """Return mean, median and quartiles of each kind of agreement and measure."""
    rows = []
    for kind, label in KINDS.items():
        part = agreement[agreement["kind"] == kind]
        for key, name in MEASURES:
            values = part[key].astype(float).to_numpy()
            present = values[np.isfinite(values)]
            quartiles = np.percentile(present, [25, 50, 75]) if len(present) else [np.nan] * 3
            rows.append({
                "comparison": label,
                "measure": name,
                "num_values": len(present),
                "num_missing": len(values) - len(present),
                "mean": float(present.mean()) if len(present) else None,
                "q25": float(quartiles[0]),
                "median": float(quartiles[1]),
                "q75": float(quartiles[2]),
            })  # fmt: skip
    return rows


def nodule_agreement(agreement) -> dict:
    """Return each nodule's mean pairwise Dice."""
    pairs = agreement[agreement["kind"] == "pair"]
    means = pairs.groupby("nodule_id")["dice"].mean()
    return {nodule: plain(value) for nodule, value in means.items()}


def agreement_table(agreement) -> Table:
    """Return the table of agreement, a row a comparison and measure."""
    columns = [
        Column("comparison", "comparison"),
        Column("measure", "measure"),
        Column("num_values", "values", 0),
        Column("num_missing", "missing", 0, "one of the two masks is empty, or both"),
        Column("mean", "mean", 3),
        Column("q25", "25 %", 3),
        Column("median", "median", 3),
        Column("q75", "75 %", 3),
    ]
    rows = agreement_rows(agreement)
    return Table("readers-agreement", "Agreement of readers", columns, rows)


def readers_section(inputs) -> Section:
    """Return the section on readers: distributions, table, and agreement against diameter."""
    agreement = inputs.agreement
    pairs = agreement[agreement["kind"] == "pair"]
    others = agreement[agreement["kind"] == "against_others"]
    figures = {
        "pair_dice": charts.histogram(
            "readers-pair-dice", "Two readers of one nodule", pairs["dice"], label="Dice"
        ),
        "pair_iou": charts.histogram(
            "readers-pair-iou", "Two readers of one nodule", pairs["iou"], label="IoU"
        ),
        "others_dice": charts.histogram(
            "readers-others-dice",
            "One reader against the majority of the others",
            others["dice"],
            label="Dice",
        ),
        "diameter": diameter_figure(inputs),
    }
    values = {
        "num_nodules": int(agreement["nodule_id"].nunique()),
        "num_pairs": len(pairs),
        "num_others": len(others),
        "num_empty": int(agreement["is_empty_mask"].fillna(False).astype(bool).sum()),
        "tie_rule": inputs.cubes.attributes.get("tie_rule", ""),
    }
    files = {"tables/agreement-by-nodule.csv": agreement.to_csv(index=False, lineterminator="\n")}
    tables = {"agreement": agreement_table(agreement)}
    return Section("readers", "Agreement of readers", values, tables, figures, files)


def diameter_figure(inputs):
    """Return each nodule's mean pairwise Dice against its diameter."""
    means = nodule_agreement(inputs.agreement)
    points = []
    for nodule, diameter in zip(
        inputs.nodules["nodule_id"], inputs.nodules["diameter_mm"], strict=True
    ):
        if means.get(nodule) is not None:
            points.append((float(diameter), means[nodule], f"{nodule}: {means[nodule]:.3f}"))
    return charts.scatter(
        "readers-diameter",
        "Agreement against diameter",
        points,
        x_label="mean diameter, mm",
        y_label="mean pairwise Dice",
    )
