"""One Parquet file of a log."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from mec_tf.data.column_error import (
    ColumnError,
    missing_columns,
    unique_columns,
)
from mec_tf.data.wording import first_failing, one_line

_BLOCK_ROWS = 1 << 16

_READ_ERRORS = (pa.ArrowException, OSError, UnicodeDecodeError, MemoryError)


class ParquetFile:
    """Reads a Parquet file block by block; values are checked to be whole.

    Args:
        path: The file.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path

    def types(self) -> dict[str, pa.DataType]:
        """Returns the column types; those of dictionaries are their values'.

        Raises:
            ValueError: If the file is damaged or names a column twice.
        """
        with self._explained():
            types = unique_columns(self.path, pq.read_schema(self.path))
        return {
            name: kind.value_type if pa.types.is_dictionary(kind) else kind
            for name, kind in types.items()
        }

    def batches(
        self, types: Mapping[str, pa.DataType]
    ) -> Iterator[tuple[pa.RecordBatch, int]]:
        """Yields blocks of all rows, and how far they reach, in bytes.

        Args:
            types: Columns to read; they come with their own types.

        Raises:
            ValueError: If the file is damaged or lacks a column.
        """
        with self._explained():
            size = self.path.stat().st_size
            with pq.ParquetFile(
                self.path, page_checksum_verification=True
            ) as parquet:
                names = unique_columns(self.path, parquet.schema_arrow)
                missing = [name for name in types if name not in names]
                if missing:
                    raise missing_columns(self.path, missing, names)
                total, rows = parquet.metadata.num_rows, 0
                for batch in parquet.iter_batches(
                    _BLOCK_ROWS, columns=list(types)
                ):
                    columns = [
                        self._checked(name, batch.column(name), rows)
                        for name in types
                    ]
                    rows += batch.num_rows
                    yield (
                        pa.RecordBatch.from_arrays(columns, list(types)),
                        size * rows // max(total, rows, 1),
                    )
                if rows != total:
                    raise ValueError(
                        f"{self.path} cannot be read: it must hold {total} "
                        f"rows, as it says. Received: {rows}"
                    )

    def line(self, row: int) -> int:
        """Returns the number, from 1, of a row (from 0)."""
        return row + 1

    def _checked(self, name: str, values: pa.Array, start: int) -> pa.Array:
        # Arrow trusts what a file says: that text is UTF-8, for one.
        try:
            values.validate(full=True)
        except pa.ArrowInvalid as error:
            place = first_failing(values, lambda part: part.validate(full=True))
            raise ColumnError(
                name,
                self.path,
                f"whole values of type {values.type}",
                one_line(str(error)),
                self.line(start + place),
            ) from error
        if isinstance(values, pa.DictionaryArray):
            return values.dictionary_decode()
        return values

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except _READ_ERRORS as error:
            raise ValueError(
                f"{self.path} cannot be read: {one_line(str(error))}"
            ) from error
