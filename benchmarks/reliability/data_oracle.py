"""What a log must hold, by the simplest reader that there is.

Python's `csv` module and pyarrow's `to_pylist`, a value at a time. None of the
reader under test is used, but for the draw of a random split.
"""

from __future__ import annotations

import collections
import csv
import datetime
import decimal
import gzip
import io
import math
import pathlib
import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mec_tf.data import Log, RandomSplit, TemporalSplit

# How a missing number is spelled in text.
MISSING = {
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan"),
    *("1.#IND", "1.#QNAN", "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null"),
}
_DELIMITERS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
_SPLITS = ("train", "validation", "test")


class Opaque(str):
    """A value whose text is the reader's choice: it must be one to one."""


def files_of(paths: Any) -> list[pathlib.Path]:
    """The files that an input names."""
    if not isinstance(paths, list):
        paths = [paths]
    files: list[pathlib.Path] = []
    for path in map(pathlib.Path, paths):
        files += sorted(path.iterdir()) if path.is_dir() else [path]
    return [f for f in files if f.is_file() and f.name[0] not in "._"]


def read_columns(
    files: list[pathlib.Path], options: dict[str, Any]
) -> tuple[dict[str, list], list[int]]:
    """All cells by column, text as `str`; and the rows of each file."""
    columns: dict[str, list] = {}
    sizes = []
    for number, file in enumerate(files):
        if file.suffix in (".parquet", ".pq"):
            table = pq.read_table(file)
            cells = {
                name: _cells(table.column(i))
                for i, name in enumerate(table.schema.names)
            }
            size = len(table)
        else:
            rows = read_rows(file, options)
            names = options.get("column_names") or rows.pop(0)
            cells = dict(zip(names, zip(*rows, strict=True), strict=True))
            size = len(rows)
        sizes.append(size)
        if not number:
            columns = {name: [] for name in cells}
        for name in columns:
            columns[name] += cells.get(name, [None] * size)
    return columns, sizes


def read_rows(file: pathlib.Path, options: dict[str, Any]) -> list[list[str]]:
    """The rows of a text file."""
    data = file.read_bytes()
    name = file.name.lower()
    if name.endswith(".gz"):
        data, name = gzip.decompress(data), name[:-3]
    text = data.decode("utf-8-sig", "surrogateescape")
    delimiter = (
        options.get("delimiter") or _DELIMITERS[name[name.rindex(".") :]]
    )
    before = csv.field_size_limit(1 << 30)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        return [row for row in reader if row]
    finally:
        csv.field_size_limit(before)


def check(log: Log, files: list[pathlib.Path], options: dict[str, Any]) -> None:
    """Raises an AssertionError where a log is not what its files hold."""
    columns, sizes = read_columns(files, options)
    total = sum(sizes)
    _same("rows", sum(map(log.num_rows, _SPLITS)), total)
    wanted_labels = np.array([_number(v) for v in columns[log.schema.label]])
    sums = sum(float(log.labels(split).sum()) for split in _SPLITS)
    _same("label sum", sums, float(wanted_labels.sum()))
    member = _membership(log, columns, sizes, options)
    if member is None:  # Times that only the reader can read.
        return
    for i, split in enumerate(_SPLITS):
        rows = log._rows[split]
        pick = np.flatnonzero(member == i)
        _same(f"rows of {split}", len(rows), len(pick))
        _same_arrays(f"labels of {split}", rows.labels, wanted_labels[pick])
        for place, name in enumerate(log.schema.numeric):
            wanted = [_number(columns[name][k]) for k in pick]
            with np.errstate(over="ignore"):
                wanted = np.array(wanted, np.float64).astype(np.float32)
            wanted[~np.isfinite(wanted)] = np.nan
            _same_arrays(name, rows.numeric[:, place], wanted)
    for place, name in enumerate(log.schema.categorical):
        convert = _text if name in log.schema.strings else _whole
        _check_ids(
            log, name, place, [convert(v) for v in columns[name]], member
        )


def _check_ids(log, name, place, values, member) -> None:
    vocabulary = log.vocabularies[name]
    train = [v for v, i in zip(values, member, strict=True) if i == 0]
    counts = collections.Counter(v for v in train if v is not None)
    if not any(isinstance(value, Opaque) for value in counts):
        found = dict(
            zip(
                vocabulary.values.tolist(),
                vocabulary.counts[1:].tolist(),
                strict=True,
            )
        )
        _same(f"counts of {name}", found, dict(counts))
        row = {value: i for i, value in enumerate(found, 1)}
    else:
        ids = log._rows["train"].ids[:, place].tolist()
        pairs = {(v, i) for v, i in zip(train, ids, strict=True)}
        row = dict(pairs)
        _same(f"one to one ids of {name}", len(pairs), len(row))
        _same(f"one to one values of {name}", len(set(row.values())), len(row))
        _same(f"row of what is missing in {name}", row.get(None, 0), 0)
    for i, split in enumerate(_SPLITS):
        wanted = [
            row.get(value, 0)
            for value, k in zip(values, member, strict=True)
            if k == i
        ]
        _same_arrays(
            f"{name} of {split}", log._rows[split].ids[:, place], wanted
        )


