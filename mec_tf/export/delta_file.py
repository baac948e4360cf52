"""A delta between two SavedModels, in a safetensors file.

The metadata hold the format, its version, a recipe as JSON, and a SHA-256 over
recipe and tensors. The recipe names each file of the new SavedModel, its
SHA-256, and the parts that make it up when joined:

- `{"copy": [file, start, length]}`: bytes of a file of the base;
- `{"copy": ..., "row_bytes": n, "rows": tensor, "values": tensor}`: the same,
  with some rows replaced: `rows` are integers, or a mask of a bit a row;
- `{"data": tensor}`: bytes that the delta carries.

Nothing in the file is ever run or unpickled.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from mec_tf.compression.artifact_error import ArtifactError

FORMAT = "mec_tf.saved_model_delta"
VERSION = "1"
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
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "recipe": recipe,
        "sha256": _checksum(recipe, delta.arrays),
    }
    fresh = path.with_name(path.name + ".fresh")
    try:
        fresh.touch()
        mode = fresh.stat().st_mode
        save_file(delta.arrays, fresh, metadata=metadata)
        fresh.chmod(mode)  # safetensors makes files that only the owner reads
        fresh.replace(path)
    except SafetensorError as error:
        raise OSError(f"{path} cannot be written: {error}") from None
    finally:
        fresh.unlink(missing_ok=True)


def read(path: str | os.PathLike) -> DeltaFile:
    """Reads and checks a file of `write`.

    Raises:
        FileNotFoundError: if there is no such file.
        ArtifactError: if it is anything but an intact file of this format.
    """
    if not pathlib.Path(path).exists():
        raise FileNotFoundError(f"`delta` {path} does not exist.")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            own = metadata.get("format") == FORMAT
            arrays = {k: file.get_tensor(k) for k in file.keys() if own}
    # Whatever a foreign file makes its reader raise.
    except Exception as error:
        raise ArtifactError(
            path, f"is damaged or no safetensors file ({error})"
        ) from None
    if not own:
        raise ArtifactError(path, f"holds no delta (no format {FORMAT!r})")
    if metadata.get("version") != VERSION:
        raise ArtifactError(
            path,
            f"has format version {metadata.get('version')!r}; this release "
            f"reads version {VERSION!r}",
        )
    recipe = metadata.get("recipe", "")
    if metadata.get("sha256") != _checksum(recipe, arrays):
        raise ArtifactError(path, "is damaged: its checksum does not agree")
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


def _checksum(recipe: str, arrays: dict[str, np.ndarray]) -> str:
    total = hashlib.sha256(f"{FORMAT} {VERSION}\n{recipe}\n".encode())
    for name, array in sorted(arrays.items()):
        head = f"{name} {array.dtype.name} {list(array.shape)}\n"
        total.update(head.encode())
        total.update(array.data)
    return total.hexdigest()
