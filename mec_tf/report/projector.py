"""Vectors of tables for TensorBoard's embedding projector."""

import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf import text_encoding

from mec_tf.compression import EmbeddingCodes
from mec_tf.compression.stored_table import StoredTable
from mec_tf.files import write_text
from mec_tf.training.popularity_tiers import TIERS, popularity_tiers

CONFIG = "projector_config.pbtxt"
FOLDER = "projector"
UNKNOWN = "(missing or unknown)"


def write_projector(
    codes: EmbeddingCodes,
    log_dir: str | os.PathLike,
    *,
    tables: Iterable[str] | None = None,
    values: Mapping[str, Sequence[Any]] | None = None,
    rows: int = 10_000,
) -> pathlib.Path:
    """Writes vectors of tables for TensorBoard's embedding projector.

    Each point is a row: its vector as a lookup gives it, decoded; and its
    value, row number, lookups in training and tier of popularity, by which
    the projector searches and colours. Rows are those most looked up; the
    first ones where no counts are held.

    Args:
        codes: tables, compressed or at full precision
            (`EmbeddingCodes.from_model`).
        log_dir: of TensorBoard. A projector's configuration that is there is
            replaced.
        tables: names of the tables to write. Default: all.
        values: by name of a table, its values from row 1 on, as
            `Vocabulary.values` holds them. Default: row numbers are shown.
        rows: at most this many of a table. Default 10,000, which a browser
            projects with ease.

    Returns:
        Path of the configuration, `projector_config.pbtxt`.

    Raises:
        ValueError: if a table is not held, `values` do not fit one, or
            `rows` is not positive.
        OSError: if a file cannot be written.

    Example:
        >>> codes = mec_tf.EmbeddingCodes.load("out/codes.safetensors")
        >>> mec_tf.report.write_projector(codes, "logs", tables=["user_id"])
    """
    if rows < 1:
        raise ValueError(f"`rows` must be at least 1. Received: rows={rows}")
    names = list(codes.names if tables is None else tables)
    held = {name: codes.table(name) for name in names}
    labels: dict[int, Sequence[Any]] = {}  # a table may be named in two ways
    for name, given in (values or {}).items():
        table = codes.table(name)
        if len(given) != table.rows - 1:
            raise ValueError(
                f"`values` must give {table.rows - 1} values for {name}, one a "
                f"row from row 1 on. Received: {len(given)}"
            )
        labels[id(table)] = given
    folder = pathlib.Path(log_dir) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for place, (name, table) in enumerate(held.items()):
        ids = _most_looked_up(table, rows)
        plain = re.sub("[^A-Za-z0-9]+", "_", name.split("/")[-1])
        stem = f"{place:03d}_{plain[:60]}"
        write_text(
            folder / f"{stem}.tsv",
            "".join(
                "\t".join(f"{number:.6g}" for number in vector) + "\n"
                for vector in codes.vectors(name, ids)
            ),
        )
        write_text(
            folder / f"{stem}_metadata.tsv",
            "".join(
                "\t".join(line) + "\n"
                for line in _metadata(table, ids, labels.get(id(table)))
            ),
        )
        entries.append(
            "embeddings {\n"
            f'  tensor_name: "{_quoted(name)}"\n'
            f'  tensor_path: "{FOLDER}/{stem}.tsv"\n'
            f'  metadata_path: "{FOLDER}/{stem}_metadata.tsv"\n'
            "}\n"
        )
    config = pathlib.Path(log_dir) / CONFIG
    write_text(config, "".join(entries))
    return config


def _most_looked_up(table: StoredTable, rows: int) -> np.ndarray:
    if table.counts is None:
        return np.arange(min(rows, table.rows))
    # Counts may be unsigned.
    falling = -table.counts.astype(np.float64)
    return np.argsort(falling, kind="stable")[:rows]


def _metadata(
    table: StoredTable, ids: np.ndarray, values: Sequence[Any] | None
) -> Iterable[list[str]]:
    """The columns' names, and a line for each row."""
    head = ["value", "row"]
    counts = table.counts
    if counts is not None:
        head += ["lookups", "popularity"]
        tiers = popularity_tiers(counts)
    yield head
    for row in ids:
        value = f"row {row}"
        if values is not None:
            value = str(values[row - 1]) if row else UNKNOWN
        # A tab or a line break would end the cell.
        line = [" ".join(value.split()) or '""', str(row)]
        if counts is not None:
            line += [f"{counts[row]:g}", TIERS[tiers[row]]]
        yield line


def _quoted(name: str) -> str:
    return text_encoding.CEscape(name.encode(), as_utf8=False)
