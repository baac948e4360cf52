"""A delta between two SavedModels, in a safetensors file.

The text of this `CheckedFile` is a recipe as JSON. It names each file of the
new SavedModel, its SHA-256, and the parts that make it up when joined:

- `{"copy": [file, start, length]}`: bytes of a file of the base;
- `{"copy": ..., "row_bytes": n, "rows": tensor, "values": tensor}`: the same,
  with some rows replaced: `rows` are integers, or a mask of a bit a row;
- `{"data": tensor}`: bytes that the delta carries.
"""

import dataclasses
import json
import os
import pathlib
from typing import Any

import numpy as np

from mec_tf.files import ArtifactError, CheckedFile

FILE = CheckedFile("mec_tf.saved_model_delta", "1", "recipe", "delta")


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
        delta = DeltaFile(dict(document["base"]), document["files"], arrays)
        names = {*delta.base, *delta.files}
        whole = all(set(f) == {"sha256", "parts"} for f in delta.files.values())
    # Whatever a recipe that `save_delta` never wrote is made of.
    except Exception:
        whole = False
    if not whole:
        raise ArtifactError(path, "its recipe is not that of files")
    for name in names:
        place = pathlib.PurePosixPath(name)
        inside = place.parts and not place.is_absolute()
        if not inside or ".." in place.parts or "\\" in name or "\0" in name:
            raise ArtifactError(path, f"names a file elsewhere: {name!r}")
        if any(str(parent) in delta.files for parent in place.parents):
            raise ArtifactError(path, f"names a file in a file: {name!r}")
    if "saved_model.pb" not in delta.files:
        raise ArtifactError(path, "gives no SavedModel")
    return delta
