"""Popularity of the ids in a log of many files."""

import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from mec_tf.files import CheckedFile
from mec_tf.layers.ids import count_into

Path: TypeAlias = str | os.PathLike
FILE = CheckedFile("mec_tf.id_counts", "1", "source", "counts of ids")


def count_files(
    files: Sequence[Path],
    read: Callable[[Any], Iterable[Mapping[str, Any]]],
    rows: Mapping[str, int],
    folder: Path,
) -> dict[str, np.ndarray]:
    """Counts how often each row is looked up, file by file.

    The counts of each file are kept, so that a run that was killed goes on
    after its last whole file. Several processes share the work if each is
    given its own files and all the same folder; a call with all files then
    adds up what is there. A file whose size or time has changed is counted
    again.

    Args:
        files: paths of the log's files.
        read: gives the batches of one of `files`: ids, integers of any
            shape, by name.
        rows: rows of the table by name; other names in the batches, and ids
            out of range, do not count.
        folder: where the counts are kept; made if need be.

    Returns:
        int64 `[rows]` by name.

    Raises:
        FileNotFoundError: if a file does not exist.
        ArtifactError: if what is kept is damaged. Delete it to count again.
        OSError: if the counts cannot be kept.

    Example:
        >>> def read(path):
        ...     for users, items in my_reader(path):
        ...         yield {"user": users, "item": items}
        >>> count_files(paths, read, {"user": 9000, "item": 500}, "counts")
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    totals = {name: np.zeros(size, np.int64) for name, size in rows.items()}
    for path in files:
        kept, source = _kept_at(folder, path), _source(path, rows)
        found: dict[str, np.ndarray] | None = None
        if kept.exists():
            text, arrays = FILE.read(kept)
            found = arrays if text == source else None
        if found is None:
            found = _counted(read(path), rows)
            FILE.write(kept, source, found)
        for name, total in totals.items():
            total[found[f"{name}:ids"]] += found[f"{name}:counts"]
    return totals


def _kept_at(folder: pathlib.Path, path: Path) -> pathlib.Path:
    digest = hashlib.sha256(os.fspath(path).encode()).hexdigest()[:16]
    return folder / f"{pathlib.Path(path).name}-{digest}.safetensors"


def _source(path: Path, rows: Mapping[str, int]) -> str:
    state = os.stat(path)
    return json.dumps(
        {
            "bytes": state.st_size,
            "nanoseconds": state.st_mtime_ns,
            "rows": dict(sorted(rows.items())),
        }
    )


def _counted(
    batches: Iterable[Mapping[str, Any]], rows: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """The ids that occur and how often; most of a large table's do not."""
    counts = {name: np.zeros(size, np.int64) for name, size in rows.items()}
    for batch in batches:
        for name, total in counts.items():
            count_into(total, batch[name])
    kept = {}
    for name, total in counts.items():
        ids = np.flatnonzero(total)
        kept[f"{name}:ids"], kept[f"{name}:counts"] = ids, total[ids]
    return kept
