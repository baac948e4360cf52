"""An export and a delta in, the later export out."""

import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from mec_tf.export import delta_file
from mec_tf.export.checksums import file_checksum, file_names
from mec_tf.export.target import staged
from mec_tf.files import ArtifactError

_CHUNK = 1 << 24


def apply_delta(
    base: str | os.PathLike,
    delta: str | os.PathLike,
    path: str | os.PathLike,
    *,
    overwrite: bool = False,
) -> None:
    """Puts a SavedModel together from an earlier one and a delta.

    Every file of it is what `save_delta` was given, byte for byte; checksums
    say so before it is moved to its place.

    Args:
        base: directory of the SavedModel that the delta was made from.
        delta: file of `save_delta`.
        path: directory to write; must not exist, or be empty.
        overwrite: whether a SavedModel at `path` is replaced. Default False.

    Raises:
        FileNotFoundError: if `base` is no SavedModel, or `delta` is missing.
        ArtifactError: if `delta` is damaged, foreign, or of a format version
            that this release does not read; if `base` is another SavedModel
            than it was made from, or damaged.
        FileExistsError: if `path` holds something else.
        OSError: if it cannot be written.

    Example:
        >>> mec_tf.export.apply_delta(
        ...     "serving/1", "1-2.safetensors", "serving/2"
        ... )  # doctest: +SKIP
    """
    change = delta_file.read(delta)
    old = pathlib.Path(base)
    present = set(file_names(old))
    for name, digest in change.base.items():
        if name not in present or (file_checksum(old / name) != digest):
            raise ArtifactError(
                old / name,
                "differs; `base` must be the SavedModel that the delta was "
                "made from",
            )
    with staged(path, overwrite) as work:
        for name, recipe in change.files.items():
            target = work / "model" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with target.open("wb") as file:
                    for part in recipe["parts"]:
                        for piece in _pieces(part, old, change):
                            file.write(piece.data)
                whole = file_checksum(target) == recipe["sha256"]
            except OSError:
                raise
            # Whatever a recipe that `save_delta` never wrote makes NumPy raise.
            except Exception as error:
                raise ArtifactError(
                    delta, f"its recipe for {name!r} does not fit: {error!r}"
                ) from None
            if not whole:
                raise ArtifactError(
                    delta, f"does not give the file {name!r} that it promises"
                )


def _pieces(
    part: dict[str, Any], base: pathlib.Path, change: delta_file.DeltaFile
) -> Iterator[np.ndarray]:
    """The bytes of a part, in pieces that fit the memory."""
    if "data" in part:
        yield np.ascontiguousarray(change.arrays[part["data"]])
        return
    name, start, length = part["copy"]
    if name not in change.base:
        raise KeyError(name)
    if not length:
        return
    data = np.memmap(base / name, np.uint8, "r", start, (length,))
    if "rows" not in part:
        for place in range(0, length, _CHUNK):
            yield data[place : place + _CHUNK]
        return
    table = data.reshape(-1, part["row_bytes"])
    rows = change.arrays[part["rows"]]
    if rows.dtype == np.uint8:
        rows = np.flatnonzero(np.unpackbits(rows, count=len(table)))
    values = change.arrays[part["values"]]
    step = max(1, _CHUNK // part["row_bytes"])
    for place in range(0, len(table), step):
        piece = np.array(table[place : place + step])
        first, last = np.searchsorted(rows, [place, place + len(piece)])
        piece[rows[first:last] - place] = values[first:last]
        yield piece
