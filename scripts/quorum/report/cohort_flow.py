"""The cohort's flow: every step from all groups of annotations to scored nodules, with reasons."""

from markupsafe import Markup

from quorum.report import svg
from quorum.report.measure_words import code_words
from quorum.report.svg import Figure
from quorum.report.tabular import (
    Column,
    Section,
    Table,
    frame_table,
    records,
    schema_columns,
)

TOP, LEFT, GAP = 6.0, 3.0, 18.0
BOX_WIDTH, SIDE_WIDTH = 220.0, 206.0
BOX_CHARACTERS, SIDE_CHARACTERS = 30, 29
LINE_HEIGHT = 15.0
TABLE_ONE = {
    "part": "part", "characteristic": "characteristic", "level": "level", "unit": "counted",
    "num_patients": "patients", "num_series": "series", "num_nodules": "nodules", "share": "share",
    "median": "median", "lower_quartile": "25 %", "upper_quartile": "75 %", "minimum": "smallest",
    "maximum": "largest",
}  # fmt: skip


def flow_steps(inputs) -> list:
    """Return the steps in order, as dicts of criterion, num_in, num_dropped, num_out, note."""
    steps = records(inputs.attrition)
    num_selected = len(inputs.nodules)
    excluded = inputs.findings[inputs.findings["decision"] == "excluded"]
    reasons = inputs.dropped["reason"].value_counts()
    left = num_selected
    for reason, count in reasons.items():
        steps.append(step(f"a cube ({words(reason)})", left, int(count), "extract_cubes"))
        left -= int(count)
    lost = left - len(inputs.cubes)
    if lost:
        steps.append(step("a cube, and no reason was written", left, lost, "to be looked into"))
    steps += scored_steps(inputs)
    for one in steps:
        if len(excluded) and one["note"] == "extract_cubes":
            one["note"] = f"extract_cubes; {len(excluded)} series excluded by check_series"
    return steps


def step(criterion: str, num_in: int, num_dropped: int, note: str) -> dict:
    """Return one step; what goes out is what came in less what was dropped."""
    return {
        "criterion": criterion,
        "num_in": num_in,
        "num_dropped": num_dropped,
        "num_out": num_in - num_dropped,
        "note": note,
    }


def scored_steps(inputs) -> list:
    """Return the steps from cubes to scored nodules: the locked test part, and other folds."""
    parts = dict(zip(inputs.splits["patient_id"], inputs.splits["part"], strict=True))
    cubes = inputs.cubes
    part_of = [parts.get(patient, "in no part") for patient in cubes.patient_id]
    scored = set(inputs.scores["nodule_id"])
    num_test = sum(
        part == "test" and nodule not in scored
        for part, nodule in zip(part_of, cubes.nodule_id, strict=True)
    )
    steps = [step("outside of the locked test part", len(cubes), num_test, "not predicted")]
    left = steps[0]["num_out"]
    rest = left - len(scored & set(cubes.nodule_id))
    note = "folds that trained or validated only"
    steps.append(step("in a fold that is scored", left, rest, note))
    # Nothing is lost here: these nodules serve another purpose.
    return [{**one, "verb": "set aside"} for one in steps]


def words(reason) -> str:
    """Return a reason's code as words."""
    return str(reason).replace("_", " ")


def flow_figure(steps: list) -> Figure:
    """Return the flow diagram: what is left down the middle, what was dropped to the right."""
    num_first = steps[0]["num_in"] if steps else 0
    parts, y = [], TOP
    height = box_height([])
    parts.append(box(y, f"{num_first:,} nodules", ["groups of annotations"], "box strong"))
    for index, one in enumerate(steps):
        reason = svg.wrap((one["note"] or "").removeprefix("dropped: "), SIDE_CHARACTERS)
        reason = reason if one["num_dropped"] and one["note"] else []
        side_height = 28 + LINE_HEIGHT * len(reason)
        down = max(side_height + 14, 34)
        middle, joint = LEFT + BOX_WIDTH / 2, y + height + down / 2
        tone = "" if one["num_dropped"] else "faded"
        parts.append(svg.line(middle, y + height, middle, y + height + down, "arrow"))
        parts.append(svg.line(middle, joint, LEFT + BOX_WIDTH + GAP, joint, f"arrow {tone}"))
        words = f"{one['num_dropped']:,} {one.get('verb', 'dropped')}"
        parts.append(side_box(joint - side_height / 2, words, reason, tone))
        y += height + down
        is_last = index == len(steps) - 1
        label = f"{one['num_out']:,} nodules" + (" scored" if is_last else "")
        lines = svg.wrap(one["criterion"], BOX_CHARACTERS)
        parts.append(box(y, label, lines, "box strong" if is_last else "box"))
        height = box_height(lines)
    alt = f"{num_first} groups of annotations. " + " ".join(
        f"{one['criterion']}: {one['num_dropped']} {one.get('verb', 'dropped')}, "
        f"{one['num_out']} left."
        for one in steps
    )
    body = Markup("").join(parts)
    width = LEFT + BOX_WIDTH + GAP + SIDE_WIDTH + LEFT
    title = "From groups of annotations to scored nodules"
    return Figure("cohort-flow", title, alt, body, width, y + height + TOP)


