"""The blocks that the page is made of."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mec_tf.report.markup import Markup, element


def section(title: str, *parts: Any) -> Markup:
    """A part of the page under its title."""
    return element("section", element("h2", title), *parts)


def note(words: str) -> Markup:
    """A paragraph that explains."""
    return element("p", words, class_="note")


def pairs(values: Mapping[str, Any]) -> Markup:
    """Values under their names, side by side."""
    return element(
        "dl",
        *(
            element("div", element("dt", key), element("dd", value))
            for key, value in values.items()
        ),
        class_="pairs",
    )


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[Any]],
    foot: Sequence[str] | None = None,
    words: tuple[int, ...] = (0,),
) -> Markup:
    """A table in a box that scrolls; `words` are columns set to the left."""

    def row(cells: Sequence[Any], name: str = "td") -> Markup:
        return element(
            "tr",
            *(
                element(
                    "th" if place == 0 else name,
                    element("span", cell, class_="name")
                    if place == 0
                    else cell,
                    class_=None if place in words else "number",
                    scope="row" if place == 0 and name == "td" else None,
                )
                for place, cell in enumerate(cells)
            ),
        )

    body = element(
        "table",
        element("thead", row(head, "th")),
        element("tbody", *map(row, rows)),
        element("tfoot", row(foot)) if foot else "",
    )
    return element(
        "div", body, class_="scroll", tabindex=0, role="region",
        aria_label=head[0] or "scores",
    )  # fmt: skip


def meter(value: float | None) -> Markup:
    """A bar between 0 and 1, and the number."""
    if value is None or not math.isfinite(value):
        return Markup("–")
    width = f"width:{100 * min(max(value, 0.0), 1.0):.1f}%"
    return element(
        "span",
        element("span", f"{value:.3f}"),
        element("span", element("i", style=width), class_="meter"),
        class_="gauge",
    )
