"""The report's kinds of chart, each made from plain numbers: bars, lines, dots, intervals."""

import numpy as np
from markupsafe import Markup

from quorum.report import svg
from quorum.report.svg import Axes, Figure, number

LABEL_LETTERS = 28  # of a row's label that have room; the alternative text has all of it


def shown(label: str) -> str:
    """Return what of a row's label has room in the picture."""
    return label if len(label) <= LABEL_LETTERS else f"{label[: LABEL_LETTERS - 1]}…"


def legend(labels: list, x: float, y: float, mark: str = "dot") -> Markup:
    """Return a row of coloured marks with their names, broken over lines at the right edge."""
    parts, place, row = [], x, y
    for index, label in enumerate(labels):
        width = 22 + 6.9 * len(label)
        if place + width > svg.WIDTH and place > x:
            place, row = x, row + 17
        parts.append(svg.dot(place + 5, row - 4, f"{mark} {svg.colour(index)}", radius=4.0))
        parts.append(svg.text(place + 14, row, label, class_="tick start"))
        place += width
    return Markup("").join(parts)


def histogram(name: str, title: str, values, *, label: str, num_bins: int = 25) -> Figure:
    """Return the distribution of scores in [0, 1], with a line at the mean and the median.

    Parameters
    ----------
    values : sequence of float
        Missing ones are left out, and counted in the alternative text.
    label : str
        Of the horizontal axis.
    """
    values = np.asarray(values, dtype=float)
    present = values[np.isfinite(values)]
    counts, edges = np.histogram(present, bins=num_bins, range=(0.0, 1.0))
    axes = Axes(0.0, 1.0, 0.0, 1.15 * max(int(counts.max()), 1))
    parts = [svg.frame(axes, label, "count")]
    for count, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        size = (axes.x(high) - axes.x(low) - 1.0, axes.y(0) - axes.y(count))
        tip = f"{low:.2f} to {high:.2f}: {count}"
        parts.append(svg.rect(axes.x(low) + 0.5, axes.y(count), size, "bar c0", tip))
    words = f"{len(present)} values, {len(values) - len(present)} missing"
    if len(present):
        mean, median = float(present.mean()), float(np.median(present))
        parts.append(svg.line(axes.x(mean), 6.0, axes.x(mean), axes.y(0), "mark"))
        on_left = mean > 0.5
        place = axes.x(mean) + (-6 if on_left else 6)
        parts.append(
            svg.text(place, 16, f"mean {mean:.3f}", "end" if on_left else "start", "tick strong")
        )
        words += f", mean {mean:.3f}, median {median:.3f}"
    return Figure(name, title, f"Histogram of {label}: {words}.", Markup("").join(parts))


def scatter(name: str, title: str, points, *, x_label: str, y_label: str, **choices) -> Figure:
    """Return dots of (x, y, tooltip); y in [0, 1] unless `levels` are given.

    Parameters
    ----------
    choices : bool or dict
        `is_square` True: x in [0, 1] too, with a line where both are equal. `levels`: words to a
        value of y that is drawn as a line; y then spans the data and these.
    """
    points = [p for p in points if np.isfinite(p[0]) and np.isfinite(p[1])]
    is_square, levels = choices.get("is_square", False), choices.get("levels", {})
    high = 1.0 if is_square else 1.03 * max([p[0] for p in points], default=1.0)
    y_low, y_high = 0.0, 1.0
    if levels:
        spread = [*[p[1] for p in points], *levels.values()]
        pad = 0.06 * ((max(spread) - min(spread)) or 1.0)
        y_low, y_high = min(spread) - pad, max(spread) + pad
    axes = Axes(0.0, float(high), float(y_low), float(y_high))
    parts = [svg.frame(axes, x_label, y_label)]
    if is_square:
        parts.append(svg.line(axes.x(0), axes.y(0), axes.x(1), axes.y(1), "mark"))
    for x, y, tip in points:
        parts.append(svg.dot(axes.x(x), axes.y(y), "dot faint c0", tip, radius=3.0))
    right = svg.WIDTH - svg.MARGIN["right"]
    for words, value in levels.items():
        parts.append(svg.line(axes.left, axes.y(value), right, axes.y(value), "mark"))
        parts.append(svg.text(right, axes.y(value) - 4, words, "end", "tick strong"))
    alt = f"{y_label} against {x_label} for {len(points)} nodules."
    alt += "".join(f" {words}." for words in levels)
    return Figure(name, title, alt, Markup("").join(parts))


def lines(name: str, title: str, series: list, *, x_label: str, y_label: str, **limits) -> Figure:
    """Return named lines with dots and bands.

    Parameters
    ----------
    series : list of dict
        `label`, `x`, `y`, and where there are intervals `low` and `high` (equal lengths);
        `plain` True draws no dots.
    limits : float
        `y_low`, `y_high` in place of the data's.
    """
    flat = [v for s in series for key in ("y", "low", "high") for v in s.get(key, ())]
    flat = [v for v in flat if np.isfinite(v)] or [0.0, 1.0]
    xs = [v for s in series for v in s["x"]] or [0.0, 1.0]
    pad = 0.06 * ((max(flat) - min(flat)) or 1.0)
    # The legend stands above the frame, so it never covers a line.
    axes = Axes(
        min(xs),
        max(xs) if max(xs) > min(xs) else min(xs) + 1,
        limits.get("y_low", min(flat) - pad),
        limits.get("y_high", max(flat) + pad),
    )
    parts = [svg.frame(axes, x_label, y_label)]
    for index, one in enumerate(series):
        parts += draw_line(axes, one, svg.colour(index))
    words = "; ".join(
        f"{s['label']} from {number(float(s['y'][0]))} to {number(float(s['y'][-1]))}"
        for s in series
        if len(s["y"])
    )
    body, height = with_legend(parts, [s["label"] for s in series])
    return Figure(name, title, f"{y_label} against {x_label}: {words}.", body, height=height)


