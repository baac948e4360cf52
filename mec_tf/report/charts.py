"""Charts as inline SVG whose text keeps its size at any width.

A chart is a box as wide as the page with positions in per cent; only its curve
is stretched. `Mark`s and labels are placed for the narrowest box, so that
what does not overlap there overlaps nowhere.
"""

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np

from mec_tf.report.markup import Markup, element, joined

# Of the narrowest box, in pixels; a letter and a line of its text.
WIDTH, HEIGHT = 250, 260
LETTER, LINE = 7.5, 16
MOST_BARS = 64


@dataclasses.dataclass(frozen=True)
class Axis:
    """One direction of a chart.

    Args:
        low, high: its ends, in data units (logarithms on a log axis).
        ticks: `(place, label)`.
    """

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def share(self, value: float) -> float:
        """Where a value is, between 0 and 1."""
        return (value - self.low) / (self.high - self.low)


@dataclasses.dataclass(frozen=True)
class Mark:
    """A point with a label: where it is, what it says, its CSS class."""

    x: float
    y: float
    label: str
    kind: str


def linear_axis(
    values: Iterable[float], least: float = 0.0, padding: float = 0.15
) -> Axis:
    """An axis around values, at least `least` long, with round ticks."""
    values = list(values)
    low, high = min(values), max(values)
    span = max((high - low) * (1 + 2 * padding), least, 1e-6)
    middle = (low + high) / 2
    low, high = middle - span / 2, middle + span / 2
    power = 10 ** math.floor(math.log10(span / 3))
    step = next(m * power for m in (1, 2, 5, 10) if span / (m * power) <= 6)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step), math.floor(high / step)
    ticks = [
        (n * step, f"{n * step:.{digits}f}") for n in range(first, last + 1)
    ]
    return Axis(low, high, tuple(ticks))


def log_axis(values: Iterable[float], label) -> Axis:
    """An axis in powers of ten around positive values; `label` names them."""
    logs = [math.log10(max(value, 1.0)) for value in values]
    low, high = min(logs) - 0.25, max(logs) + 0.25
    powers = range(math.floor(low), math.ceil(high) + 1)
    ticks: list[float] = []
    for steps in ((1,), (1, 3), (1, 2, 5)):
        ticks = [step * 10.0**power for power in powers for step in steps]
        ticks = [tick for tick in ticks if low <= math.log10(tick) <= high]
        if len(ticks) >= 3:
            break
    ticks = ticks[:: math.ceil(len(ticks) / 5) or 1]
    return Axis(low, high, tuple((math.log10(t), label(t)) for t in ticks))


def counting_axis(last: int) -> Axis:
    """An axis from 0 to `last` with at most seven whole ticks."""
    step = max(1, math.ceil(last / 6))
    ticks = tuple((float(n), str(n)) for n in range(0, last + 1, step))
    return Axis(0.0, float(max(last, 1)), ticks)


