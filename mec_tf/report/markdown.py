"""A compression report as Markdown."""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mec_tf.report.words import signed, size, times, verdict


def to_markdown(report: Mapping[str, Any]) -> str:
    """What was done to each table, as a table, with scores where known.

    Args:
        report: `CompressionReport.to_dict()`, or contents of `report.json`.
    """
    tables = report["tables"]
    before, after = (
        sum(table[key] for table in tables)
        for key in ("bytes_before", "bytes_after")
    )
    blocks = [f"**{times(report['ratio'])} smaller**: {size(before)} of "
              f"embedding tables became {size(after)}."]  # fmt: skip
    if "full_precision" in report:
        blocks.append(verdict(report)[0])
    elif report.get("score"):
        name, start, end = report["score"]
        blocks.append(f"{_cell(name)}: {start:.4f} before training, "
                      f"{end:.4f} after.")  # fmt: skip
    blocks.append(
        markdown_table(
            ("table", "rows", "width", "before", "after", "ratio", "how"),
            [
                (
                    t["path"], f"{t['rows']:,}", t["dim"],
                    f"{t['bytes_before']:,}", f"{t['bytes_after']:,}",
                    times(t["bytes_before"] / max(t["bytes_after"], 1)),
                    t["how"],
                )
                for t in tables
            ],
        )
    )  # fmt: skip
    alone = [table for table in tables if table.get("alone")]
    if alone:
        names = list(alone[0]["alone"])
        blocks.append("Scores where only one table is compressed:")
        blocks.append(
            markdown_table(
                ("table", *names),
                [
                    (t["path"], *(signed(t["alone"][name]) for name in names))
                    for t in alone
                ],
            )
        )
    return "\n\n".join(blocks) + "\n"


def markdown_table(head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> str:
    """A table in Markdown; cells are plain text, numbers to the right."""
    rule = ["---", *["---:"] * (len(head) - 2), "---"]
    lines = [
        map(_cell, head), rule, *(map(_cell, row) for row in rows)
    ]  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Any) -> str:
    """Plain text that no Markdown can be made of."""
    plain = html.escape(" ".join(str(value).split()), quote=False)
    return re.sub(r"([\\`*_\[\]|~#!])", r"\\\1", plain)
