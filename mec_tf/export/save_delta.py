"""Two exports in, what changed between them out."""

import os
import pathlib
from typing import Any

import numpy as np

from mec_tf.export import delta_file
from mec_tf.export.checksums import check_checksums
from mec_tf.export.delta_file import DeltaFile
from mec_tf.export.delta_report import DeltaReport
from mec_tf.export.variable_layout import DATA_FILE, Place, variable_layout

_CHUNK = 1 << 16


def save_delta(
    base: str | os.PathLike,
    new: str | os.PathLike,
    path: str | os.PathLike,
) -> DeltaReport:
    """Writes what turns one export of a model into a later one.

    Of a variable that both hold (codes, codebooks, kernels), the rows that
    changed and those that were added; of any other file that differs, such as
    the graph or a vocabulary, all of it. `apply_delta` puts the new SavedModel
    together again, byte for byte.

    Args:
        base: directory of the SavedModel that servers have.
        new: directory of the one that they shall have.
        path: file to write; must not exist.

    Returns:
        A `DeltaReport`.

    Raises:
        FileNotFoundError: if `base` or `new` is no SavedModel.
        ArtifactError: if one of them does not agree with its checksums.
        FileExistsError: if `path` exists.
        OSError: if it cannot be written.

    Example:
        >>> mec_tf.export.save_delta(
        ...     "serving/1", "serving/2", "1-2.safetensors"
        ... )  # doctest: +SKIP
    """
    old, fresh, target = map(pathlib.Path, (base, new, path))
    if target.exists():
        raise FileExistsError(f"`path` must be new. Received: {path}")
    delta = DeltaFile(check_checksums(old), {}, {})
    by_content = {digest: name for name, digest in delta.base.items()}
    whole: dict[str, int] = {}
    variables: dict[str, int] = {}
    digests = check_checksums(fresh)
    for name, digest in digests.items():
        parts: list[dict[str, Any]]
        if digest in by_content:
            same = by_content[digest]
            parts = [{"copy": [same, 0, (old / same).stat().st_size]}]
        else:
            found = None
            if name == DATA_FILE:
                found = _changed_variables(old, fresh, delta.arrays)
            if found is not None:
                parts, variables = found
            else:
                content = np.fromfile(fresh / name, np.uint8)
                parts = [_carried(delta.arrays, name, content)]
                whole[name] = content.nbytes
        delta.files[name] = {"sha256": digest, "parts": parts}
    target.parent.mkdir(parents=True, exist_ok=True)
    delta_file.write(target, delta)
    return DeltaReport(
        path=os.fspath(path),
        bytes_total=target.stat().st_size,
        new_bytes=sum((fresh / name).stat().st_size for name in digests),
        variables=variables,
        files=whole,
    )


def _changed_variables(
    old: pathlib.Path, fresh: pathlib.Path, arrays: dict[str, np.ndarray]
) -> tuple[list[dict[str, Any]], dict[str, int]] | None:
    """Parts of the variables' file, and `{changed variable: bytes}`."""
    before, after = variable_layout(old), variable_layout(fresh)
    if before is None or after is None:
        return None
    old_data = np.memmap(old / DATA_FILE, np.uint8, "r")
    new_data = np.memmap(fresh / DATA_FILE, np.uint8, "r")
    parts, sizes = [], {}
    for key, place in after.items():
        held = sum(array.nbytes for array in arrays.values())
        was = before.get(key)
        values = new_data[place.start : place.start + place.length]
        if was is not None and place.row_bytes and was.kind == place.kind:
            common = min(was.length, place.length)
            parts.append(
                _rows_part(
                    arrays, key, was, old_data, values[:common], place.row_bytes
                )
            )
            values = values[common:]
        if len(values):
            parts.append(_carried(arrays, f"{key}:added", values))
        added = sum(array.nbytes for array in arrays.values()) - held
        if added and place.name:
            sizes[place.name] = added
    return parts, sizes


def _rows_part(
    arrays: dict[str, np.ndarray],
    key: str,
    was: Place,
    old_data: np.ndarray,
    values: np.ndarray,
    row_bytes: int,
) -> dict[str, Any]:
    """The part for rows that both have, in the smallest of three forms."""
    before = old_data[was.start : was.start + len(values)]
    before, after = (x.reshape(-1, row_bytes) for x in (before, values))
    changed = np.concatenate(
        [
            (before[i : i + _CHUNK] != after[i : i + _CHUNK]).any(axis=1)
            for i in range(0, len(after), _CHUNK)
        ]
        or [np.zeros(0, bool)]
    )
    part: dict[str, Any] = {"copy": [DATA_FILE, was.start, len(values)]}
    count = int(changed.sum())
    if not count:
        return part
    wide = len(changed) > np.iinfo(np.uint32).max
    places = np.flatnonzero(changed).astype(np.uint64 if wide else np.uint32)
    mask = np.packbits(changed)
    rows: np.ndarray = places if places.nbytes <= mask.nbytes else mask
    if rows.nbytes + count * row_bytes >= len(values):
        return _carried(arrays, key, values)
    arrays[f"{key}:rows"] = rows
    arrays[f"{key}:values"] = np.array(after[changed])
    return {
        **part,
        "row_bytes": row_bytes,
        "rows": f"{key}:rows",
        "values": f"{key}:values",
    }


def _carried(
    arrays: dict[str, np.ndarray], name: str, values: np.ndarray
) -> dict[str, Any]:
    arrays[name] = np.array(values)
    return {"data": name}