def chart(
    x_axis: Axis,
    y_axis: Axis,
    marks: Sequence[Mark],
    line: Sequence[tuple[float, float]] = (),
    *,
    about: str,
    x_name: str,
    y_name: str,
    band: tuple[float, float] | None = None,
    level: float | None = None,
) -> Markup:
    """A chart of a curve and marks.

    Args:
        x_axis: from left to right.
        y_axis: from bottom to top.
        marks: points, the most important first: where labels would overlap,
            later ones go without.
        line: points that a curve joins.
        about: what it shows, for those who do not see it.
        x_name: of the axis.
        y_name: of the axis.
        band: values of y to shade between.
        level: value of y to draw a line at.
    """

    def x_at(value: float) -> str:
        return f"{100 * x_axis.share(value):.2f}%"

    def y_at(value: float) -> str:
        return f"{100 - 100 * y_axis.share(value):.2f}%"

    parts = []
    if band is not None:
        top, bottom = (
            min(1.0, max(0.0, y_axis.share(value)))
            for value in sorted(band)[::-1]
        )
        parts.append(
            element(
                "rect",
                class_="band",
                x="0",
                y=f"{100 - 100 * top:.2f}%",
                width="100%",
                height=f"{100 * (top - bottom):.2f}%",
            )  # fmt: skip
        )
    for value, label in y_axis.ticks:
        y = y_at(value)
        parts.append(
            element("line", class_="grid", x1="0", x2="100%", y1=y, y2=y)
        )
        parts.append(
            element("text", label, class_="tick y", x="-8", y=y, dy="0.35em")
        )
    for value, label in x_axis.ticks:
        x = x_at(value)
        parts.append(
            element("line", class_="notch", x1=x, x2=x, y1="100%", y2="101.5%")
        )
        parts.append(
            element("text", label, class_="tick x", x=x, y="100%", dy="1.6em")
        )
    if level is not None:
        y = y_at(level)
        parts.append(
            element("line", class_="level", x1="0", x2="100%", y1=y, y2=y)
        )
    if len(line) > 1:
        points = " ".join(
            f"{100 * x_axis.share(x):.2f},{100 - 100 * y_axis.share(y):.2f}"
            for x, y in line
        )
        parts.append(
            _stretched(element("polyline", class_="curve", points=points), 100)
        )
    for mark in reversed(marks):
        parts.append(
            element(
                "circle",
                class_=f"mark {mark.kind}",
                cx=x_at(mark.x),
                cy=y_at(mark.y),
                r="6",
            )  # fmt: skip
        )
    for mark, (dx, dy, anchor) in _placed(marks, x_axis, y_axis):
        parts.append(
            element(
                "text",
                mark.label,
                class_=f"label {mark.kind}",
                x=x_at(mark.x),
                y=y_at(mark.y),
                dx=dx,
                dy=dy,
                text_anchor=anchor,
            )  # fmt: skip
        )
    box = element(
        "svg", *parts, role="img", aria_label=about, width="100%", height=HEIGHT
    )
    return element(
        "div",
        element("p", y_name, class_="axis"),
        element("div", box, class_="plot"),
        element("p", x_name, class_="axis below"),
        class_="chart",
    )


def bars(shares: Sequence[float], about: str) -> Markup:
    """Bars of equal width, largest first; a dashed line at the equal share.

    Bars of zero are marked. Of many, neighbours are drawn as their mean.
    """
    groups = np.array_split(np.sort(shares)[::-1], min(len(shares), MOST_BARS))
    heights = np.array([group.mean() for group in groups])
    top = max(heights.max(), 1e-12)
    parts = []
    for place, height in enumerate(heights):
        tall = 100 * height / top if height else 4
        parts.append(
            element(
                "rect",
                class_="dead" if not height else None,
                x=f"{place + 0.06:g}",
                y=f"{100 - tall:.2f}",
                width="0.88",
                height=f"{tall:.2f}",
            )  # fmt: skip
        )
    equal = f"{100 - 100 / len(shares) / top:.2f}%"
    return element(
        "svg",
        _stretched(joined(*parts), len(heights)),
        element("line", class_="level", x1="0", x2="100%", y1=equal, y2=equal),
        class_="bars", role="img", aria_label=about, width="100%", height=56,
    )  # fmt: skip


def _stretched(inside: Markup, width: int) -> Markup:
    return element(
        "svg", inside, viewBox=f"0 0 {width} 100", preserveAspectRatio="none",
        width="100%", height="100%",
    )  # fmt: skip


def _placed(
    marks: Sequence[Mark], x_axis: Axis, y_axis: Axis
) -> list[tuple[Mark, tuple[float, float, str]]]:
    """Labels with `(dx, dy, anchor)`, those left out that would overlap."""
    spots = [
        (WIDTH * x_axis.share(m.x), HEIGHT * (1 - y_axis.share(m.y)))
        for m in marks
    ]
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in spots]
    placed: list[tuple[Mark, tuple[float, float, str]]] = []
    for mark, (x, y) in zip(marks, spots, strict=True):
        wide = LETTER * len(mark.label)
        for dx, dy, anchor, left in (
            (0, -12, "middle", x - wide / 2),
            (0, 22, "middle", x - wide / 2),
            (-12, 4, "end", x - 12 - wide),
            (12, 4, "start", x + 12),
        ):
            box = (left, y + dy - LINE + 4, left + wide, y + dy + 4)
            inside = 0 <= box[0] and box[2] <= WIDTH + 8
            inside = inside and 0 <= box[1] and box[3] <= HEIGHT
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                placed.append((mark, (dx, dy, anchor)))
                break
    return placed


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
