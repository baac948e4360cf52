"""One CSV or TSV file of a log."""

from __future__ import annotations

import contextlib
import csv
import io
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from mec_tf.data.column_error import (
    ColumnError,
    missing_columns,
    unique_columns,
)
from mec_tf.data.wording import first_failing, one_line, shown

# Arrow reads rows as long as a block, and some up to twice as long.
_BLOCK_BYTES = 1 << 22
_FIRST_BLOCK_BYTES = 1 << 20
_LONGEST_ROW = 1 << 23

# What Arrow says of a row of another length; some releases name the row.
_BAD_ROW = re.compile(r"CSV parse error: (Row #\d+: )?Exp|straddling")
_READ_ERRORS = (pa.ArrowException, OSError, UnicodeDecodeError, MemoryError)


class TextFile:
    """Reads a CSV or TSV file block by block, and says where it is wrong.

    Values may hold line breaks within quotes. A quote that is never closed,
    or closed within a later row's value, would swallow rows: it is refused.

    Args:
        path: The file, plain or, where it ends in .gz, compressed by gzip.
        delimiter: One character.
        column_names: Of a file without a header line; else `None`.
    """

    def __init__(
        self,
        path: pathlib.Path,
        delimiter: str,
        column_names: Sequence[str] | None = None,
    ):
        self.path = path
        self._delimiter = delimiter
        self._column_names = list(column_names) if column_names else None
        self._quotes_checked = False

    def types(self) -> dict[str, pa.DataType]:
        """Infers the column types from the first block.

        Whole numbers beyond 64 bits, which floats do not hold, are text.

        Raises:
            ValueError: If the file is damaged, holds no row, or names a
                column twice.
        """
        with self._explained():
            batch = self._first_batch({})
            types = self._unique(batch.schema)
            doubt = [c for c, t in types.items() if pa.types.is_floating(t)]
            if doubt:
                texts = self._first_batch(dict.fromkeys(doubt, pa.string()))
            for name in doubt:
                found = texts.column(name).filter(batch.column(name).is_valid())
                whole = pc.match_substring_regex(found, r"^\s*-?[0-9]+\s*$")
                if pc.all(whole, min_count=0).as_py():
                    types[name] = pa.string()
        # Bytes are what is not UTF-8: text, which reading then refuses.
        return {
            name: pa.string() if pa.types.is_binary(kind) else kind
            for name, kind in types.items()
        }

    def batches(
        self, types: Mapping[str, pa.DataType]
    ) -> Iterator[tuple[pa.RecordBatch, int]]:
        """Yields blocks of all rows, and how far they reach, in bytes.

        Args:
            types: Columns to read, with the types to parse them as.

        Raises:
            ValueError: If the file is damaged, lacks a column, or holds a
                value that is not of the wanted type.
        """
        with self._explained():
            names = self._unique(self._first_batch({}).schema)
        missing = [name for name in types if name not in names]
        if missing:
            raise missing_columns(self.path, missing, names)
        num_rows = 0
        with self._explained(types):
            raw, lines, reader = self._open(types)
            with raw, reader:
                for batch in reader:
                    num_rows += batch.num_rows
                    yield batch, raw.tell()
            several = lines.count != num_rows + (self._column_names is None)
            if several and lines.quoted and not self._quotes_checked:
                self._check_quotes()

    def line(self, row: int) -> int | None:
        """Returns the line, from 1, where a row (from 0) begins.

        Slow: for messages only. `None` where the file cannot be read again.
        """
        row += self._column_names is None
        try:
            for number, (line, _, _) in enumerate(self._records()):
                if number == row:
                    return line
        except _READ_ERRORS:
            pass
        return None

    def _open(
        self, types: Mapping[str, pa.DataType], block_bytes: int | None = None
    ) -> tuple[pa.NativeFile, _CountedLines, pa_csv.CSVStreamingReader]:
        raw, stream = self._stream()
        lines = _CountedLines(stream)
        reader = pa_csv.open_csv(
            pa.PythonFile(lines, mode="r"),
            read_options=pa_csv.ReadOptions(
                block_size=block_bytes or _BLOCK_BYTES,
                column_names=self._column_names,
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=self._delimiter, newlines_in_values=True
            ),
            convert_options=pa_csv.ConvertOptions(
                include_columns=list(types), column_types=dict(types)
            ),
        )
        return raw, lines, reader

    def _stream(self) -> tuple[pa.NativeFile, pa.NativeFile]:
        raw = pa.OSFile(str(self.path))
        if self.path.name.lower().endswith(".gz"):
            return raw, pa.CompressedInputStream(raw, "gzip")
        return raw, raw

    def _first_batch(self, types: Mapping[str, pa.DataType]) -> pa.RecordBatch:
        try:
            raw, _, reader = self._open(types, _FIRST_BLOCK_BYTES)
        except pa.ArrowInvalid as error:
            if not str(error).startswith("straddling"):
                raise
            raw, _, reader = self._open(types)  # The first rows are long.
        with raw, reader:
            for batch in reader:
                return batch
            return pa.RecordBatch.from_pylist([], reader.schema)

    def _unique(self, schema: pa.Schema) -> dict[str, pa.DataType]:
        return unique_columns(self.path, schema)

    @contextlib.contextmanager
    def _explained(
        self, types: Mapping[str, pa.DataType] | None = None
    ) -> Iterator[None]:
        try:
            yield
        except _READ_ERRORS as error:
            raise self._explain(str(error), types or {}) from error

    def _explain(
        self, text: str, types: Mapping[str, pa.DataType]
    ) -> ValueError:
        """Words an error of Arrow, which knows no rows; slow."""
        if text.startswith("CSV parse error: Empty CSV file"):
            return ValueError(f"{self.path} holds no row.")
        found: ValueError | None = None
        column = re.match(r"In CSV column #(\d+)", text)
        try:
            if column:
                found = self._bad_value(int(column[1]), types)
            elif _BAD_ROW.match(text):
                found = self._bad_row()
        except _READ_ERRORS:
            pass  # Damaged so badly that no place can be named.
        return found or ValueError(
            f"{self.path} cannot be read: {one_line(text)}"
        )

    def _bad_value(
        self, place: int, types: Mapping[str, pa.DataType]
    ) -> ColumnError | None:
        column = self._first_batch({}).schema.names[place]
        kind = types[column]
        row = 0
        raw, _, reader = self._open({column: pa.binary()})
        with raw, reader:
            for batch in reader:
                values = batch.column(column)
                try:
                    _parse(values, kind)
                except ValueError:
                    i = first_failing(values, lambda part: _parse(part, kind))
                    received = shown(values[i].as_py())
                    line = self.line(row + i)
                    return ColumnError(column, self.path, kind, received, line)
                row += batch.num_rows
        return None

    def _bad_row(self) -> ValueError | None:
        """Finds the first row of another length than the header."""
        expected = len(self._column_names or ())
        for line, fields, lines in self._records():
            if not fields or sum(map(len, lines)) > _BLOCK_BYTES:
                return ValueError(
                    f"{self.path} must hold rows of at most {_BLOCK_BYTES:,} "
                    f"bytes. Received a longer one in row {line}; a quote that "
                    "is not closed, perhaps"
                )
            expected = expected or len(fields)
            if len(fields) != expected:
                text = _as_utf8("".join(lines).rstrip("\r\n"))
                return ValueError(
                    f"{self.path} must hold {expected} values in each row. "
                    f"Received in row {line}: {len(fields)} in {shown(text)}"
                )
        return None

    def _check_quotes(self) -> None:
        """Raises if a row goes over lines though its quotes are not right.

        Only files with such rows, or quotes and empty lines, are read here.
        """
        for line, _, lines in self._records():
            try:
                if len(lines) > 1:
                    list(self._reader(lines, strict=True))
            except csv.Error as error:
                raise ValueError(
                    f"{self.path} must close each quote before the value ends."
                    f" Received in row {line}: a quoted value that goes over "
                    f"{len(lines):,} lines and is not closed so, "
                    f"{shown(_as_utf8(lines[0].rstrip()))}"
                ) from error
        self._quotes_checked = True

    def _records(self) -> Iterator[tuple[int, list[str], list[str]]]:
        """Yields each row's line, values and lines, bytes as Latin-1.

        The last one has no values if it is longer than Arrow can read.
        """
        lines: list[str] = []
        size = 0

        def kept(text: io.TextIOWrapper) -> Iterator[str]:
            nonlocal size
            for number, line in enumerate(text):
                # The reader of Python 3.10 refuses NUL.
                line = line.replace("\0", "\1")
                lines.append(line if number else line.removeprefix("ï»¿"))
                size += len(line)
                if size > _LONGEST_ROW:
                    return
                yield lines[-1]

        before = csv.field_size_limit(_LONGEST_ROW)
        try:
            raw, stream = self._stream()
            with raw:
                text = io.TextIOWrapper(stream, "latin-1", newline="")
                start = 1
                reader = self._reader(kept(text))
                for fields in reader:
                    if size > _LONGEST_ROW:
                        break
                    if fields:
                        yield start, fields, lines
                    start = reader.line_num + 1
                    lines.clear()
                    size = 0
                if size > _LONGEST_ROW:
                    yield start, [], lines
        finally:
            csv.field_size_limit(before)

    def _reader(self, lines: Any, strict: bool = False) -> Any:
        return csv.reader(lines, delimiter=self._delimiter, strict=strict)


