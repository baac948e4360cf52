"""How rows are shared between training, validation and test.

A split is a small frozen dataclass. `columns` names what it reads; `fit`
returns a function from a block to the split of each row: 0 for training, 1
for validation, 2 for test. The answer depends on a row's number or values, not
on the size of blocks, so that every pass over a log agrees.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mec_tf.data.source import Block, Source
from mec_tf.data.wording import first_failing

Assign = Callable[[Block], np.ndarray]

# Values kept to find the cut points of a column; exact up to this many rows.
_SAMPLE_ROWS = 1 << 20


class Split(Protocol):
    """What the reader asks of a split."""

    def columns(self, timestamp: str | None) -> tuple[str, ...]:
        """Names the columns that the split reads."""

    def fit(
        self, source: Source, timestamp: str | None, progress: bool
    ) -> Assign:
        """Returns a function that gives the split of each row of a block."""


@dataclasses.dataclass(frozen=True)
class RandomSplit:
    """Draws the split of each row.

    Args:
        validation: Fraction of the rows. Defaults to 0.1.
        test: Fraction of the rows. Defaults to 0.1.
        seed: Same seed, same rows.
    """

    validation: float = 0.1
    test: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        _check_fractions(self.validation, self.test)

    def columns(self, timestamp: str | None) -> tuple[str, ...]:
        return ()

    def fit(
        self, source: Source, timestamp: str | None, progress: bool
    ) -> Assign:
        edges = [self.validation, self.validation + self.test]

        def assign(block: Block) -> np.ndarray:
            rows = np.arange(block.start, block.start + len(block))
            place = np.searchsorted(edges, _uniform(rows, self.seed), "right")
            return np.array([1, 2, 0])[place]

        return assign


@dataclasses.dataclass(frozen=True)
class TemporalSplit:
    """Trains on the earliest rows and tests on the latest.

    Args:
        column: Column of times, dates or numbers that orders the rows. Rows
            of one value stay together. Defaults to the schema's timestamp,
            else to the order of the rows in the files.
        validation: Fraction of the rows, before the test rows.
        test: Fraction of the rows, the latest.
    """

    column: str | None = None
    validation: float = 0.1
    test: float = 0.1

    def __post_init__(self) -> None:
        _check_fractions(self.validation, self.test)

    def columns(self, timestamp: str | None) -> tuple[str, ...]:
        column = self.column or timestamp
        return () if column is None else (column,)

    def fit(
        self, source: Source, timestamp: str | None, progress: bool
    ) -> Assign:
        column = self.column or timestamp
        # Rounded: 1 - 0.2 - 0.2 is a little more than 0.6.
        cuts = np.round([1 - self.validation - self.test, 1 - self.test], 9)
        types = source.types()
        # Without a column any one will do: only the rows are counted.
        name = column or next(iter(types))
        read = {name: types[name] if column else pa.string()}
        blocks = source.blocks(read, "Finding the split", progress)
        if column is None:
            num_rows = sum(map(len, blocks))
            edges = np.round(np.multiply(cuts, num_rows))
        else:
            edges = np.quantile(
                _sample(source, column, blocks), cuts, method="inverted_cdf"
            )

        def assign(block: Block) -> np.ndarray:
            if column is None:
                values = np.arange(block.start, block.start + len(block))
                return np.searchsorted(edges, values, "right")
            # A cut point itself belongs to the earlier split.
            values = _numbers(source, column, block)
            return np.searchsorted(edges, values, "left")

        return assign


@dataclasses.dataclass(frozen=True)
class ByValueSplit:
    """Splits by a column's value, modulo a number: by days, say.

    Args:
        column: Column of whole numbers, or of dates or times, which count as
            days since 1970.
        modulus: Divisor. Defaults to 10.
        validation: Remainders of the validation rows. Defaults to `(0,)`.
        test: Remainders of the test rows. Defaults to `(5,)`.
    """

    column: str
    modulus: int = 10
    validation: tuple[int, ...] = (0,)
    test: tuple[int, ...] = (5,)

    def __post_init__(self) -> None:
        both = (*self.validation, *self.test)
        if len(set(both)) < len(both) or not all(
            0 <= remainder < self.modulus for remainder in both
        ):
            raise ValueError(
                "`validation` and `test` must be remainders of "
                f"`modulus`={self.modulus}, none in both. Received: "
                f"validation={self.validation}, test={self.test}"
            )

    def columns(self, timestamp: str | None) -> tuple[str, ...]:
        return (self.column,)

    def fit(
        self, source: Source, timestamp: str | None, progress: bool
    ) -> Assign:
        table = np.zeros(self.modulus, np.int64)
        table[list(self.validation)] = 1
        table[list(self.test)] = 2

        def assign(block: Block) -> np.ndarray:
            values = _numbers(source, self.column, block, days=True)
            if values.dtype != np.int64:
                raise source.error(
                    block,
                    self.column,
                    "whole numbers or dates, to split by",
                    0,
                )
            return table[values % self.modulus]

        return assign


@dataclasses.dataclass(frozen=True)
class FileSplit:
    """Keeps whole files as splits.

    Args:
        validation: Names of the validation files, without directories.
        test: Names of the test files; all other files train.
    """

    validation: tuple[str, ...]
    test: tuple[str, ...]

    def columns(self, timestamp: str | None) -> tuple[str, ...]:
        return ()

    def fit(
        self, source: Source, timestamp: str | None, progress: bool
    ) -> Assign:
        names = [file.name for file in source.files]
        unknown = sorted({*self.validation, *self.test} - set(names))
        if unknown:
            raise ValueError(
                f"`split` must name files of `paths`, {names}. Received: "
                f"{unknown}"
            )
        codes = [
            1 if name in self.validation else 2 if name in self.test else 0
            for name in names
        ]
        return lambda block: np.full(len(block), codes[block.file])


def _check_fractions(validation: float, test: float) -> None:
    if not (validation > 0 and test > 0 and validation + test < 1):
        raise ValueError(
            "`validation` and `test` must be positive fractions that leave "
            f"rows to train on. Received: validation={validation}, "
            f"test={test}"
        )


def _uniform(rows: np.ndarray, seed: int) -> np.ndarray:
    """Hashes row numbers to [0, 1): splitmix64, whatever the blocks."""
    start = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    with np.errstate(over="ignore"):
        x = (rows.astype(np.uint64) + 1) * np.uint64(0x9E3779B97F4A7C15) + start
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(11)) / 2.0**53


def _numbers(
    source: Source, column: str, block: Block, days: bool = False
) -> np.ndarray:
    """Returns a block's values of a column of numbers, times or dates."""
    values = block.columns[column]
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
    if values.null_count:
        index = pc.index(values.is_null(), True).as_py()
        raise source.error(
            block,
            column,
            "a value in each row, to split by",
            index,
            f"none, one of {values.null_count} missing",
        )
    try:
        return _as_numbers(values, days)
    except ValueError as error:
        index = first_failing(values, lambda part: _as_numbers(part, days))
        raise source.error(
            block, column, "numbers, times or dates, to split by", index
        ) from error