def _membership(log, columns, sizes, options) -> np.ndarray | None:
    split = options.get("split") or RandomSplit()
    total = sum(sizes)
    if isinstance(split, RandomSplit):
        return split.fit(None, None, False)(_Rows(total))
    if isinstance(split, TemporalSplit):
        column = split.column or log.schema.timestamp
        if column is None:
            cuts = np.round([0.8 * total, 0.9 * total], 9)
            return np.searchsorted(np.round(cuts), np.arange(total), "right")
        values = _times(columns[column])
        if values is None:
            return None
        cuts = np.quantile(values, [0.8, 0.9], method="inverted_cdf")
        return np.searchsorted(cuts, values, "left")
    if hasattr(split, "modulus"):
        values = _times(columns[split.column], days=True)
        if values is None:
            return None
        table = np.zeros(split.modulus, int)
        table[list(split.validation)] = 1
        table[list(split.test)] = 2
        return table[values % split.modulus]
    names = [file.name for file in files_of(options["paths"])]
    codes = [
        1 if n in split.validation else 2 if n in split.test else 0
        for n in names
    ]
    return np.repeat(codes, sizes)


class _Rows:
    """As much of a block as a random split looks at."""

    start = 0

    def __init__(self, size: int):
        self._size = size

    def __len__(self) -> int:
        return self._size


def _times(values: list, days: bool = False) -> np.ndarray | None:
    found = []
    for value in values:
        if isinstance(value, str) and not isinstance(value, Opaque):
            if re.fullmatch(r"-?\d{1,18}", value):
                value = int(value)
            else:
                try:
                    value = datetime.datetime.fromisoformat(value)
                except ValueError:
                    return None
        if isinstance(value, datetime.datetime):
            zone = value.tzinfo or datetime.timezone.utc
            value = value.replace(tzinfo=zone).timestamp()
            value = int(value // 86400) if days else value
        elif isinstance(value, datetime.date):
            value = (value - datetime.date(1970, 1, 1)).days
        elif not isinstance(value, int | float) or isinstance(value, bool):
            return None
        found.append(value)
    return np.array(found)


def _cells(column: pa.ChunkedArray) -> list:
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    known = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    if known or not (
        pa.types.is_temporal(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_nested(kind)
    ):
        try:
            return column.to_pylist()
        except (ValueError, OverflowError, ArithmeticError, KeyError):
            pass  # Times that Python does not know.
    if pa.types.is_decimal(kind):
        return column.to_pylist()
    if pa.types.is_temporal(kind):
        width = pa.int64() if kind.bit_width == 64 else pa.int32()
        column = column.cast(width)
    return [
        None if value is None else Opaque(value) for value in column.to_pylist()
    ]


def _text(value: Any) -> str | None:
    if isinstance(value, bytes):
        value = value.decode()
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) else Opaque(value)


def _whole(value: Any) -> int | None:
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str) and not isinstance(value, Opaque):
        value = value.strip(" \t")
        if value in MISSING:
            return None
        if re.fullmatch(r"0[xX][0-9a-fA-F]+", value):
            return int(value, 16)
        if not re.fullmatch(r"-?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?", value):
            raise AssertionError(f"{value!r} was taken as a whole number")
        value = decimal.Decimal(value)
    if value is None or value != value:
        return None
    if int(value) != value:
        raise AssertionError(f"{value!r} was taken as a whole number")
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, str) and not isinstance(value, Opaque):
        value = value.strip(" \t")
        if value in MISSING:
            return math.nan
        if value.lower() in ("true", "false"):
            return float(value.lower() == "true")
        if re.fullmatch(r"0[xX][0-9a-fA-F]+", value):
            return float(int(value, 16))
        if "_" in value or not value.isascii():
            raise AssertionError(f"{value!r} was taken as a number")
    return math.nan if value is None else float(value)


def _same(what: str, found: Any, wanted: Any) -> None:
    if found != wanted:
        raise AssertionError(
            f"{what}: {str(found)[:200]}, not {str(wanted)[:200]}"
        )


def _same_arrays(what: str, found: Any, wanted: Any) -> None:
    if not np.array_equal(found, np.asarray(wanted), equal_nan=True):
        raise AssertionError(f"{what} differ")


def check_interactions(log: Log, file: pathlib.Path, negatives: int) -> None:
    """The same for a list of interactions."""
    import bz2
    import lzma
    import zipfile

    data = file.read_bytes()
    if file.suffix == ".zip":
        with zipfile.ZipFile(file) as archive:
            data = archive.read(archive.namelist()[0])
    else:
        unpack = {".gz": gzip, ".bz2": bz2, ".xz": lzma}.get(file.suffix)
        data = unpack.decompress(data) if unpack else data
    rows = [
        tuple(map(int, line.split()))
        for line in re.split(r"\r\n|\n|\r", data.decode("utf-8-sig"))
        if line.strip()
    ]
    _same("values a line", {len(row) for row in rows}, {2})
    left = collections.Counter(user for user, _ in rows)
    touched = collections.defaultdict(set)
    size = dict(left)
    wanted: dict[str, list] = {split: [] for split in _SPLITS}
    for user, item in rows:
        left[user] -= 1
        last = left[user] if size[user] >= 3 else 2
        wanted[{0: "test", 1: "validation"}.get(last, "train")].append(
            (user, item)
        )
        touched[user].add(item)
    items = {item for _, item in wanted["train"]}
    for split in _SPLITS:
        ids = log._rows[split].ids
        users = np.array([0, *log.vocabularies["user"].values])[ids[:, 0]]
        found = [
            log.vocabularies["item"].values[i - 1] if i else None
            for i in ids[:, 1]
        ]
        pairs = list(zip(users.tolist(), found, strict=True))
        expected = [(u, i if i in items else None) for u, i in wanted[split]]
        _same(f"pairs of {split}", pairs[:: 1 + negatives], expected)
        _same(
            f"labels of {split}",
            log.labels(split).tolist(),
            ([1.0] + [0.0] * negatives) * len(expected),
        )
        for k, (user, item) in enumerate(pairs):
            if k % (1 + negatives) and item in touched[user]:
                raise AssertionError(f"{item} is no negative of {user}")
