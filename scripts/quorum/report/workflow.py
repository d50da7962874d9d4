"""The workflow as a figure, and what each rule took."""

import itertools
import re
from collections import defaultdict
from pathlib import Path

from markupsafe import Markup

from quorum.report import svg
from quorum.report.provenance import benchmark_rows
from quorum.report.svg import Figure, number
from quorum.report.tabular import Column, Section, Table
from quorum.settings import ROOT

RULE = re.compile(r"^(?:rule|checkpoint) (\w+):\n((?:(?:[ ]{4}.*)?\n)+)", re.MULTILINE)
FUNCTION = re.compile(r"^def (\w+)\(.*?\n(?=^\S|\Z)", re.MULTILINE | re.DOTALL)
MADE = re.compile(r"<results>/(\w+)|\brules\.(\w+)\.output|\bcheckpoints\.(\w+)\.get")
BOX_WIDTH, BOX_HEIGHT, GAP_X, GAP_Y, EDGE = 164.0, 36.0, 14.0, 32.0, 6.0
PASS_WIDTH = 0.0
SWEEPS = 12
SOURCES = {"simulate_series", "download_series"}


def rule_graph(root: Path = ROOT) -> dict:
    """Return each rule with its file (such as cohort) and the rules whose results it may read.

    A path names the rule that made it, by the project's layout; what an input function may return
    is read in its body. So this is every edge that some configuration has.
    """
    files = sorted((root / "workflow" / "rules").glob("*.smk"))
    texts = {path.stem: path.read_text(encoding="utf-8") + "\n" for path in files}
    functions = {m.group(1): m.group(0) for m in FUNCTION.finditer(texts.get("common", ""))}
    graph = {}
    for stem, text in texts.items():
        for name, body in RULE.findall(text):
            match = re.search(r"^    input:\n(.*?)^    \w", body, re.M | re.S)
            words = match.group(1) if match else ""
            for called in re.findall(r"\b(\w+)\b(?=\(|,\n)", words):
                words += functions.get(called, "")
            made = {one for match in MADE.findall(words) for one in match if one}
            made |= set(re.findall(r'"(\w+)/\w+\.csv"', words))
            made |= SOURCES if "SOURCE['rule']" in words else set()
            graph[name] = {"file": stem, "needs": made - {name}}
    for node in graph.values():
        node["needs"] &= set(graph)
    return graph


def ran_graph(graph: dict, ran: set, target: str = "write_report") -> dict:
    """Return the part of a graph that leads to `target` through rules that ran."""
    kept, waiting = {}, [target] if target in graph else []
    while waiting:
        name = waiting.pop()
        if name in kept:
            continue
        needs = {one for one in graph[name]["needs"] if one in ran}
        kept[name] = {**graph[name], "needs": needs}
        waiting += needs
    return kept


def without_detours(graph: dict) -> dict:
    """Return the graph without edges that a longer way makes superfluous."""
    above = {}

    def ancestors(name):
        if name not in above:
            needs = graph[name]["needs"]
            above[name] = needs.union(*(ancestors(one) for one in needs)) if needs else set()
        return above[name]

    return {
        name: {**node, "needs": {
            one for one in node["needs"]
            if not any(one in ancestors(other) for other in node["needs"] - {one})
        }}
        for name, node in graph.items()
    }  # fmt: skip


def layers(graph: dict) -> tuple:
    """Return the rules in layers, each below all that it needs, and the edges from layer to layer.

    An edge over several layers is led through a place in each of them, (rule, rule, layer), so
    that no box covers it. Rows are ordered so that few edges cross (barycentres, Sugiyama 1981).
    """
    depth = {}

    def depth_of(name):
        if name not in depth:
            depth[name] = 1 + max((depth_of(one) for one in graph[name]["needs"]), default=-1)
        return depth[name]

    rows, edges = defaultdict(list), []
    for name in sorted(graph):
        rows[depth_of(name)].append(name)
    for name in sorted(graph):
        for needed in sorted(graph[name]["needs"]):
            between = [(needed, name, k) for k in range(depth[needed] + 1, depth[name])]
            for place in between:
                rows[place[2]].append(place)
            edges += itertools.pairwise([needed, *between, name])
    rows = [rows[k] for k in sorted(rows)]
    above, below = defaultdict(list), defaultdict(list)
    for start, end in edges:
        above[end].append(start)
        below[start].append(end)
    for sweep in range(SWEEPS):
        order = rows[::-1] if sweep % 2 else rows
        neighbours = below if sweep % 2 else above
        place = {one: k / len(row) for row in rows for k, one in enumerate(row)}
        for row in order:
            row.sort(key=lambda one: middle([place[n] for n in neighbours[one]], place[one]))
            place.update({one: k / len(row) for k, one in enumerate(row)})
    return rows, edges


def middle(places: list, otherwise: float) -> float:
    """Return the mean of places, or `otherwise` of none."""
    return sum(places) / len(places) if places else otherwise