def _as_numbers(values: pa.Array, days: bool) -> np.ndarray:
    kind = values.type
    try:
        if days and (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
            values = values.cast(pa.date32(), safe=False)
        if pa.types.is_date32(values.type) or pa.types.is_time32(kind):
            values = values.cast(pa.int32())
        if pa.types.is_temporal(kind) or pa.types.is_integer(kind):
            return values.cast(pa.int64()).to_numpy()
        if pa.types.is_floating(kind):
            return values.cast(pa.float64()).to_numpy()
    except pa.ArrowException as error:
        raise ValueError(f"no numbers: {error}") from error
    raise ValueError(f"no numbers: {kind}")


def _sample(source: Source, column: str, blocks: Iterable[Block]) -> np.ndarray:
    """Returns the values of the rows with the smallest hashes."""
    values, keys = np.empty(0), np.empty(0)
    for block in blocks:
        rows = np.arange(block.start, block.start + len(block))
        found = _numbers(source, column, block)
        values = np.concatenate([values, found]) if len(values) else found
        keys = np.concatenate([keys, _uniform(rows, 0)])
        if len(keys) > _SAMPLE_ROWS:
            keep = np.argpartition(keys, _SAMPLE_ROWS)[:_SAMPLE_ROWS]
            values, keys = values[keep], keys[keep]
    return values
