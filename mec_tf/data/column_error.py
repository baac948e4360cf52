"""Columns that are not as they must be."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from mec_tf.data.wording import listed

_HINT = (
    "; name the column in `numeric` if it is a quantity, in `strings` if it "
    "is text"
)
_WORDS = {
    "int64": "whole numbers" + _HINT,
    "double": "numbers",
    "string": "UTF-8 text",
    "large_string": "UTF-8 text",
    "bool": "true or false",
}


class ColumnError(ValueError):
    """A column holds a value that is not of its kind.

    Args:
        column: Name of the column.
        file: The file.
        expected: Arrow type that the column must have, or words for it.
        received: What was found.
        row: Line of a text file, or row of a Parquet file, from 1; `None`
            where it is not known.
    """

    def __init__(
        self,
        column: str,
        file: object,
        expected: object,
        received: str,
        row: int | None = None,
    ):
        where = "" if row is None else f" in row {row}"
        expected = _WORDS.get(str(expected), expected)
        super().__init__(
            f"Column {column!r} of {file} must hold {expected}. "
            f"Received{where}: {received}"
        )


def unique_columns(path: object, schema: pa.Schema) -> dict[str, pa.DataType]:
    """Returns a file's column types by name.

    Raises:
        ValueError: If a name is there twice.
    """
    types = dict(zip(schema.names, schema.types, strict=True))
    if len(types) < len(schema.names):
        twice = [name for name in types if schema.names.count(name) > 1]
        raise ValueError(
            f"{path} must name each column once. Received more often: "
            f"{listed(twice)}"
        )
    return types


def missing_columns(
    path: object, missing: Iterable[str], names: Iterable[str]
) -> ValueError:
    """The error of a file that lacks columns."""
    return ValueError(
        f"{path} has no column {listed(missing)}. Its columns: {listed(names)}"
    )
