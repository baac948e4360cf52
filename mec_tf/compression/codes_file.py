"""Stored tables in a safetensors file.

A `CheckedFile` whose tensors are named "table:weight" and "table:counts", and
whose text is the tables' settings as JSON.
"""

import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mec_tf.compression.stored_table import StoredTable
from mec_tf.files import ArtifactError, CheckedFile

FORMAT = "mec_tf.embedding_codes"
VERSION = "1"
FILE = CheckedFile(FORMAT, VERSION, "tables", "embedding codes")
COUNTS = "counts"


def write(path: str | os.PathLike, tables: Mapping[str, StoredTable]) -> None:
    """Writes beside and renames into place.

    Raises:
        OSError: if the file cannot be written.
    """
    arrays = {
        key: np.ascontiguousarray(array)
        for name, table in tables.items()
        for key, array in _tensors(name, table)
    }
    settings = json.dumps(
        [
            {"name": name, "kind": table.kind, "config": dict(table.config)}
            for name, table in tables.items()
        ]
    )
    FILE.write(path, settings, arrays)


def read(path: str | os.PathLike) -> dict[str, StoredTable]:
    """Reads and checks a file of `write`.

    Memory is bounded by the size of the file, whatever its header says.

    Raises:
        FileNotFoundError: if there is no such file.
        ArtifactError: if it is anything but an intact file of this format.
    """
    if not pathlib.Path(path).exists():
        raise FileNotFoundError(f"`path` {path} does not exist.")
    settings, arrays = FILE.read(path)
    tables = {}
    for name, entry in _entries(path, settings):
        weights = {
            key.rsplit(":", 1)[1]: arrays.pop(key)
            for key in list(arrays)
            if key.rsplit(":", 1)[0] == name
        }
        counts = weights.pop(COUNTS, None)
        table = StoredTable(entry["kind"], entry["config"], weights, counts)
        try:
            table.check()
        # Whatever settings that no layer ever had make a layer raise.
        except Exception as error:
            raise ArtifactError(
                path,
                f"the table {name!r} does not fit its settings: "
                + " ".join(str(error).split()),
            ) from None
        tables[name] = table
    if arrays:
        raise ArtifactError(
            path, f"holds arrays of no table: {', '.join(sorted(arrays)[:3])}"
        )
    return tables


def _tensors(name: str, table: StoredTable) -> Iterator[tuple[str, np.ndarray]]:
    for weight, array in table.weights.items():
        yield f"{name}:{weight}", array
    if table.counts is not None:
        yield f"{name}:{COUNTS}", table.counts


def _entries(
    path: str | os.PathLike, settings: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        entries = json.loads(settings)
        named = {entry["name"]: entry for entry in entries}
        whole = len(named) == len(entries) and all(
            isinstance(entry["kind"], str) and isinstance(entry["config"], dict)
            for entry in entries
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        whole = False
    if not whole:
        raise ArtifactError(path, "its settings are not those of tables")
    yield from named.items()
