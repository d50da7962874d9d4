"""Published figures with their protocols, beside this run where it may stand beside them."""

from dataclasses import replace

from quorum.published import DEFINITIONS
from quorum.report import charts
from quorum.report.measure_words import reference_words
from quorum.report.scores import headline
from quorum.report.svg import number
from quorum.report.tabular import Column, Section, Table, frame_table, records, schema_columns

READ = {"primary": "in the paper or its repository", "second_hand": "quoted by others"}
OUR_TOPICS = ("segmentation", "distribution")
SPELLED = {
    "majority": "majority, at least half of the readers",
    "staple": "STAPLE, probability at least 0.5",
}

BESIDE = schema_columns("papers", {
    "topic": "topic", "method": "method", "metric": "metric", "value": "published",
    "spread_interval": "±", "our_value": "ours", "our_interval": "95 % interval",
    "our_experiment": "our experiment", "our_reference": "against",
    "our_num_nodules": "our nodules", "no_value_reason": "why none of ours",
    "differences": "how the protocols differ", "reader_values": "the paper’s readers",
    "our_reader_value": "our readers", "our_reader_definition": "defined as", "nodules": "nodules",
    "readers": "readers", "consensus": "consensus", "split": "split", "input": "input",
    "source": "source", "read": "how it was read", "note": "note",
}, ("value",))  # fmt: skip
BESIDE = [replace(c, link="url") if c.key == "source" else c for c in BESIDE]


def our_rows(inputs) -> list:
    """Return this run's rows in the columns of the papers, protocol spelled out.

    Phantoms are simulated images: they get no row. Baselines get one where there is no network.
    """
    if inputs.data_kind not in ("scan", "cut_out"):
        return []
    rows, methods = [], inputs.methods
    networks = [name for name in inputs.experiments if methods[name] == "network"]
    for experiment in networks or inputs.experiments:
        for metric in ("dice", "iou"):
            row = headline(inputs.summary, experiment, metric, "consensus")
            if row is None:
                continue
            rows.append({
                "method": f"Quorum, {experiment}",
                "metric": {"dice": "Dice", "iou": "IoU"}[metric],
                "value": row["value"],
                "spread_interval": f"{number(row['low'])} to {number(row['high'])} (95 %)",
                "nodules": f"{row['num_nodules']} ({row['num_patients']} patients)",
                "readers": readers_words(inputs),
                "consensus": consensus_words(inputs),
                "split": split_words(inputs),
                "source": "this run",
                "url": None,
                "read": "computed",
                "note": note_words(inputs),
            })  # fmt: skip
    return rows


def readers_words(inputs) -> str:
    """Return how many readers marked the cohort's nodules."""
    counts = sorted({int(n) for n in inputs.cubes.num_readers})
    return f"marked by {' or '.join(map(str, counts))} readers"


def consensus_words(inputs) -> str:
    """Return the configuration's consensus in words."""
    consensus = inputs.settings.get("consensus", "majority")
    return SPELLED.get(str(consensus), f"{consensus}")


def split_words(inputs) -> str:
    """Return how the scored nodules were set apart."""
    folds = sorted({run.fold for run in inputs.predictions})
    parts = inputs.splits["part"].nunique() - ("test" in set(inputs.splits["part"]))
    return f"by patient; fold {', '.join(map(str, folds))} of {parts}; test part locked"


def note_words(inputs) -> str:
    """Return what else belongs to this run's protocol."""
    spacing = inputs.cubes.spacing_mm
    words = f"{spacing:g} mm grid, covered region only; the centre of the nodule is given."
    if inputs.data_kind == "cut_out":
        words += " Volumes cut out around the readers' marks: optimistic."
    return words


def spread_words(spread) -> str | None:
    """Return a published standard deviation in words."""
    return None if spread is None else f"± {spread:g}"


def papers_section(inputs) -> Section:
    """Return the section with published figures."""
    rows = [{**row, "read": READ[row["read"]]} for row in inputs.published.get("segmentation", [])]
    columns = [
        Column("method", "method"),
        Column("metric", "metric"),
        Column("value", "value", 4),
        Column("spread_interval", "± or interval"),
        Column("nodules", "nodules"),
        Column("readers", "readers"),
        Column("consensus", "consensus"),
        Column("split", "split"),
        Column("source", "source", link="url"),
        Column("read", "how it was read"),
        Column("note", "note"),
    ]
    ours = our_rows(inputs)
    tables = {"papers": Table("papers", "Published figures", columns, [*ours, *rows])}
    values = {"num_papers": len(rows), "has_ours": bool(ours), "num_beside": 0}
    frame, figures = inputs.tables.get("papers"), {}
    if frame is not None and len(frame):
        beside = beside_rows(frame)
        tables["papers"] = frame_table("papers", "Published figures and ours", beside, BESIDE)
        values["num_beside"] = sum(row["our_value"] is not None for row in beside)
        values["reasons"] = sorted({r["no_value_reason"] for r in beside if r["no_value_reason"]})
        for topic in OUR_TOPICS:
            has_both = [r for r in beside if None not in (r["value"], r["our_value"])]
            rows = [row for row in has_both if row["topic"] == topic]
            if rows:
                figures[topic] = papers_figure(rows, topic)
    return Section("papers", "Published numbers", values, tables, figures)


def beside_rows(frame) -> list:
    """Return the rows of papers.csv with words for codes: with ours first, then by our task."""
    rows = records(frame)
    topics = sorted({row["topic"] for row in rows})
    place = [*OUR_TOPICS, *topics].index
    for row in rows:
        row["read"] = READ.get(row["read"], row["read"])
        row["our_reference"] = row["our_reference"] and reference_words(row["our_reference"])
        definition = row["our_reader_definition"]
        row["our_reader_definition"] = DEFINITIONS.get(definition, definition)
        row["spread_interval"] = spread_words(row["spread"])
        if row["our_low"] is not None:
            row["our_interval"] = f"{number(row['our_low'])} to {number(row['our_high'])}"
    return sorted(rows, key=lambda row: (row["our_value"] is None, place(row["topic"])))


def papers_figure(rows: list, topic: str):
    """Return each paper's number as a dot above ours with its interval."""
    marks, nan = [], float("nan")
    for row in rows:
        name = f"{row['method']}, {row['metric']}"
        marks.append({"label": name, "value": row["value"], "low": nan, "high": nan, "tone": 1})
        low, high = (nan if row[key] is None else row[key] for key in ("our_low", "our_high"))
        label = f"ours: {row['our_experiment']}"
        marks.append({
            "label": label, "value": row["our_value"], "low": low, "high": high, "tone": 0,
        })  # fmt: skip
    title = "Published, and our run of the nearest protocol"
    what = "GED², lower is better" if topic == "distribution" else "value"
    return charts.intervals(
        f"papers-{topic}", title, marks, x_label=f"{what}; ours with 95 % interval"
    )
