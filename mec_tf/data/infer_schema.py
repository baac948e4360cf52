"""Guesses the kinds of a log's columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from mec_tf.data.schema import Schema
from mec_tf.data.source import Derive, Paths, Source
from mec_tf.data.wording import cut, listed, shown


def infer_schema(
    paths: Paths,
    label: str,
    *,
    numeric: Sequence[str] = (),
    strings: Sequence[str] = (),
    drop: Sequence[str] = (),
    timestamp: str | None = None,
    delimiter: str | None = None,
    column_names: Sequence[str] | None = None,
    derive: Derive | None = None,
) -> Schema:
    """Types the columns of a log by the first block of its first file.

    Text, whole numbers and booleans become categorical, floats numeric.
    The first column of dates or times is the timestamp; others are text.

    Args:
        paths: A file, several, or a directory; see `read_log`.
        label: Column of 0 and 1 to predict.
        numeric: Columns of whole numbers that are quantities, not ids.
        strings: Columns that are categorical text, whatever they look like
            (codes with leading zeros, say).
        drop: Columns to leave out.
        timestamp: Column that orders the rows.
        delimiter: Of text files; by default a comma for .csv, else a tab.
        column_names: Of text files without a header line.
        derive: Columns to be made from others; see `read_log`.

    Returns:
        A `Schema`; `print` shows it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a named column is not in the data.
    """
    source = Source(paths, delimiter, column_names, derive)
    return schema_of_types(
        source.types(),
        label,
        numeric,
        strings,
        drop,
        timestamp,
        source.files[0],
    )


def schema_of_types(
    types: Mapping[str, pa.DataType],
    label: str,
    numeric: Sequence[str] = (),
    strings: Sequence[str] = (),
    drop: Sequence[str] = (),
    timestamp: str | None = None,
    file: object = "the data",
) -> Schema:
    """Does the work of `infer_schema`, given the types of a file's columns."""
    require(types, "label", [label], file)
    require(types, "numeric", numeric, file)
    require(types, "strings", strings, file)
    require(types, "drop", drop, file)
    if timestamp is not None:
        require(types, "timestamp", [timestamp], file)
    categorical, floats, text = [], [], []
    for name, kind in types.items():
        if name in drop or name in (label, timestamp):
            continue
        if not name:
            raise ValueError(
                f"{file} must name each column. Received '': name it in `drop` "
                "to leave it out, or in a file's header"
            )
        if name in numeric:
            floats.append(name)
        elif name in strings or is_text(kind):
            free = timestamp is None and name not in strings
            if free and (pa.types.is_date(kind) or pa.types.is_timestamp(kind)):
                timestamp = name
                continue
            categorical.append(name)
            text.append(name)
        elif pa.types.is_integer(kind):
            categorical.append(name)
        elif pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            floats.append(name)
        else:
            raise ValueError(
                f"Column {shown(name)} of {file} must hold text or numbers; "
                f"name it in `drop` to leave it out. Received: {cut(str(kind))}"
            )
    return Schema(
        label, tuple(categorical), tuple(floats), timestamp, tuple(text)
    )


def is_text(kind: pa.DataType) -> bool:
    """Whether values of an Arrow type are kept as text when categorical."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
        or pa.types.is_temporal(kind)
    )


def require(
    types: Mapping[str, pa.DataType],
    argument: str,
    columns: Sequence[str],
    file: object,
) -> None:
    """Raises a ValueError if a column is not in the data."""
    missing = [column for column in columns if column not in types]
    if missing:
        raise ValueError(
            f"`{argument}` must name columns of {file}: {listed(types)}. "
            f"Received: {listed(missing)}"
        )
