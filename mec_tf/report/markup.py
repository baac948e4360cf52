"""HTML put together so that data cannot become markup."""

import html
import re
from typing import Any

# What no HTML page may hold, or no encoder can write.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


class Markup(str):
    """Text that is HTML already; any other text is escaped by `element`."""


def escape(value: Any) -> Markup:
    """HTML of a value; of `Markup`, itself."""
    if isinstance(value, Markup):
        return value
    return Markup(html.escape(_UNPRINTABLE.sub("\ufffd", str(value))))


def element(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """One HTML or SVG element.

    Args:
        name: of the element.
        *children: markup, or values that are escaped.
        **attributes: by name, "_" for "-" and none at the end ("class_");
            those that are None are left out.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = "".join(map(escape, children))
    return Markup(f"<{name}{written}>{inside}</{name}>")


def joined(*parts: Any) -> Markup:
    """Parts one after the other."""
    return Markup("".join(map(escape, parts)))
