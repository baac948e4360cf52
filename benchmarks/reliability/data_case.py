"""One fuzzed log: its files, how to read it, and what must come of it."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

# Columns of the log that inputs are made of; "age" is read as a number.
Columns = dict[str, list]
OPTIONS: dict[str, Any] = {"label": "click", "numeric": ["age"]}

CITIES = ("Oslo", "São Paulo", "東京", "NA", "New York, NY", 'say "hi"', "")


@dataclasses.dataclass
class Case:
    """An input of the reader.

    Args:
        paths: What is given to the reader.
        options: Further arguments of `read_log`, or of `interactions`.
        wants: "result" or "error" where the input leaves no choice.
        names: What the message must hold where there is an error.
        between: Called between the two passes over the files.
        reader: "read_log" or "interactions".
    """

    paths: Any
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    wants: str | None = None
    names: tuple[str, ...] = ()
    between: Callable[[], None] | None = None
    reader: str = "read_log"


def base(rng: np.random.Generator, rows: int | None = None) -> Columns:
    """A log that is right."""
    n = rows or int(rng.integers(60, 140))
    price = np.round(rng.normal(5, 3, n), 3).tolist()
    return {
        "click": (np.arange(n) % 2).tolist(),
        "user": rng.integers(1, 13, n).tolist(),
        "item": (3_000_000_000 + rng.integers(0, 9, n)).tolist(),
        "city": rng.choice(CITIES, n).tolist(),
        "price": [None if rng.random() < 0.1 else x for x in price],
        "age": rng.integers(18, 80, n).tolist(),
    }


def to_csv(
    columns: Columns,
    delimiter: str = ",",
    newline: str = "\n",
    quoting: Any = csv.QUOTE_MINIMAL,
    header: bool = True,
    names: Sequence[str] | None = None,
) -> bytes:
    """The text of a log, UTF-8."""
    out = io.StringIO()
    writer = csv.writer(
        out, delimiter=delimiter, lineterminator=newline, quoting=quoting
    )
    if header:
        writer.writerow(names or columns)
    for row in zip(*columns.values(), strict=True):
        writer.writerow(["" if value is None else value for value in row])
    return out.getvalue().encode("utf-8", "surrogateescape")


def style(rng: np.random.Generator) -> dict[str, Any]:
    """Ways to write the same text."""
    return {
        "newline": str(rng.choice(["\n", "\r\n"])),
        "quoting": int(rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
    }


def save(path: pathlib.Path, data: bytes) -> pathlib.Path:
    """Writes a file, compressed if its name ends in .gz."""
    if path.name.endswith(".gz"):
        data = gzip.compress(data, 1)
    path.write_bytes(data)
    return path


def save_text(
    rng: np.random.Generator, folder: pathlib.Path, data: bytes
) -> pathlib.Path:
    """Writes a .csv, at times compressed."""
    return save(folder / str(rng.choice(["a.csv", "a.csv", "a.csv.gz"])), data)


def to_table(columns: Columns) -> pa.Table:
    """The log as an Arrow table."""
    return pa.table({name: pa.array(v) for name, v in columns.items()})


def save_parquet(
    rng: np.random.Generator, path: pathlib.Path, table: pa.Table
) -> pathlib.Path:
    """Writes a Parquet file in one of many ways."""
    pq.write_table(
        table,
        path,
        compression=str(rng.choice(["none", "snappy", "gzip", "zstd"])),
        row_group_size=int(rng.integers(10, 200)),
        use_dictionary=bool(rng.integers(2)),
        data_page_size=int(rng.choice([100, 1 << 20])),
        write_page_checksum=bool(rng.integers(2)),
        store_schema=bool(rng.integers(4)),
    )
    return path


def damaged(rng: np.random.Generator, data: bytes) -> bytes:
    """Bytes flipped, cut out, doubled, put in, or cut off."""
    data = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        if not data:
            break
        at = int(rng.integers(len(data)))
        size = int(rng.integers(1, 20))
        action = rng.integers(6)
        if action == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif action == 1:
            data[at] = int(rng.integers(256))
        elif action == 2:
            del data[at : at + size]
        elif action == 3:
            data[at:at] = data[at : at + size]
        elif action == 4:
            data[at:at] = rng.bytes(size)
        elif rng.random() < 0.3:
            del data[at:]
    return bytes(data)
