"""Pieces of messages about a log's data: one line, of bounded length."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa

_VALUE_CHARS = 80
_TEXT_CHARS = 300
_NAMES = 20


def shown(value: Any) -> str:
    """Returns a value as Python writes it, cut where it is long."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        return repr(cut(value, _VALUE_CHARS))
    try:
        return cut(repr(value), _VALUE_CHARS)
    except ValueError:  # Whole numbers of thousands of digits.
        return f"a {type(value).__name__}"


def cut(text: str, limit: int = _TEXT_CHARS) -> str:
    """Returns the beginning of a text, its length named where it is cut."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text):,} characters)"


def one_line(text: str) -> str:
    """Returns a text without line breaks and control characters, cut."""
    text = " ".join(text[: 10 * _TEXT_CHARS].split())
    return cut("".join(c if c.isprintable() else "?" for c in text))


def listed(names: Iterable[str]) -> str:
    """Lists names, at most some."""
    names = list(names)
    more = len(names) - _NAMES
    text = ", ".join(map(shown, names[:_NAMES]))
    return f"{text} and {more:,} more" if more > 0 else text


def first_failing(values: Any, convert: Callable[[Any], Any]) -> int:
    """Returns the place of the first value that `convert` refuses.

    Args:
        values: Array that can be sliced.
        convert: Raises a ValueError or Arrow's where one of the values it is
            given is not right; it does so for all of `values`.
    """
    good, bad = 0, len(values)
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            convert(values[good:middle])
        except (ValueError, pa.ArrowException):
            bad = middle
        else:
            good = middle
    return good
