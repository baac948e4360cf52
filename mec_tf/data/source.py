"""Files of a log, read block by block."""

from __future__ import annotations

import dataclasses
import itertools
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from mec_tf.data.column_error import ColumnError, missing_columns
from mec_tf.data.parquet_file import ParquetFile
from mec_tf.data.text_file import TextFile
from mec_tf.data.wording import first_failing, shown

_DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
_PARQUET = (".parquet", ".pq")
_SUPPORTED = (*_DELIMITERS, *(f"{e}.gz" for e in _DELIMITERS), *_PARQUET)

Paths = str | os.PathLike | Sequence[str | os.PathLike]

# New column: the column that it is made of, and a function from that column's
# text (an Arrow string array) to an array of the same length.
Derive = Mapping[str, tuple[str, Callable[[pa.Array], pa.Array]]]


@dataclasses.dataclass(frozen=True)
class Block:
    """Consecutive rows of one file.

    Args:
        file: Number of the file.
        start: Number of the first row, counted over all files.
        row: Number of the first row, counted in the file.
        columns: Arrow arrays by name.
    """

    file: int
    start: int
    row: int
    columns: dict[str, pa.Array]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


class Source:
    """CSV, TSV or Parquet files that are read as one log.

    Args:
        paths: A file, several, or a directory (its files by name). Known
            endings: .csv, .tsv, .txt, each also with .gz; .parquet, .pq.
        delimiter: Of text files; by default a comma for .csv, else a tab.
        column_names: Of text files without a header line.
        derive: Columns to be made from others.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a file is empty, cannot be read or has another ending,
            or `delimiter` is not one character.
    """

    def __init__(
        self,
        paths: Paths,
        delimiter: str | None = None,
        column_names: Sequence[str] | None = None,
        derive: Derive | None = None,
    ):
        if delimiter is not None and not re.fullmatch(r"[\t !#-~]", delimiter):
            raise ValueError(
                "`delimiter` must be one ASCII character, no quote. Received: "
                f"{shown(delimiter)}"
            )
        self.files = find_files(paths)
        self._stamps = [_stamp(file) for file in self.files]
        self._parts = [
            ParquetFile(file)
            if _ending(file) in _PARQUET
            else TextFile(
                file, delimiter or _DELIMITERS[_ending(file)], column_names
            )
            for file in self.files
        ]
        self._delimiter = delimiter
        self._column_names = list(column_names) if column_names else None
        self._derive = dict(derive or {})

    def fingerprint(self) -> dict[str, Any]:
        """Returns what tells one source from another, fit for JSON."""
        stats = [(file, file.stat()) for file in self.files]
        return {
            "files": [
                [str(file.resolve()), stat.st_size, stat.st_mtime_ns]
                for file, stat in stats
            ],
            "delimiter": self._delimiter,
            "column_names": self._column_names,
            "derive": [
                [name, column, f"{make.__module__}.{make.__qualname__}"]
                for name, (column, make) in self._derive.items()
            ],
        }

    def check_unchanged(self) -> None:
        """Raises a ValueError if a file is not as it was at first."""
        for file, stamp in zip(self.files, self._stamps, strict=True):
            if _stamp(file) != stamp:
                raise ValueError(f"{file} was changed while it was read.")

    def types(self) -> dict[str, pa.DataType]:
        """Returns the column types, as the first block of the first file."""
        types = self._parts[0].types()
        for name, (column, make) in self._derive.items():
            if column not in types:
                raise missing_columns(self.files[0], [column], types)
            types[name] = make(pa.array([], pa.string())).type
        return types

    def blocks(
        self,
        types: Mapping[str, pa.DataType],
        title: str = "",
        progress: bool = False,
    ) -> Iterator[Block]:
        """Yields all rows in order.

        Args:
            types: Columns to read, with the types to parse text as; Parquet
                columns come as they are, but times as in the first file.
            title: Of the progress bar.
            progress: Whether to show one.

        Raises:
            ValueError: If a file is damaged, lacks a column, holds no row, or
                holds a value that is not of the wanted type.
        """
        raw = {c: t for c, t in types.items() if c not in self._derive}
        made = {c: d for c, d in self._derive.items() if c in types}
        # The text of a column may be wanted beside the column.
        text = [c for c, _ in made.values()]
        wanted = raw | {c: raw.get(c, pa.string()) for c in text}
        first: dict[str, pa.DataType] = {}
        start = 0
        sizes = [file.stat().st_size for file in self.files]
        bar = tqdm(
            total=sum(sizes),
            desc=title,
            unit="B",
            unit_scale=True,
            disable=not progress,
        )
        with bar:
            for number, part in enumerate(self._parts):
                row = 0
                for batch, position in part.batches(wanted):
                    found = dict(
                        zip(batch.schema.names, batch.columns, strict=True)
                    )
                    block = Block(number, start, row, found)
                    for name in wanted:
                        found[name] = self._as_first(block, name, first)
                    for name, (column, make) in made.items():
                        found[name] = self._made(block, column, make)
                    if batch.num_rows:
                        columns = {name: found[name] for name in types}
                        yield Block(number, start, row, columns)
                    row += batch.num_rows
                    start += batch.num_rows
                    bar.update(sum(sizes[:number]) + position - bar.n)
                if not row:
                    raise ValueError(f"{part.path} holds no row.")

    def error(
        self,
        block: Block,
        column: str,
        expected: object,
        index: int,
        received: str | None = None,
    ) -> ColumnError:
        """Words what is wrong in a block.

        Args:
            block: The block.
            column: The column.
            expected: Arrow type or words.
            index: Of the first row that is wrong, in the block.
            received: What was found; by default that row's value.
        """
        if received is None:
            received = _value(block.columns[column], index)
        return ColumnError(
            column,
            self.files[block.file],
            expected,
            received,
            self._parts[block.file].line(block.row + index),
        )

    def _as_first(
        self, block: Block, name: str, first: dict[str, pa.DataType]
    ) -> pa.Array:
        """Gives times one unit; as numbers or text they have none."""
        values = block.columns[name]
        kind = first.setdefault(name, values.type)
        if values.type == kind or pa.types.is_null(values.type):
            return values
        if pa.types.is_null(kind):
            first[name] = values.type
            return values
        times = pa.types.is_temporal(kind), pa.types.is_temporal(values.type)
        if not any(times):
            return values
        try:
            if all(times):
                return values.cast(kind)
        except pa.ArrowException:
            pass
        raise self.error(
            block,
            name,
            f"{kind}, as in {self.files[0].name}",
            0,
            f"{values.type}",
        )

    def _made(
        self, block: Block, column: str, make: Callable[[pa.Array], pa.Array]
    ) -> pa.Array:
        def convert(values: pa.Array) -> pa.Array:
            return make(values.cast(pa.string()))

        values = block.columns[column]
        try:
            return convert(values)
        except pa.ArrowException as error:
            place = first_failing(values, convert)
            raise self.error(
                block, column, "what others are made of", place
            ) from error