def draw_line(axes: Axes, one: dict, tone: str) -> list:
    """Return band, line and dots of one series."""
    rows = [k for k in range(len(one["x"])) if np.isfinite(one["y"][k])]
    parts = []
    if "low" in one:
        banded = [k for k in rows if np.isfinite(one["low"][k]) and np.isfinite(one["high"][k])]
        over = [(axes.x(one["x"][k]), axes.y(one["high"][k])) for k in banded]
        under = [(axes.x(one["x"][k]), axes.y(one["low"][k])) for k in reversed(banded)]
        parts.append(svg.polygon(over + under, f"band {tone}"))
    parts.append(
        svg.polyline([(axes.x(one["x"][k]), axes.y(one["y"][k])) for k in rows], f"line {tone}")
    )
    if not one.get("plain"):
        for k in rows:
            tip = f"{one['label']}, {one['x'][k]:g}: {one['y'][k]:.3f}"
            parts.append(svg.dot(axes.x(one["x"][k]), axes.y(one["y"][k]), f"dot {tone}", tip, 3.2))
    return parts


def with_legend(parts: list, labels: list) -> tuple:
    """Return the chart moved down under its legend, and the height of both."""
    if len(labels) < 2:
        return Markup("").join(parts), svg.HEIGHT
    rows, place = 1, svg.MARGIN["left"]
    for label in labels:
        width = 22 + 6.9 * len(label)
        if place + width > svg.WIDTH and place > svg.MARGIN["left"]:
            rows, place = rows + 1, svg.MARGIN["left"]
        place += width
    shift = 17 * rows
    moved = svg.element("g", Markup("").join(parts), transform=f"translate(0 {shift})")
    return legend(labels, svg.MARGIN["left"], 14.0) + moved, svg.HEIGHT + shift


def intervals(name: str, title: str, rows: list, *, x_label: str, at: dict | None = None):
    """Return one row a subject: its value as a dot and its interval as a bar.

    Parameters
    ----------
    rows : list of dict
        `label`, `value`, `low`, `high`, `tone` (index of a colour).
    at : dict, optional
        Words to a value that is drawn as an upright line, such as a margin.
    """
    at = at or {}
    height = svg.MARGIN["top"] + svg.MARGIN["bottom"] + 34 * max(len(rows), 1)
    keys = ("value", "low", "high")
    flat = [r[k] for r in rows for k in keys if np.isfinite(r[k])] or [0.0, 1.0]
    flat += at.values()
    pad = 0.08 * ((max(flat) - min(flat)) or 0.1)
    labels = [shown(r["label"]) for r in rows]
    left = 24 + 7.2 * max((len(label) for label in labels), default=4)
    axes = Axes(min(flat) - pad, max(flat) + pad, 0, 1, height=height, left=min(left, 210))
    parts = [svg.frame(axes, x_label, "", y_ticks=[])]
    if axes.x_low < 0 < axes.x_high:
        parts.append(svg.line(axes.x(0), svg.MARGIN["top"], axes.x(0), axes.y(0), "mark"))
    for label, value in at.items():
        top = svg.MARGIN["top"]
        parts.append(svg.line(axes.x(value), top, axes.x(value), axes.y(0), "limit"))
        on_left = axes.x(value) + 4 + 6.9 * len(label) > svg.WIDTH
        place, anchor = (-4, "end") if on_left else (4, "start")
        parts.append(svg.text(axes.x(value) + place, top + 9, label, anchor, "tick strong"))
    for index, row in enumerate(rows):
        y, tone = svg.MARGIN["top"] + 34 * index + 17, svg.colour(row["tone"])
        parts.append(svg.line(axes.left, y, svg.WIDTH - svg.MARGIN["right"], y, "grid"))
        parts.append(svg.text(axes.left - 10, y + 4, labels[index], "end", "word"))
        if np.isfinite(row["low"]) and np.isfinite(row["high"]):
            parts.append(svg.line(axes.x(row["low"]), y, axes.x(row["high"]), y, f"whisker {tone}"))
        if np.isfinite(row["value"]):
            tip = f"{row['label']}: {interval_words(row)}"
            parts.append(svg.dot(axes.x(row["value"]), y, f"dot {tone}", tip, 5.5))
    words = "; ".join(f"{r['label']} {interval_words(r)}" for r in rows)
    return Figure(name, title, f"{x_label}: {words}.", Markup("").join(parts), height=height)


def interval_words(row) -> str:
    """Return `0.812 (0.800 to 0.824)`, or the value alone where there is no interval."""
    if np.isfinite(row["low"]) and np.isfinite(row["high"]):
        return f"{number(row['value'])} ({number(row['low'])} to {number(row['high'])})"
    return number(row["value"])
