"""The files of a log's cache directory.

```
log.json                       format version, schema, sizes, checksums
vocabularies/<column>.parquet  one a categorical column, by number
<split>/ids.bin                int32 [rows, categorical columns], row-major
<split>/numeric.bin            float32 [rows, numeric columns], row-major
<split>/labels.bin             float32 [rows]
```

Numbers are little-endian. `log.json` is written last: without it a directory is
not a log.
"""

from __future__ import annotations

import json
import pathlib
import zlib
from typing import Any

import numpy as np

from mec_tf.data.rows import Rows
from mec_tf.data.schema import Schema

FORMAT = "mec_tf.log"
VERSION = 1
HEADER_FILE = "log.json"

_DTYPES = {"ids": "<i4", "numeric": "<f4", "labels": "<f4"}
_CHUNK_BYTES = 1 << 24


class RowsWriter:
    """Appends encoded rows to the files of one split.

    Args:
        folder: The split's directory; made here.
    """

    def __init__(self, folder: pathlib.Path):
        folder.mkdir(parents=True)
        self._files = {
            name: open(folder / f"{name}.bin", "wb") for name in _DTYPES
        }
        self._checksums = dict.fromkeys(_DTYPES, 0)
        self._num_rows = 0

    def append(self, rows: Rows) -> None:
        """Writes some rows."""
        for name, dtype in _DTYPES.items():
            data = np.ascontiguousarray(getattr(rows, name), dtype).data
            if data.nbytes:
                self._files[name].write(data)
                self._checksums[name] = zlib.crc32(data, self._checksums[name])
        self._num_rows += len(rows)

    def close(self) -> dict[str, Any]:
        """Closes the files and returns their entry in the header."""
        for file in self._files.values():
            file.close()
        return {"rows": self._num_rows, "crc32": self._checksums}


def vocabulary_path(folder: pathlib.Path, number: int) -> pathlib.Path:
    """Returns the file of a vocabulary; columns may have any name."""
    return folder / "vocabularies" / f"{number:05}.parquet"


def write_header(folder: pathlib.Path, header: dict[str, Any]) -> None:
    """Writes `log.json`, which makes the directory a log."""
    header = {"format": FORMAT, "version": VERSION, **header}
    text = json.dumps(header, indent=1)
    (folder / HEADER_FILE).write_text(text, encoding="utf-8")


def read_header(folder: pathlib.Path) -> dict[str, Any]:
    """Reads and checks `log.json`.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is damaged or of another format.
    """
    path = folder / HEADER_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"No finished log in {folder}: it has no {HEADER_FILE}"
        )
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
        found = header["format"], header["version"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from error
    if found != (FORMAT, VERSION):
        raise ValueError(
            f"{path} must be of format {FORMAT!r}, version {VERSION}. "
            f"Received: {found[0]!r}, version {found[1]}"
        )
    return header


def read_rows(
    folder: pathlib.Path,
    entry: dict[str, Any],
    schema: Schema,
    verify: bool,
) -> Rows:
    """Memory-maps the files of one split.

    Args:
        folder: The split's directory.
        entry: What `RowsWriter.close` returned.
        schema: Gives the number of columns.
        verify: Whether to compare checksums also, not only sizes.

    Raises:
        ValueError: If a file is missing or damaged.
    """
    num_rows = entry["rows"]
    shapes: dict[str, tuple[int, ...]] = {
        "ids": (num_rows, len(schema.categorical)),
        "numeric": (num_rows, len(schema.numeric)),
        "labels": (num_rows,),
    }
    arrays: dict[str, np.ndarray] = {}
    for name, shape in shapes.items():
        path = folder / f"{name}.bin"
        expected = int(np.prod(shape)) * 4
        size = path.stat().st_size if path.is_file() else -1
        if size != expected:
            found = f"{size} bytes" if size >= 0 else "no file"
            raise ValueError(
                f"{path} is damaged: expected {expected} bytes. Received: "
                f"{found}"
            )
        if verify and _checksum(path) != entry["crc32"][name]:
            raise ValueError(f"{path} is damaged: its checksum differs.")
        if expected:
            arrays[name] = np.memmap(path, _DTYPES[name], "r", shape=shape)
        else:  # An empty file cannot be mapped.
            arrays[name] = np.empty(shape, _DTYPES[name])
    return Rows(arrays["ids"], arrays["numeric"], arrays["labels"])


def _checksum(path: pathlib.Path) -> int:
    checksum = 0
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            checksum = zlib.crc32(chunk, checksum)
    return checksum
