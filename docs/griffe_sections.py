"""Makes the sections of our docstrings known to the site's generator.

They follow Keras: "Example:" over a console session, "Input shape:" and
"Output shape:" on lines of their own, "Reference:".
"""

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)
_SHAPE = re.compile(r"^(Input shape|Output shape):(.*)$", re.MULTILINE)
_REFERENCE = re.compile(r"^Reference:\n((?: {4}.*\n?)+)", re.MULTILINE)


class Sections(griffe.Extension):
    """Rewrites each docstring before it is parsed."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrites the docstring of a module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = rewritten(obj.docstring.value)


def rewritten(text: str) -> str:
    """A docstring with sections that the generator knows."""
    text = _EXAMPLE.sub("Examples:", text)
    text = _SHAPE.sub(r"\n**\1:**\2\n", text)
    return _REFERENCE.sub(_reference, text)


def _reference(found: re.Match) -> str:
    words = " ".join(found.group(1).split())
    return f"**Reference:** {words}\n"
