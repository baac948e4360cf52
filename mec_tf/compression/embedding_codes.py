"""The compressed tables of a model, to be used in another one."""

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.compression import codes_file
from mec_tf.compression.plan import table_of_bytes
from mec_tf.compression.stored_table import StoredTable, is_storable
from mec_tf.compression.tables import table_layers
from mec_tf.layers import TableLayer


class EmbeddingCodes:
    """Codes, codebooks, settings and popularity of a model's tables.

    Learned in one model, they serve as the tables of another one, of any
    architecture (MEC's stage 2; see `apply_codes`). Tables that compression
    left at full precision are held exactly. A table is named by its path in
    the model, or by the last part of it where only one table ends so. Print
    it to see the tables.

    Args:
        tables: tables by path.

    Example:
        >>> result = mec_tf.compress(model, train)
        >>> result.codes.save("codes.safetensors")
        >>> codes = mec_tf.EmbeddingCodes.load("codes.safetensors")
        >>> layer = codes.layer("user_id", trainable_codebooks=True)

    Reference:
        "MEC" (arXiv 2502.15355), stage 2.
    """

    def __init__(self, tables: Mapping[str, StoredTable]):
        self._tables = dict(tables)

    @classmethod
    def from_model(
        cls,
        model: tf.keras.Model,
        counts: Mapping[str, np.ndarray] | None = None,
    ) -> "EmbeddingCodes":
        """The tables of a built model.

        Tables in training are frozen as they stand. Layers of a user's own
        class that look vectors up in their own way are left out.

        Args:
            model: compressed, or with exact tables.
            counts: training counts `[rows]` by table path. Default: none.

        Raises:
            ValueError: if a table is not built or its counts do not fit.
        """
        counts = counts or {}
        return cls(
            {
                path: StoredTable.from_layer(layer, counts.get(path))
                for path, layer in table_layers(model).items()
                if is_storable(layer)
            }
        )

    @classmethod
    def load(cls, path: str | os.PathLike) -> "EmbeddingCodes":
        """Reads a file of `save`.

        Raises:
            FileNotFoundError: if there is no such file.
            ArtifactError: if the file is damaged, foreign, or of a format
                version that this release does not read.
        """
        return cls(codes_file.read(path))

    def save(self, path: str | os.PathLike) -> None:
        """Writes a safetensors file, beside and then renamed into place.

        Raises:
            OSError: if the file cannot be written.
        """
        codes_file.write(path, self._tables)

    @property
    def names(self) -> tuple[str, ...]:
        """Paths of the tables."""
        return tuple(self._tables)

    @property
    def bytes(self) -> int:
        """Bytes of what answers lookups; popularity counts are not in it."""
        return sum(table.bytes for table in self._tables.values())

    @property
    def full_bytes(self) -> int:
        """Bytes of the same tables as float32."""
        return sum(table.full_bytes for table in self._tables.values())

    def __contains__(self, name: str) -> bool:
        return len(self._matching(name)) == 1

    def table(self, name: str) -> StoredTable:
        """One table, by its path or the last part of it.

        Raises:
            ValueError: if there is no such table, or several.
        """
        found = self._matching(name)
        if len(found) != 1:
            raise ValueError(
                f"`name` must be one of {', '.join(self.names)}, or the last "
                f"part of only one of them. Received: name={name!r}"
            )
        return self._tables[found[0]]

    def layer(
        self,
        name: str,
        /,
        trainable_codebooks: bool = False,
        **overrides: Any,
    ) -> TableLayer:
        """A fresh, built layer of a table.

        Args:
            name: of the table.
            trainable_codebooks: whether codebooks (of an exact table: its
                rows) learn; codes never do.
            **overrides: other arguments of the layer, such as `name`,
                `dtype`, `mask_zero` or `oov`.

        Returns:
            A `CodeLookupEmbedding`; a `TableEmbedding` of an exact table.

        Raises:
            ValueError: if there is no such table.
        """
        table = self.table(name)
        plain = re.sub("[^A-Za-z0-9]+", "_", name.split("/")[-1])
        overrides.setdefault("name", f"table_{plain}")
        return table.layer(trainable_codebooks=trainable_codebooks, **overrides)

    def vectors(self, name: str, ids: Any) -> np.ndarray:
        """Vectors `[..., dim]`, float32, of integer ids `[...]`."""
        return self.layer(name)(np.asarray(ids)).numpy()

    def _matching(self, name: str) -> list[str]:
        if name in self._tables:
            return [name]
        return [path for path in self._tables if path.split("/")[-1] == name]

    def rows(self) -> Iterable[tuple[str, int, int, int, int, str]]:
        """(path, rows, dim, float32 bytes, bytes, how) of each table."""
        for path, table in self._tables.items():
            yield (
                path, table.rows, table.dim, table.full_bytes, table.bytes,
                table.describe(),
            )  # fmt: skip

    def __str__(self) -> str:
        return table_of_bytes(self.rows())
