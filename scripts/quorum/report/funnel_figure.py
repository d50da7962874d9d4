"""The funnel as a drawing: published counts, and beside each what every definition gives."""

from markupsafe import Markup

from quorum.report import svg
from quorum.report.svg import Figure
from quorum.report.tabular import is_missing

WIDTH, ROW, TOP, LABEL, RIGHT = 760.0, 22.0, 10.0, 330.0, 150.0
HEADINGS = {
    "marks": "Marks of the XML",
    "pylidc": "pylidc",
    "readers": "Counted by reader",
    "Armato": "Armato 2011",
    "Reeves": "Reeves and Biancardi, list 3.2",
    "LUNA16": "LUNA16",
}


def funnel_figure(funnel) -> Figure:
    """Return the drawing of the table `funnel`: a bar a count, a dashed line where published.

    Bars of one branch share a scale; each branch starts with its heading.
    """
    parts, y, words = [], TOP, []
    for branch, rows in funnel.groupby("branch", sort=False):
        y += 8
        parts.append(svg.text(4, y + 13, HEADINGS.get(branch, branch), class_="word bold"))
        y += ROW
        largest = float(rows["num"].max()) or 1.0
        for row in rows.itertuples():
            parts.append(bar_row(row, y, (WIDTH - LABEL - RIGHT) / largest))
            y += ROW
        words += [f"{row.definition}: {row.num}" for row in rows.itertuples()]
    body = Markup("").join(parts)
    title = "From all marks to each published count"
    return Figure("reader-funnel", title, "; ".join(words), body, WIDTH, y + TOP)


def bar_row(row, y: float, scale: float) -> Markup:
    """Return one count: its definition, a bar, the number and the difference."""
    is_published = is_missing(row.difference) and not is_missing(row.published)
    is_nearest = not is_missing(row.is_nearest) and bool(row.is_nearest)
    tone = "c1" if is_published else "c0"
    label = f"published: {row.definition}" if is_published else str(row.definition)
    parts = [svg.text(LABEL - 8, y + 14, label, "end", "tick strong" if is_nearest else "tick")]
    parts.append(svg.rect(LABEL, y + 3, (max(row.num * scale, 1.0), ROW - 7), f"bar {tone}"))
    if not is_missing(row.published):
        x = LABEL + float(row.published) * scale
        parts.append(svg.line(x, y, x, y + ROW, "mark"))
    number = f"{int(row.num):,}"
    if not is_missing(row.num_by_four):
        number += f" / {int(row.num_by_four):,}"
    if not is_missing(row.difference):
        number += f" ({int(row.difference):+d})".replace("-", "−")
    parts.append(svg.text(LABEL + row.num * scale + 7, y + 14, number, class_="tick strong"))
    return Markup("").join(parts)