def merge_blocks(blocks: Iterable[Block], min_rows: int) -> Iterator[Block]:
    """Joins consecutive blocks of a file until they hold `min_rows` rows."""
    for _, group in itertools.groupby(blocks, lambda block: block.file):
        pending: list[Block] = []
        num_rows = 0
        for block in group:
            pending.append(block)
            num_rows += len(block)
            if num_rows >= min_rows:
                yield _concatenate(pending)
                pending, num_rows = [], 0
        if pending:
            yield _concatenate(pending)


def _concatenate(blocks: list[Block]) -> Block:
    columns = {
        name: pa.concat_arrays([block.columns[name] for block in blocks])
        for name in blocks[0].columns
    }
    return dataclasses.replace(blocks[0], columns=columns)


def find_files(paths: Paths) -> list[pathlib.Path]:
    """Lists the files that `paths` names, those of a directory by name."""
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    files: list[pathlib.Path] = []
    for path in map(pathlib.Path, paths):
        try:
            files += _files_at(path)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ValueError(
                f"`paths` must name files that can be read. Received: {path} "
                f"({error.strerror})"
            ) from error
    if not files:
        raise ValueError("`paths` must name a file. Received: none")
    for file in files:
        if not file.stat().st_size:
            raise ValueError(f"{file} is empty.")
    return files


def _files_at(path: pathlib.Path) -> list[pathlib.Path]:
    if path.is_dir():
        inside = sorted(
            file
            for file in path.iterdir()
            if file.is_file()
            and not file.name.startswith((".", "_"))
            and file.name.lower().endswith(_SUPPORTED)
        )
        if not inside:
            raise FileNotFoundError(
                f"`paths` names a directory without a file that ends in "
                f"one of {', '.join(_SUPPORTED)}. Received: {path}"
            )
        return inside
    if not path.is_file():
        raise FileNotFoundError(f"`paths` names no file. Received: {path}")
    if not path.name.lower().endswith(_SUPPORTED):
        raise ValueError(
            "`paths` must name files that end in one of "
            f"{', '.join(_SUPPORTED)}. Received: {path}"
        )
    return [path]


def _ending(file: pathlib.Path) -> str:
    suffixes = [suffix.lower() for suffix in file.suffixes]
    return suffixes[-2] if suffixes[-1] == ".gz" else suffixes[-1]


def _stamp(file: pathlib.Path) -> tuple[int, ...]:
    """What changes when a file is written, or another put in its place."""
    try:
        stat = file.stat()
    except OSError:
        return ()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def _value(values: pa.Array, index: int) -> str:
    try:
        return shown(values[index].as_py())
    except (ValueError, OverflowError, ArithmeticError):
        return f"a {values.type}"  # A time that Python does not know.
