"""Failures and disagreements, before any mean."""

from quorum.report.fifth_reader import PARTS
from quorum.report.tabular import Column, Section, frame_table, records, schema_columns

NUM_SHOWN = 60
# ASSUME: a failure is an IoU with the consensus below 0.1, or no mask (as in analysis_plan.yaml)
FAILURE_IOU = 0.1
COLUMNS = {
    "nodule_id": "nodule",
    "patient_id": "patient",
    "experiment": "experiment",
    "part_words": "part",
    "failure": "failure",
    "consensus_dice": "Dice against the consensus",
    "consensus_iou": "IoU",
    "difference": "model − reader",
    "pair_dice": "readers’ Dice",
    "lowest_pair_dice": "readers’ lowest Dice",
    "diameter_mm": "diameter, mm",
}


def from_table(frame) -> list:
    """Return the rows of reader_nodules.csv with words added."""
    rows = records(frame)
    for row in rows:
        row["part_words"] = PARTS.get(row["part"], row["part"])
    return rows


def from_scores(inputs, nodules: list) -> list:
    """Return the same rows from the gallery's, where the comparison with readers wasn't made."""
    rows = []
    for experiment in inputs.experiments:
        for one in nodules:
            score = one["scores"].get(experiment)
            if score is None or score["dice"] is None:
                continue
            rows.append({
                "experiment": experiment,
                "part_words": one["part"],
                "nodule_id": one["nodule_id"],
                "patient_id": one["patient_id"],
                "is_failure": score["iou"] < FAILURE_IOU,
                "is_empty": score["smallest_mm3"] == 0,
                "consensus_dice": score["dice"],
                "consensus_iou": score["iou"],
                "difference": one.get(f"difference {experiment}"),
                "pair_dice": one["readers_dice"],
                "lowest_pair_dice": None,
                "diameter_mm": one["diameter_mm"],
            })  # fmt: skip
    return sorted(rows, key=lambda row: (not row["is_failure"], row["consensus_iou"]))


def count_failures(rows: list, experiments: list) -> list:
    """Return each experiment's failures, in the configuration's order."""
    counts = []
    for experiment in experiments:
        mine = [row for row in rows if row["experiment"] == experiment]
        failed = sum(bool(row["is_failure"]) for row in mine)
        counts.append({
            "experiment": experiment,
            "num_nodules": len(mine),
            "num_failures": failed,
            "share": 100 * failed / len(mine) if mine else None,
            "num_empty": sum(bool(row["is_empty"]) for row in mine),
            "num_behind": sum(row["difference"] is not None and row["difference"] < 0
                              for row in mine),
        })  # fmt: skip
    return counts


def failure_words(row: dict) -> str:
    """Return what a nodule is called: an empty mask of some run alone makes no failure."""
    if row["is_failure"]:
        return "no mask" if row["is_empty"] else "failure"
    return "no mask in some run" if row["is_empty"] else ""


def failures_section(inputs, nodules: list, cards: list) -> Section:
    """Return the section that stands first on the models' page.

    Parameters
    ----------
    nodules : list of dict
        The gallery's rows.
    cards : list of str
        The first cards of the gallery, worst first.
    """
    frame = inputs.tables.get("reader_nodules")
    rows = from_scores(inputs, nodules) if frame is None else from_table(frame)
    counts = count_failures(rows, inputs.experiments)
    for row in rows:
        row["failure"] = failure_words(row)
    mine = [row for row in rows if row["experiment"] == inputs.shown_experiment]
    mine = sorted(mine, key=lambda row: (not row["is_failure"], row["consensus_iou"] or 0))
    kept = schema_columns("reader_nodules", COLUMNS)
    tables = {
        "counts": frame_table("failures", "Failures by experiment", counts, [
            Column("experiment", "experiment"),
            Column("num_nodules", "nodules scored", 0),
            Column("num_failures", "failures", 0, "IoU with the consensus below 0.1, or no mask"),
            Column("share", "failures, %", 1),
            Column("num_empty", "without any mask", 0, "in some run that scored the nodule"),
            Column("num_behind", "further from the others than the reader left out", 0),
        ]),
        "worst": frame_table(
            "worst-nodules", f"Where {inputs.shown_experiment} does worst", mine[:NUM_SHOWN], kept,
            opens_nodules=True,
        ),
    }  # fmt: skip
    disagreed = sorted(
        (row for row in mine if row["pair_dice"] is not None), key=lambda row: row["pair_dice"]
    )
    tables["disagreed"] = frame_table(
        "disagreed-nodules", "Where readers agree least", disagreed[:NUM_SHOWN], kept,
        opens_nodules=True,
    )  # fmt: skip
    values = {"shown": inputs.shown_experiment, "cards": cards[:6], "num_shown": NUM_SHOWN,
              "num_rows": len(mine)}  # fmt: skip
    whole = frame_table("", "", rows, kept).csv_text()
    files = {"tables/worst-nodules-all.csv": whole}
    return Section("failures", "Failures and disagreements", values, tables, {}, files)