def box_height(lines: list) -> float:
    """Return the height of a box of the middle column."""
    return 34.0 + LINE_HEIGHT * max(len(lines), 1)


def box(y: float, label: str, lines: list, class_: str) -> Markup:
    """Return a box of the middle column: a count, and what was met."""
    size = {"width": BOX_WIDTH, "height": box_height(lines), "rx": 8}
    middle = LEFT + BOX_WIDTH / 2
    parts = [svg.element("rect", x=LEFT, y=y, class_=class_, **size)]
    parts.append(svg.text(middle, y + 22, label, "middle", "word bold"))
    for row, one in enumerate(lines):
        parts.append(svg.text(middle, y + 39 + LINE_HEIGHT * row, one, "middle", "tick"))
    return Markup("").join(parts)


def side_box(y: float, label: str, lines: list, tone: str) -> Markup:
    """Return a box of what was dropped: a count, and the reason."""
    x = LEFT + BOX_WIDTH + GAP
    size = {"width": SIDE_WIDTH, "height": 28 + LINE_HEIGHT * len(lines), "rx": 8}
    parts = [svg.element("rect", x=x, y=y, class_=f"side {tone}", **size)]
    parts.append(svg.text(x + 11, y + 18, label, class_=f"word {tone}"))
    for row, one in enumerate(lines):
        parts.append(svg.text(x + 11, y + 34 + LINE_HEIGHT * row, one, class_="tick"))
    return Markup("").join(parts)


def cohort_section(inputs) -> Section:
    """Return the section on the cohort: flow, published counts beside it, parts of the split."""
    steps = flow_steps(inputs)
    columns = [
        Column("criterion", "criterion"),
        Column("num_in", "in", 0),
        Column("num_dropped", "dropped", 0),
        Column("num_out", "out", 0),
        Column("note", "note"),
    ]
    tables = {"flow": Table("cohort-flow", "Every step of the cohort", columns, steps)}
    tables["splits"] = splits_table(inputs)
    tables["counts"] = counts_table(inputs)
    table_one = inputs.tables.get("table_one")
    if table_one is not None:
        columns = schema_columns("table_one", TABLE_ONE)
        rows = records(table_one)
        for row in rows:
            row["characteristic"] = code_words(row["characteristic"])
        tables["table_one"] = frame_table("table-1", "Table 1", rows, columns)
    values = {
        "num_groups": steps[0]["num_in"] if steps else 0,
        "num_selected": len(inputs.nodules),
        "num_series": int(inputs.nodules["series_uid"].nunique()),
        "num_patients": int(inputs.nodules["patient_id"].nunique()),
        "num_cubes": len(inputs.cubes),
        "num_scored": int(inputs.scores["nodule_id"].nunique()),
        "criteria": inputs.settings.get("select_nodules", {}),
        "published": published_counts(inputs),
        "num_all_series": len(inputs.series),
        "num_all_patients": int(inputs.series["patient_id"].nunique()),
    }
    return Section(
        "cohort", "From marks to scored nodules", values, tables, {"flow": flow_figure(steps)}
    )


def published_counts(inputs) -> dict:
    """Return Armato's and pylidc's counts, where the published counts hold them."""
    found = {}
    for row in inputs.published.get("counts", []):
        for key in ("Armato", "pylidc"):
            if row["source"].startswith(key):
                found[key.lower()] = row
    return found


def counts_table(inputs) -> Table:
    """Return the published counts of the collection's nodules."""
    columns = [
        Column("what", "what is counted"),
        Column("value", "count", 0),
        Column("marked_by_all", "marked by all four", 0),
        Column("source", "source", link="url"),
        Column("note", "note"),
    ]
    rows = inputs.published.get("counts", [])
    return Table("published-counts", "Published counts of the collection", columns, rows)


def splits_table(inputs) -> Table:
    """Return patients and nodules in each part of the split, and what this report scored."""
    scored = inputs.scores.drop_duplicates("nodule_id")
    rows = []
    for part, group in inputs.splits.groupby("part", sort=True):
        patients = set(group["patient_id"])
        ours = inputs.nodules[inputs.nodules["patient_id"].isin(patients)]
        rows.append({
            "part": part,
            "num_patients": len(patients),
            "num_nodules": len(ours),
            "median_diameter_mm": float(ours["diameter_mm"].median()) if len(ours) else None,
            "num_scored": int(scored["patient_id"].isin(patients).sum()),
        })  # fmt: skip
    columns = [
        Column("part", "part"),
        Column("num_patients", "patients", 0),
        Column("num_nodules", "nodules", 0),
        Column("median_diameter_mm", "median diameter, mm", 1),
        Column("num_scored", "nodules scored", 0),
    ]
    return Table("splits", "Parts of the split, disjoint by patient", columns, rows)
