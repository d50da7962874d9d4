"""The test of the fifth reader, and the same comparison by kind of nodule."""

from quorum.fifth_words import ENDPOINTS, PARTS, VERDICTS
from quorum.report import charts
from quorum.report.measure_words import code_words
from quorum.report.svg import number
from quorum.report.tabular import Section, frame_table, records, schema_columns

GROUPS = {
    "diameter_mm": "by diameter, mm",
    "texture": "by texture",
    "subtlety": "by subtlety",
    "spiculation": "by spiculation",
    "malignancy": "by suspicion of malignancy",
    "slice_thickness_mm": "by slice thickness, mm",
    "is_truncated": "by whether it reaches beyond the cube",
}
FIFTH = {
    "experiment": "experiment",
    "part_words": "part",
    "endpoint_words": "endpoint",
    "model_dice": "model Dice",
    "reader_dice": "readers’ Dice",
    "difference": "model − reader",
    "interval": "95 % interval",
    "p_non_inferior": "p, non-inferior",
    "verdict_words": "verdict",
    "no_verdict_reason": "why none",
    "num_nodules": "nodules",
    "num_patients": "patients",
    "num_seeds": "seeds",
    "num_truncated": "left out, beyond the cube",
    "num_too_few_readers": "left out, fewer than four readers",
    "num_looks": "looks at the test part",
}
PERFORMANCE = {
    "experiment": "experiment",
    "characteristic": "characteristic",
    "level": "level",
    "value": "Dice against the consensus",
    "interval": "95 % interval",
    "num_nodules": "nodules",
    "num_patients": "patients",
}
LOOKS = {
    "time_utc": "time, UTC",
    "experiment": "experiment",
    "predictions_sha256": "digest of the predictions",
    "plan_sha256": "digest of the plan",
    "code_digest": "digest of the code",
}


def with_words(frame) -> list:
    """Return rows with words for codes, and the interval as one cell."""
    rows = records(frame)
    for row in rows:
        row["part_words"] = PARTS.get(row["part"], row["part"])
        row["interval"] = (
            None if row["low"] is None else f"{number(row['low'])} to {number(row['high'])}"
        )
        if "endpoint" in row:
            row["endpoint_words"] = ENDPOINTS.get(row["endpoint"], row["endpoint"])
            row["verdict_words"] = VERDICTS.get(row["verdict"], row["verdict"])
    return rows


def verdict_rows(inputs) -> list:
    """Return the test's rows, the locked test part first; empty where it was not made."""
    frame = inputs.tables.get("fifth_reader")
    if frame is None:
        return []
    place = {name: k for k, name in enumerate(inputs.experiments)}
    rows = with_words(frame)
    return sorted(rows, key=lambda row: (row["part"] != "test", place.get(row["experiment"], 99)))


def fifth_section(inputs) -> Section:
    """Return the section on the test."""
    title, rows = "Is the model a fifth reader?", verdict_rows(inputs)
    if not rows:
        return Section("fifth", title, {"rows": []})
    columns = schema_columns("fifth_reader", FIFTH)
    tables = {"fifth": frame_table("fifth-reader", "The test of the fifth reader", rows, columns)}
    looks = inputs.tables.get("looks")
    if looks is not None:
        columns = schema_columns("looks", LOOKS)
        tables["looks"] = frame_table("looks", "Looks at the locked test part", looks, columns)
    margin = float(rows[0]["margin"])
    values = {
        "rows": rows,
        "margin": margin,
        "plan": rows[0]["plan_sha256"],
        "resamples": rows[0]["num_resamples"],
        "reasons": sorted({row["no_verdict_reason"] for row in rows if row["no_verdict_reason"]}),
        "has_verdict": any(row["verdict"] != "none" for row in rows),
    }
    return Section("fifth", title, values, tables, {"fifth": fifth_figure(inputs, rows, margin)})


def fifth_figure(inputs, rows: list, margin: float):
    """Return each experiment's difference from the readers, and the margin."""
    marks = [
        {
            "label": f"{row['experiment']}, {row['endpoint']}{', test' * (row['part'] == 'test')}",
            "tone": inputs.tone(row["experiment"]),
            "value": nan(row["difference"]),
            "low": nan(row["low"]),
            "high": nan(row["high"]),
        }
        for row in rows
    ]
    return charts.intervals(
        "fifth-reader",
        "Model less reader, and the margin fixed beforehand",
        marks,
        x_label="difference in Dice, with 95 % interval over patients",
        at={f"margin {number(-margin, 2)}": -margin},
    )


def nan(value) -> float:
    """Return a number, nan where it is missing."""
    return float("nan") if value is None else float(value)


def groups_section(inputs) -> Section:
    """Return the section by kind of nodule: a figure a group for the shown experiment."""
    frame, tables = inputs.tables.get("by_group"), performance_tables(inputs)
    if frame is None or not len(frame):
        return Section("groups", "By kind of nodule", {"shown": None}, tables)
    shown, figures = inputs.shown_experiment, {}
    order = {name: k for k, name in enumerate([shown, *inputs.experiments])}
    frame = frame.assign(place=frame["experiment"].map(order)).sort_values(
        ["place", "part", "group", "level_order"], kind="stable"
    )
    mine = frame[(frame["experiment"] == shown) & (frame["part"] == frame["part"].iloc[0])]
    for group, part in mine.groupby("group", sort=False):
        if len(part) < 2:
            continue  # one level is all nodules, which the test above shows
        rows = [
            {
                "label": f"{row['level']} (n {row['num_nodules']})",
                "value": nan(row["difference"]),
                "low": nan(row["low"]),
                "high": nan(row["high"]),
                "tone": inputs.tone(shown),
            }
            for row in records(part)
        ]
        title = f"{shown}, {GROUPS.get(group, group)}"
        name = f"group-{group.replace('_', '-')}"
        label = "Dice, model less reader"
        figures[group] = charts.intervals(name, title, rows, x_label=label)
    rows = with_words(frame)
    for row in rows:
        row["group_words"] = GROUPS.get(row["group"], row["group"]).removeprefix("by ")
    columns = schema_columns("by_group", {
        "experiment": "experiment", "part_words": "part", "group_words": "kind",
        "level": "nodules with", "num_nodules": "nodules", "num_patients": "patients",
        "model_dice": "model Dice", "reader_dice": "readers’ Dice", "difference": "model − reader",
        "interval": "95 % interval", "consensus_dice": "Dice against the consensus",
        "hit_rate": "hit rate",
    })  # fmt: skip
    tables["groups"] = frame_table("by-group", "By kind of nodule", rows, columns)
    return Section("groups", "By kind of nodule", {"shown": shown}, tables, figures)


def performance_tables(inputs) -> dict:
    """Return the table of Dice by sex, age, scanner and so on; empty where it was not made."""
    frame = inputs.tables.get("performance")
    if frame is None:
        return {}
    columns = schema_columns("performance", PERFORMANCE)
    caption = "Dice by what the headers say"
    place = {name: k for k, name in enumerate(inputs.experiments)}
    rows = sorted(records(frame), key=lambda row: place.get(row["experiment"], len(place)))
    for row in rows:
        row["characteristic"] = code_words(row["characteristic"])
        if row["low"] is not None:
            row["interval"] = f"{number(row['low'])} to {number(row['high'])}"
    return {"performance": frame_table("performance", caption, rows, columns)}
