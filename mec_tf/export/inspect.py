"""What a SavedModel of this package holds, without loading it."""

import dataclasses
import json
import os
import pathlib
import re
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.export.checksums import CHECKSUM_FILE, check_checksums
from mec_tf.files import ArtifactError

EMBEDDING_FILE = "assets.extra/embedding.json"
_FORMAT = "mec_tf.embedding"
_VERSION = 1
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


@dataclasses.dataclass(frozen=True)
class SavedVariable:
    """A variable on disk.

    Args:
        name: readable name.
        shape: its shape.
        dtype: name of its dtype.
        bytes: its size.
        key: its key for `tf.train.load_checkpoint(path + "/variables/
            variables")`.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    key: str


@dataclasses.dataclass(frozen=True)
class SavedTable:
    """An embedding table on disk.

    Args:
        path: its place in the model.
        kind: class of its layer.
        rows: its rows.
        dim: width of a vector.
        bytes: bytes of its variables.
        variables: their names.
        settings: what else its layer was made with, such as `num_subspaces`.
    """

    path: str
    kind: str
    rows: int
    dim: int
    bytes: int
    variables: tuple[str, ...]
    settings: dict[str, Any]

    @property
    def full_bytes(self) -> int:
        """Bytes of the table as float32."""
        return self.rows * self.dim * 4


@dataclasses.dataclass(frozen=True)
class SavedModelContents:
    """Variables and tables of a SavedModel.

    Args:
        path: its directory.
        variables: every variable, largest first.
        tables: every embedding table; none where `mec_tf.export.save` did
            not write the SavedModel.
        variable_file_bytes: size of the files that hold the variables.
    """

    path: str
    variables: tuple[SavedVariable, ...]
    tables: tuple[SavedTable, ...]
    variable_file_bytes: int

    @property
    def bytes_on_disk(self) -> int:
        """Bytes of the variables of all tables, each variable once."""
        names = {name for table in self.tables for name in table.variables}
        return sum(v.bytes for v in self.variables if v.name in names)

    @property
    def full_bytes(self) -> int:
        """Bytes of the same tables as float32."""
        return sum(table.full_bytes for table in self.tables)


def inspect_saved_model(path: str | os.PathLike) -> SavedModelContents:
    """Lists the variables and embedding tables of a SavedModel.

    Every file is compared with the checksum that the export wrote: what is
    listed is what was exported.

    Args:
        path: its directory.

    Raises:
        FileNotFoundError: if there is no SavedModel.
        ArtifactError: if it is damaged, or of a newer format.
    """
    folder = pathlib.Path(path)
    files = check_checksums(folder)
    if EMBEDDING_FILE in files and CHECKSUM_FILE not in files:
        raise ArtifactError(folder / CHECKSUM_FILE, "is missing")
    return read_contents(folder)


def read_contents(folder: pathlib.Path) -> SavedModelContents:
    """`inspect_saved_model` of files that are known to be intact.

    Raises:
        ArtifactError: if they are damaged, or of a newer format.
    """
    variables = _read_variables(folder)
    files = (folder / "variables").glob("variables.data-*")
    return SavedModelContents(
        path=str(folder),
        variables=variables,
        tables=_read_tables(folder, {v.name: v.bytes for v in variables}),
        variable_file_bytes=sum(file.stat().st_size for file in files),
    )


def write_tables(folder: pathlib.Path, tables: list[SavedTable]) -> None:
    """Writes the tables' file into a SavedModel."""
    file = folder / EMBEDDING_FILE
    file.parent.mkdir(exist_ok=True)
    document = {
        "format": _FORMAT,
        "version": _VERSION,
        "tables": [dataclasses.asdict(table) for table in tables],
    }
    file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _read_variables(folder: pathlib.Path) -> tuple[SavedVariable, ...]:
    try:
        reader = tf.train.load_checkpoint(
            str(folder / "variables" / "variables")
        )
    except (tf.errors.OpError, ValueError) as error:
        raise ArtifactError(
            folder, f"its variables are damaged: {error}"
        ) from error
    dtypes = reader.get_variable_to_dtype_map()
    variables = []
    for key, shape in reader.get_variable_to_shape_map().items():
        if dtypes[key] == tf.string:
            continue  # the object graph
        variables.append(
            SavedVariable(
                name=readable_name(key),
                shape=tuple(shape),
                dtype=dtypes[key].name,
                bytes=int(np.prod(shape, dtype=np.int64)) * dtypes[key].size,
                key=key,
            )
        )
    return tuple(sorted(variables, key=lambda v: (-v.bytes, v.name)))


def readable_name(key: str) -> str:
    """The name that a checkpoint key escapes: "." to "..", "/" to ".S"."""
    name = key.removesuffix(_SUFFIX).removeprefix("weights/")
    return re.sub(r"\.([.S])", lambda m: "/" if m[1] == "S" else ".", name)


def _read_tables(
    folder: pathlib.Path, sizes: dict[str, int]
) -> tuple[SavedTable, ...]:
    file = folder / EMBEDDING_FILE
    if not file.exists():
        return ()
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        if document["format"] != _FORMAT or document["version"] != _VERSION:
            raise ValueError(
                f"the format must be {_FORMAT!r}, version {_VERSION}. "
                f"Received: {document['format']!r}, {document['version']!r}"
            )
        tables = tuple(
            SavedTable(**{**entry, "variables": tuple(entry["variables"])})
            for entry in document["tables"]
        )
        for table in tables:
            numbers = (table.rows, table.dim, table.bytes)
            if any(type(n) is not int or n < 0 for n in numbers):
                raise ValueError(f"{table.path!r} has sizes {numbers}")
            stored = sum(sizes[name] for name in table.variables)
            if stored != table.bytes:
                raise ValueError(
                    f"the table {table.path!r} must have {table.bytes:,} "
                    f"bytes. Received: {stored:,}"
                )
    # Whatever a foreign file makes its reader raise.
    except Exception as error:
        raise ArtifactError(
            file, f"is damaged or of another format: {error}"
        ) from error
    return tables
