"""Published figures with their protocols, beside this run where it may stand beside them."""

from quorum.report.scores import headline
from quorum.report.svg import number
from quorum.report.tabular import Column, Section, Table

READ = {"primary": "in the paper or its repository", "second_hand": "quoted by others"}
SPELLED = {
    "majority": "majority, at least half of the readers",
    "staple": "STAPLE, probability at least 0.5",
}


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
    values = {"num_papers": len(rows), "has_ours": bool(ours)}
    return Section("papers", "Papers", values, tables)