def width_of(one) -> float:
    """Return the room that a rule's box, or a passing edge, takes in its row."""
    return (BOX_WIDTH if isinstance(one, str) else PASS_WIDTH) + GAP_X


def workflow_figure(graph: dict, costs: dict) -> Figure:
    """Return the rules as boxes with their time, above each what it needs."""
    rows, edges = layers(graph)
    files = sorted({node["file"] for node in graph.values()})
    width = max((sum(map(width_of, row)) for row in rows), default=0) + 2 * EDGE
    centre, parts = {}, []
    for k, row in enumerate(rows):
        x = (width - sum(map(width_of, row))) / 2
        for one in row:
            centre[one] = (x + width_of(one) / 2, EDGE + k * (BOX_HEIGHT + GAP_Y))
            x += width_of(one)
    for start, end in edges:
        parts.append(edge(centre[start], centre[end], is_passing=not isinstance(start, str)))
    for name, node in sorted(graph.items()):
        parts.append(rule_box(centre[name], name, costs.get(name), files.index(node["file"])))
    height = 2 * EDGE + len(rows) * (BOX_HEIGHT + GAP_Y) - GAP_Y
    words = "; ".join(
        f"{name} needs {', '.join(sorted(node['needs']))}" if node["needs"] else f"{name} starts"
        for name, node in sorted(graph.items())
    )
    title = "Rules of this run, and what each one reads"
    return Figure("workflow", title, f"{words}.", Markup("").join(parts), width, height)


def edge(start: tuple, end: tuple, is_passing: bool) -> Markup:
    """Return a bent line down from one row to the next; straight through a row that it passes."""
    (x1, y1), (x2, y2) = start, end
    bend = GAP_Y / 2
    lower = y1 + BOX_HEIGHT
    top = f"M{x1:.1f} {y1 if is_passing else lower:.1f}V{lower:.1f}"
    path = f"{top}C{x1:.1f} {lower + bend:.1f} {x2:.1f} {y2 - bend:.1f} {x2:.1f} {y2:.1f}"
    return svg.element("path", d=path, class_="edge")


def rule_box(centre: tuple, name: str, cost: dict | None, tone: int) -> Markup:
    """Return a rule's box: its name, and the time of all its jobs."""
    x, y = centre
    size = {"width": BOX_WIDTH, "height": BOX_HEIGHT, "rx": 6}
    class_ = f"node {svg.colour(tone)}"
    parts = [svg.element("rect", x=x - BOX_WIDTH / 2, y=y, class_=class_, **size)]
    parts.append(svg.text(x, y + 14, name, "middle", "tick strong"))
    if cost:
        jobs = f"{cost['num_jobs']} jobs" if cost["num_jobs"] > 1 else "1 job"
        words = f"{number(cost['total_s'], 1)} s, {jobs}"
        parts.append(svg.text(x, y + 28, words, "middle", "tick"))
    return Markup("").join(parts)


def costs_figure(rows: list) -> Figure:
    """Return time of every rule as bars, slowest first, with the largest memory in words."""
    left, line, width = 170.0, 21.0, 620.0
    largest = max((row["total_s"] for row in rows), default=0) or 1.0
    parts = []
    for k, row in enumerate(rows):
        y, length = 6 + k * line, (width - left - 170) * row["total_s"] / largest
        words = f"{number(row['total_s'], 1)} s"
        if row["max_rss_mb"] is not None:
            words += f", {number(row['max_rss_mb'], 0)} MB"
        parts.append(svg.text(left - 8, y + 14, row["rule"], "end", "tick"))
        parts.append(svg.rect(left, y + 3, (max(length, 1.0), line - 7), "bar c0"))
        parts.append(svg.text(left + max(length, 1.0) + 7, y + 14, words, class_="tick strong"))
    alt = "; ".join(f"{row['rule']} {row['total_s']:.1f} s" for row in rows)
    title = "Time of all jobs, and the largest memory of one"
    body = Markup("").join(parts)
    return Figure("costs", title, f"{alt}.", body, width, 12 + line * max(len(rows), 1))


def workflow_section(inputs) -> Section:
    """Return the section: the graph of rules that ran, and their costs."""
    rows = benchmark_rows(inputs.benchmarks)
    costs = {row["rule"]: row for row in rows}
    graph = without_detours(ran_graph(rule_graph(), set(costs)))
    table = Table("times", "Time and memory by rule", [
        Column("rule", "rule"),
        Column("num_jobs", "jobs", 0),
        Column("total_s", "all jobs, s", 1),
        Column("longest_s", "longest job, s", 1),
        Column("max_rss_mb", "largest memory, MB", 0),
    ], rows)  # fmt: skip
    values = {
        "num_rules": len(graph),
        "num_jobs": sum(row["num_jobs"] for row in rows),
        "total_s": sum(row["total_s"] for row in rows),
    }
    figures = {"workflow": workflow_figure(graph, costs), "costs": costs_figure(rows)}
    return Section("workflow", "What ran", values, {"times": table}, figures)
