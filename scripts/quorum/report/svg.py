"""Small pieces of hand-written SVG that take their colours from the page's CSS variables."""

import math
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 460, 270
HALF_LETTER = 3.2  # of an axis, in the picture's units
MARGIN = {"left": 60, "right": 14, "top": 12, "bottom": 44}
NUM_COLOURS = 8


@dataclass(frozen=True)
class Figure:
    """A drawing with the words that stand for it where it can't be seen.

    Attributes
    ----------
    name : str
        File name without suffix, unique in the report.
    title : str
        Short caption, one line.
    alt : str
        What the drawing shows, with its main numbers.
    body : Markup
        SVG elements inside the root element.
    width, height : float
        Of the view box.
    """

    name: str
    title: str
    alt: str
    body: Markup
    width: float = WIDTH
    height: float = HEIGHT

    def inline(self) -> Markup:
        """Return the root element for the page."""
        return Markup(
            '<svg class="chart" viewBox="0 0 {w:g} {h:g}" width="{w:g}" height="{h:g}" role="img" '
            'aria-labelledby="figure-{n}-title figure-{n}-desc">'
            '<title id="figure-{n}-title">{t}</title><desc id="figure-{n}-desc">{d}</desc>{b}</svg>'
        ).format(w=self.width, h=self.height, n=self.name, t=self.title, d=self.alt, b=self.body)

    def standalone(self, style: str) -> str:
        """Return a whole SVG file with the style inside, light or dark as its viewer asks."""
        opening = f'<svg xmlns="http://www.w3.org/2000/svg"{str(self.inline())[4:]}'
        head, rest = opening.split("<title", 1)
        return f"{head}<style>{style}</style><title{rest}\n"


@dataclass(frozen=True)
class Axes:
    """A linear mapping from data to the view box."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    width: float = WIDTH
    height: float = HEIGHT
    left: float = MARGIN["left"]

    def x(self, value: float) -> float:
        """Return the horizontal place of a value."""
        inner = self.width - self.left - MARGIN["right"]
        return self.left + inner * (value - self.x_low) / ((self.x_high - self.x_low) or 1)

    def y(self, value: float) -> float:
        """Return the vertical place of a value; larger values stand higher."""
        inner = self.height - MARGIN["top"] - MARGIN["bottom"]
        share = (value - self.y_low) / ((self.y_high - self.y_low) or 1)
        return self.height - MARGIN["bottom"] - inner * share


def ticks(low: float, high: float, count: int = 5) -> list:
    """Return about `count` round numbers from `low` to `high`."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low]
    raw = (high - low) / count
    power = 10 ** math.floor(math.log10(raw))
    step = next(size for size in (power, 2 * power, 5 * power, 10 * power) if size >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 10) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def element(tag: str, content="", **attributes) -> Markup:
    """Return one element; `class_` becomes class, underscores hyphens, numbers are rounded."""
    parts = []
    for name, value in attributes.items():
        if value is None:
            continue
        name = name.rstrip("_").replace("_", "-")
        value = f"{value:.4g}" if isinstance(value, float) and abs(value) < 1 else value
        value = f"{value:.1f}" if isinstance(value, float) else value
        parts.append(Markup(' {}="{}"').format(name, value))
    return Markup("<{}{}>{}</{}>").format(Markup(tag), Markup("").join(parts), content, Markup(tag))


def text(x: float, y: float, words, anchor: str = "start", class_: str = "word") -> Markup:
    """Return a line of text."""
    return element("text", escape(words), x=x, y=y, text_anchor=anchor, class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """Return a straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def rect(x: float, y: float, size: tuple, class_: str, title: str = "") -> Markup:
    """Return a rectangle of size (width, height), with a tooltip where `title` is given."""
    tip = element("title", title) if title else ""
    return element("rect", tip, x=x, y=y, width=size[0], height=max(size[1], 0.0), class_=class_)


def dot(x: float, y: float, class_: str, title: str = "", radius: float = 4.0) -> Markup:
    """Return a dot, with a tooltip where `title` is given."""
    tip = element("title", title) if title else ""
    return element("circle", tip, cx=x, cy=y, r=radius, class_=class_)


def polyline(points, class_: str) -> Markup:
    """Return connected points."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return element("polyline", points=path, class_=class_)


def polygon(points, class_: str) -> Markup:
    """Return a filled outline."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return element("polygon", points=path, class_=class_)


def colour(index: int) -> str:
    """Return the CSS class of the n-th series' colour."""
    return f"c{index % NUM_COLOURS}"


def number(value, digits: int = 3) -> str:
    """Return a number for a person: fixed digits, thousands apart, an en dash where missing."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, int):
        return f"{value:,}".replace("-", "−")
    words = f"{value:,.{digits}f}"
    # A small negative number rounds to zero, which has no sign.
    words = words.lstrip("-") if not words.strip("-0.,") else words
    return words.replace("-", "−")


def frame(axes: Axes, x_label: str, y_label: str, *, x_ticks=None, y_ticks=None) -> Markup:
    """Return grid, ticks and labels of a pair of axes."""
    x_ticks = ticks(axes.x_low, axes.x_high) if x_ticks is None else x_ticks
    y_ticks = ticks(axes.y_low, axes.y_high) if y_ticks is None else y_ticks
    parts = []
    left, right = axes.x(axes.x_low), axes.x(axes.x_high)
    bottom = axes.y(axes.y_low)
    for value in y_ticks:
        parts.append(line(left, axes.y(value), right, axes.y(value), "grid"))
        parts.append(text(left - 7, axes.y(value) + 4, tick_words(value), "end", "tick"))
    for value in x_ticks:
        parts.append(line(axes.x(value), bottom, axes.x(value), bottom + 4, "axis"))
        words = tick_words(value)
        place = min(axes.x(value), WIDTH - HALF_LETTER * len(words))
        parts.append(text(place, bottom + 17, words, "middle", "tick"))
    parts.append(line(left, bottom, right, bottom, "axis"))
    # A label longer than the axis moves to where it is whole.
    half = HALF_LETTER * len(x_label)
    center = max(half, min((left + right) / 2, WIDTH - half))
    parts.append(text(center, axes.height - 8, x_label, "middle", "label"))
    if y_label:
        middle = (bottom + axes.y(axes.y_high)) / 2
        turn = f"rotate(-90 13 {middle:.1f})"
        parts.append(
            element("text", escape(y_label), x=13, y=middle, transform=turn, class_="label middle")
        )
    return Markup("").join(parts)


def tick_words(value: float) -> str:
    """Return a tick's number as short as it can be."""
    return f"{value:g}".replace("-", "−")


def wrap(words: str, width: int) -> list:
    """Return text as lines of at most `width` characters where words allow it."""
    lines = [""]
    for word in str(words).split():
        joined = f"{lines[-1]} {word}".strip()
        if len(joined) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = joined
    return lines
