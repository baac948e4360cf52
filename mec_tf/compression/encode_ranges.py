"""Codes of a table's rows, range by range."""

import hashlib
import json
import os
import pathlib
from collections.abc import Iterator

import numpy as np

from mec_tf.compression.settings import TableSettings
from mec_tf.files import ArtifactError, CheckedFile
from mec_tf.layers.code_lookup_embedding import QUANTIZERS, fit_codebooks
from mec_tf.layers.trained_rows import check_shape

ROWS_AT_ONCE = 1_000_000
_LOOKED_AT = 64  # rows that tell a table from another
_FILE = CheckedFile("mec_tf.table_codes", "1", "table", "codes of a table")


def encode_ranges(
    table: np.ndarray,
    settings: TableSettings,
    folder: str | os.PathLike,
    *,
    counts: np.ndarray | None = None,
    seed: int = 0,
    rows_at_once: int = ROWS_AT_ONCE,
    part: int = 0,
    parts: int = 1,
) -> None:
    """Encodes a trained table range by range, and keeps each in a file.

    Codebooks are learned first (from a sample, by k-means) and kept too. A
    run that was killed goes on after its last whole range. Several processes
    share the work: each encodes every `parts`-th range, from its `part` on;
    part 0 learns the codebooks, the others start when they are there.
    `compress_table` with the same arguments then joins the ranges.

    Args:
        table: float `[rows, columns]`; may be memory-mapped, as of
            `read_table`.
        settings: how to store it.
        folder: where codebooks and codes are kept; made if need be.
        counts: `[rows]` times each row occurs in the training data.
        seed: of k-means.
        rows_at_once: rows of a range.
        part: which of the processes this is, from 0.
        parts: number of processes.

    Raises:
        ValueError: if the settings do not fit the table, the table is not
            finite, or `part`, `parts` or `rows_at_once` is out of range.
        FileNotFoundError: if part 0 has not learned the codebooks yet.
        ArtifactError: if a file in the folder is damaged, or of another
            table, other settings or other ranges.
        OSError: if a file cannot be written.
    """
    if not 0 <= part < parts or rows_at_once < 1:
        raise ValueError(
            "`part` must be from 0 to `parts` - 1, `rows_at_once` positive. "
            f"Received: part={part}, parts={parts}, rows_at_once={rows_at_once}"
        )
    check_shape(table)
    check_codes(settings)
    settings.check("`table`", len(table), table.shape[1], 0)
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = _coded_rows(table, settings)
    key = _key(rows, settings, seed)
    path = folder / "codebooks.safetensors"
    if not path.exists():
        if part:
            raise FileNotFoundError(
                f"`folder` {folder} has no codebooks yet: part 0 learns them."
            )
        weights = None if counts is None else counts[: len(rows)]
        codebooks, rotation = fit_codebooks(
            rows,
            *_method(rows, settings),
            counts=weights,
            rank=settings.rank,
            seed=seed,
        )
        arrays = {"codebooks": codebooks}
        if rotation is not None:
            arrays["rotation"] = np.ascontiguousarray(rotation)
        _FILE.write(path, key, arrays)
    books = _read(path, key)
    method, _ = _method(rows, settings)
    for start, end in list(_ranges(len(rows), rows_at_once))[part::parts]:
        path = _codes_path(folder, start, end)
        if not path.exists():
            codes = method.encode(
                rows[start:end], books["codebooks"], books.get("rotation")
            )
            _FILE.write(path, key, {"codes": codes})


def check_codes(settings: TableSettings) -> None:
    """Raises ValueError unless they are of one table of codes."""
    if not settings.num_subspaces or settings.heads:
        raise ValueError(
            "`settings` must have codes, and no `heads`: each tier is a table "
            f"of its own. Received: num_subspaces={settings.num_subspaces}, "
            f"heads={settings.heads}"
        )


def joined_codes(
    table: np.ndarray,
    settings: TableSettings,
    folder: str | os.PathLike,
    seed: int,
    rows_at_once: int,
) -> dict[str, np.ndarray]:
    """What `encode_ranges` left: arguments of `from_codes`.

    Args and errors: as of `encode_ranges`.
    """
    folder = pathlib.Path(folder)
    rows = _coded_rows(table, settings)
    key = _key(rows, settings, seed)
    state = _read(folder / "codebooks.safetensors", key)
    state["codes"] = np.concatenate(
        [
            _read(_codes_path(folder, start, end), key)["codes"]
            for start, end in _ranges(len(rows), rows_at_once)
        ]
    )
    return state


def _coded_rows(table: np.ndarray, settings: TableSettings) -> np.ndarray:
    return table[: settings.private_rows or len(table)]


def _method(rows: np.ndarray, settings: TableSettings):
    size = min(settings.codebook_size, len(rows))
    name = settings.quantizer
    return QUANTIZERS[name](settings.num_subspaces, size), name


def _ranges(rows: int, at_once: int) -> Iterator[tuple[int, int]]:
    for start in range(0, rows, at_once):
        yield start, min(start + at_once, rows)


def _codes_path(folder: pathlib.Path, start: int, end: int) -> pathlib.Path:
    return folder / f"codes-{start}-{end}.safetensors"


def _key(rows: np.ndarray, settings: TableSettings, seed: int) -> str:
    """Tells a table and its settings from others, without reading it all."""
    places = np.linspace(0, len(rows) - 1, _LOOKED_AT).astype(np.int64)
    sample = np.ascontiguousarray(rows[np.unique(places)])
    return json.dumps(
        {
            "shape": list(rows.shape),
            "sample": hashlib.sha256(sample.tobytes()).hexdigest(),
            "settings": str(settings),
            "seed": seed,
        }
    )


def _read(path: pathlib.Path, key: str) -> dict[str, np.ndarray]:
    text, arrays = _FILE.read(path)
    if text != key:
        raise ArtifactError(
            path,
            "is of another table, or of other settings. Delete the folder to "
            "start anew",
        )
    return arrays
