"""A delta between two SavedModels, in a safetensors file.

The text of this `CheckedFile` is a recipe as JSON. It names each file of the
new SavedModel, its SHA-256, and the parts that make it up when joined:

- `{"copy": [file, start, length]}`: bytes of a file of the base;
- `{"copy": ..., "row_bytes": n, "rows": tensor, "values": tensor}`: the same,
  with some rows replaced: `rows` are integers, or a mask of a bit a row;
- `{"data": tensor}`: bytes that the delta carries.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from typing import Any

import numpy as np

from mec_tf.compression.artifact_error import ArtifactError
from mec_tf.compression.checked_file import CheckedFile

FILE = CheckedFile("mec_tf.saved_model_delta", "1", "recipe", "delta")
_CHUNK = 1 << 24


@dataclasses.dataclass
class DeltaFile:
    """What the file holds.

    Args:
        base: `{file: its SHA-256}` of the base.
        files: `{file of the new one: {"sha256": ..., "parts": [...]}}`.
        arrays: the tensors by name.
    """

    base: dict[str, str]
    files: dict[str, dict[str, Any]]
    arrays: dict[str, np.ndarray]


def write(path: pathlib.Path, delta: DeltaFile) -> None:
    """Writes beside and renames into place.

    Raises:
        OSError: if the file cannot be written.
    """
    recipe = json.dumps({"base": delta.base, "files": delta.files})
    FILE.write(path, recipe, delta.arrays)


def read(path: str | os.PathLike) -> DeltaFile:
    """Reads and checks a file of `write`.

    Raises:
        FileNotFoundError: if there is no such file.
        ArtifactError: if it is anything but an intact file of this format.
    """
    if not pathlib.Path(path).exists():
        raise FileNotFoundError(f"`delta` {path} does not exist.")
    recipe, arrays = FILE.read(path)
    try:
        document = json.loads(recipe)
        delta = DeltaFile(document["base"], document["files"], arrays)
        names = [*delta.base, *delta.files]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ArtifactError(path, "its recipe is not that of files") from None
    for name in names:
        place = pathlib.PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts or "\\" in name:
            raise ArtifactError(path, f"names a file elsewhere: {name!r}")
    return delta


def file_checksum(path: pathlib.Path) -> str:
    """The SHA-256 of a file."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            total.update(chunk)
    return total.hexdigest()


def file_names(folder: pathlib.Path) -> list[str]:
    """The files below a SavedModel's directory, with "/" between parts.

    Raises:
        FileNotFoundError: if it is no SavedModel.
    """
    if not (folder / "saved_model.pb").is_file():
        raise FileNotFoundError(f"No SavedModel at {folder}")
    return sorted(
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*")
        if file.is_file()
    )