class _CountedLines:
    """A file for Arrow that counts its lines as they are read."""

    closed = False

    def __init__(self, stream: pa.NativeFile):
        self._stream = stream
        self.quoted = False
        self._ends = 0
        self._last = b"\n"

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        if data:
            self._ends += data.count(b"\n")
            if b"\r" in data:  # Ends a line alone, too.
                self._ends += data.count(b"\r") - data.count(b"\r\n")
            self._ends -= self._last == b"\r" and data[:1] == b"\n"
            self._last = data[-1:]
            self.quoted = self.quoted or b'"' in data
        return data

    @property
    def count(self) -> int:
        return self._ends + (self._last not in (b"\n", b"\r"))

    def close(self) -> None:
        self._stream.close()
        self.closed = True


def _parse(values: pa.Array, kind: pa.DataType) -> None:
    """Raises an ArrowInvalid unless all texts are values of a type."""
    text = b"".join(
        b'"%s"\n' % value.replace(b'"', b'""') for value in values.to_pylist()
    )
    pa_csv.read_csv(
        pa.BufferReader(text),
        pa_csv.ReadOptions(column_names=["x"], block_size=len(text) + 1),
        pa_csv.ParseOptions(newlines_in_values=True),
        pa_csv.ConvertOptions(column_types={"x": kind}),
    )


def _as_utf8(text: str) -> str:
    """Undoes the reading of bytes as Latin-1."""
    return text.encode("latin-1").decode("utf-8", "backslashreplace")
