"""Stored tables in a safetensors file.

Tensors are named "table:weight" and "table:counts". The metadata hold the
format, its version, the tables' settings as JSON, and a SHA-256 over settings
and tensors. Nothing in the file is ever run or unpickled.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mec_tf.compression.artifact_error import ArtifactError
from mec_tf.compression.stored_table import StoredTable

FORMAT = "mec_tf.embedding_codes"
VERSION = "1"
COUNTS = "counts"


def write(path: str | os.PathLike, tables: Mapping[str, StoredTable]) -> None:
    """Writes beside and renames into place.

    Raises:
        OSError: if the file cannot be written.
    """
    path = pathlib.Path(path)
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
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "tables": settings,
        "sha256": _checksum(settings, arrays),
    }
    fresh = path.with_name(path.name + ".fresh")
    try:
        fresh.touch()
        mode = fresh.stat().st_mode
        save_file(arrays, fresh, metadata=metadata)
        fresh.chmod(mode)  # safetensors makes files that only the owner reads
        fresh.replace(path)
    except SafetensorError as error:
        raise OSError(f"{path} cannot be written: {error}") from None
    finally:
        fresh.unlink(missing_ok=True)


def read(path: str | os.PathLike) -> dict[str, StoredTable]:
    """Reads and checks a file of `write`.

    Memory is bounded by the size of the file, whatever its header says.

    Raises:
        FileNotFoundError: if there is no such file.
        ArtifactError: if it is anything but an intact file of this format.
    """
    if not pathlib.Path(path).exists():
        raise FileNotFoundError(f"`path` {path} does not exist.")
    try:
        metadata, arrays = _open(path)
    # Whatever a foreign file makes its reader raise.
    except Exception as error:
        raise ArtifactError(
            path, f"is damaged or no safetensors file ({error})"
        ) from None
    if metadata.get("format") != FORMAT:
        raise ArtifactError(
            path, f"holds no embedding codes (no format {FORMAT!r})"
        )
    if metadata.get("version") != VERSION:
        raise ArtifactError(
            path,
            f"has format version {metadata.get('version')!r}; this release "
            f"reads version {VERSION!r}",
        )
    settings = metadata.get("tables", "")
    if metadata.get("sha256") != _checksum(settings, arrays):
        raise ArtifactError(path, "is damaged: its checksum does not agree")
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


def _open(
    path: str | os.PathLike,
) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    # safetensors checks its header against the size of the file first.
    with safe_open(path, framework="np") as file:
        metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            return metadata, {}
        return metadata, {key: file.get_tensor(key) for key in file.keys()}


def _checksum(settings: str, arrays: Mapping[str, np.ndarray]) -> str:
    total = hashlib.sha256(f"{FORMAT} {VERSION}\n{settings}\n".encode())
    for name, array in sorted(arrays.items()):
        head = f"{name} {array.dtype.name} {list(array.shape)}\n"
        total.update(head.encode())
        total.update(array.data)
    return total.hexdigest()


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
