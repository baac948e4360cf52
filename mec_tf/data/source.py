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
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from tqdm.auto import tqdm

_DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
_PARQUET = (".parquet", ".pq")
_SUPPORTED = (*_DELIMITERS, *(f"{e}.gz" for e in _DELIMITERS), *_PARQUET)

_CSV_BLOCK_BYTES = 1 << 22
_FIRST_BLOCK_BYTES = 1 << 20
_PARQUET_BLOCK_ROWS = 1 << 16

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
        columns: Arrow arrays by name.
    """

    file: int
    start: int
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
        ValueError: If a file is empty or has another ending.
    """

    def __init__(
        self,
        paths: Paths,
        delimiter: str | None = None,
        column_names: Sequence[str] | None = None,
        derive: Derive | None = None,
    ):
        self.files = find_files(paths)
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

    def types(self) -> dict[str, pa.DataType]:
        """Returns the column types, as the first block of the first file."""
        file = self.files[0]
        if _ending(file) in _PARQUET:
            with _errors(file):
                schema = pq.read_schema(file)
        else:
            with _errors(file), self._open_csv(file, {}, True)[1] as reader:
                schema = reader.schema
        types = dict(zip(schema.names, schema.types, strict=True))
        if len(types) < len(schema.names):
            raise ValueError(f"{file} must name each column once.")
        for name, (column, make) in self._derive.items():
            self._require([column], types, file)
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
                columns come as they are.
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
            for number, file in enumerate(self.files):
                first = start
                wanted = raw | {c: raw.get(c, pa.string()) for c in text}
                for batch, position in self._batches(file, wanted):
                    columns = {c: batch.column(c) for c in raw}
                    for name, (column, make) in made.items():
                        source = batch.column(column).cast(pa.string())
                        columns[name] = make(source)
                    if batch.num_rows:
                        yield Block(number, start, columns)
                    start += batch.num_rows
                    bar.update(sum(sizes[:number]) + position - bar.n)
                if start == first:
                    raise ValueError(f"{file} holds no row.")

    def _batches(
        self, file: pathlib.Path, types: dict[str, pa.DataType]
    ) -> Iterator[tuple[pa.RecordBatch, int]]:
        """Yields blocks of a file and how far they reach, in bytes."""
        if _ending(file) in _PARQUET:
            with _errors(file), pq.ParquetFile(file) as parquet:
                self._require(types, parquet.schema_arrow.names, file)
                size, rows = file.stat().st_size, 0
                for batch in parquet.iter_batches(
                    _PARQUET_BLOCK_ROWS, columns=list(types)
                ):
                    rows += batch.num_rows
                    total = parquet.metadata.num_rows
                    yield batch, size * rows // total
            return
        with _errors(file), self._open_csv(file, {}, True)[1] as reader:
            names = reader.schema.names
        self._require(types, names, file)
        with _errors(file, names):
            raw, reader = self._open_csv(file, types, False)
            with raw, reader:
                for batch in reader:
                    yield batch, raw.tell()

    def _open_csv(
        self, file: pathlib.Path, types: dict[str, pa.DataType], first: bool
    ) -> tuple[pa.NativeFile, pa_csv.CSVStreamingReader]:
        raw = pa.OSFile(str(file))
        stream = raw
        if file.name.lower().endswith(".gz"):
            stream = pa.CompressedInputStream(raw, "gzip")
        reader = pa_csv.open_csv(
            stream,
            read_options=pa_csv.ReadOptions(
                block_size=_FIRST_BLOCK_BYTES if first else _CSV_BLOCK_BYTES,
                column_names=self._column_names,
            ),
            parse_options=pa_csv.ParseOptions(
                delimiter=self._delimiter or _DELIMITERS[_ending(file)]
            ),
            convert_options=pa_csv.ConvertOptions(
                include_columns=list(types), column_types=types
            ),
        )
        return raw, reader

    def _require(self, wanted: Any, names: Any, file: pathlib.Path) -> None:
        missing = [name for name in wanted if name not in names]
        if missing:
            raise ValueError(
                f"{file} has no column {', '.join(map(repr, missing))}. Its "
                f"columns: {', '.join(map(repr, names))}"
            )


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
    return Block(blocks[0].file, blocks[0].start, columns)


def find_files(paths: Paths) -> list[pathlib.Path]:
    """Lists the files that `paths` names, those of a directory by name."""
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    files = []
    for path in map(pathlib.Path, paths):
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
            files += inside
        elif not path.is_file():
            raise FileNotFoundError(f"`paths` names no file. Received: {path}")
        elif not path.name.lower().endswith(_SUPPORTED):
            raise ValueError(
                "`paths` must name files that end in one of "
                f"{', '.join(_SUPPORTED)}. Received: {path}"
            )
        else:
            files.append(path)
    if not files:
        raise ValueError("`paths` must name a file. Received: none")
    for file in files:
        if not file.stat().st_size:
            raise ValueError(f"{file} is empty.")
    return files


def _ending(file: pathlib.Path) -> str:
    suffixes = [suffix.lower() for suffix in file.suffixes]
    return suffixes[-2] if suffixes[-1] == ".gz" else suffixes[-1]


class _errors:
    """Names the file, and the column where known, in Arrow's errors."""

    def __init__(self, file: pathlib.Path, names: Sequence[str] = ()):
        self._file = file
        self._names = names

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if not isinstance(error, pa.ArrowException | OSError):
            return
        found = re.search(
            r"CSV column #(\d+):.* error to (\w+): (.*)", str(error), re.S
        )
        if found and int(found[1]) < len(self._names):
            name = self._names[int(found[1])]
            raise ColumnError(name, self._file, found[2], found[3]) from error
        raise ValueError(f"{self._file} cannot be read: {error}") from error


class ColumnError(ValueError):
    """A column holds a value that is not of its kind.

    Args:
        column: Name of the column.
        file: The file.
        expected: Type that the column must have.
        received: What was found.
    """

    def __init__(self, column: str, file: object, expected: str, received: str):
        hint = ""
        if expected == "int64":
            expected = "whole numbers"
            hint = (
                "; name the column in `numeric` if it is a quantity, in "
                "`strings` if it is text"
            )
        elif expected in ("double", "float64"):
            expected = "numbers"
        super().__init__(
            f"Column {column!r} of {file} must hold {expected}{hint}. "
            f"Received: {received}"
        )
