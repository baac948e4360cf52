"""The first pass over a log: checks and counts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mec_tf.data.log import SPLITS
from mec_tf.data.numeric_stats import Moments, NumericStats
from mec_tf.data.schema import Schema
from mec_tf.data.source import Block, Source
from mec_tf.data.value_counter import ValueCounter
from mec_tf.data.vocabulary import Vocabulary, as_keys
from mec_tf.data.wording import first_failing, listed, shown

_SHOWN = 5


class Survey:
    """Gathers what the vocabularies and statistics need, from training rows.

    Args:
        schema: The columns, with `strings` known.
        source: The files, for messages.
    """

    def __init__(self, schema: Schema, source: Source):
        self._schema = schema
        self._source = source
        text = schema.strings or ()
        self._counters = {
            column: ValueCounter("string" if column in text else "int64")
            for column in schema.categorical
        }
        self._moments = {column: Moments() for column in schema.numeric}
        self._rows = np.zeros(len(SPLITS), np.int64)
        self._positives = 0

    def update(self, block: Block, codes: np.ndarray) -> None:
        """Takes in a block.

        Args:
            block: The rows.
            codes: int array, the split of each row.

        Raises:
            ValueError: If a label is not 0 or 1, or a value is not of its
                column's kind.
        """
        labels = self._labels(block)
        train = codes == 0
        self._rows += np.bincount(codes, minlength=len(SPLITS))
        self._positives += int(labels[train].sum())
        mask = pa.array(train)
        for column, counter in self._counters.items():
            # All rows are checked, training rows counted.
            kind = counter.key_dtype
            expected = "text or whole numbers" if kind == "string" else kind
            keys = self._converted(
                block,
                column,
                expected,
                functools.partial(as_keys, key_dtype=kind),
            )
            counter.update(keys.filter(mask))
        for column, moments in self._moments.items():
            found = self._converted(block, column, "double", numbers)
            moments.update(found[train])

    def check(self) -> None:
        """Raises a ValueError if the log cannot be learned from."""
        rows = dict(zip(SPLITS, self._rows.tolist(), strict=True))
        empty = [split for split, count in rows.items() if not count]
        if empty:
            raise ValueError(
                f"`split` must leave rows for each of {SPLITS}. Received none "
                f"for {', '.join(empty)}: {rows}"
            )
        if self._positives in (0, rows["train"]):
            raise ValueError(
                f"The label {self._schema.label!r} must take both 0 and 1 in "
                "the training rows. Received: a column of one value, "
                f"{int(self._positives > 0)}"
            )
        single = [
            column
            for column, gathered in (self._counters | self._moments).items()
            if gathered.distinct < 2
        ]
        if single:
            raise ValueError(
                "A column of one value in the training rows teaches nothing: "
                f"drop it, or name it in `drop`. Received: "
                f"{listed(single)}"
            )

    def vocabularies(self, min_count: int) -> dict[str, Vocabulary]:
        """Returns a vocabulary for each categorical column."""
        vocabularies = {}
        for column in list(self._counters):
            # Popped: counts and vocabulary need not be held both.
            counter = self._counters.pop(column)
            vocabularies[column] = counter.vocabulary(min_count)
            if vocabularies[column].size == 1:
                raise ValueError(
                    f"`min_count`={min_count} leaves no value of the column "
                    f"{column!r}: lower it, or name the column in `drop`."
                )
        return vocabularies

    def numeric_stats(self) -> dict[str, NumericStats]:
        """Returns the statistics of each numeric column."""
        return {c: moments.stats() for c, moments in self._moments.items()}

    def _converted(
        self,
        block: Block,
        column: str,
        expected: str,
        convert: Callable[[pa.Array], Any],
    ) -> Any:
        values = block.columns[column]
        try:
            return convert(values)
        except ValueError as error:
            index = first_failing(values, convert)
            raise self._source.error(block, column, expected, index) from error

    def _labels(self, block: Block) -> np.ndarray:
        column = self._schema.label
        values = block.columns[column]
        if pa.types.is_floating(values.type):
            values = pc.if_else(pc.is_nan(values), None, values)
        if values.null_count:
            index = pc.index(values.is_null(), True).as_py()
            raise self._source.error(
                block,
                column,
                "0 and 1, the label, in each row",
                index,
                f"none, one of {values.null_count} missing",
            )
        if not _are_scalars(values.type):
            raise self._source.error(
                block, column, "0 and 1, the label", 0, f"{values.type}"
            )
        found = values.unique().to_pylist()
        wrong = [value for value in found if value not in (0, 1)]
        if wrong:
            some = ", ".join(map(shown, found[:_SHOWN]))
            more = ", …" if len(found) > _SHOWN else ""
            index = pc.index(values, pa.scalar(wrong[0], values.type)).as_py()
            raise self._source.error(
                block,
                column,
                "0 and 1, the label",
                index,
                f"{shown(wrong[0])}; the column holds {some}{more}",
            )
        return numbers(values)


def _are_scalars(kind: pa.DataType) -> bool:
    """Whether Python can compare values of an Arrow type with 0 and 1."""
    return (
        pa.types.is_boolean(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
    )


def numbers(values: pa.Array) -> np.ndarray:
    """Returns float32 numbers; missing and infinite ones are NaN.

    Raises:
        ValueError: If a value is not a number.
    """
    try:
        values = values.cast(pa.float64(), safe=False)
    except pa.ArrowException as error:
        raise ValueError(
            f"Values must be numbers. Received: {error}"
        ) from error
    with np.errstate(over="ignore"):
        found = values.to_numpy(zero_copy_only=False).astype(np.float32)
    found[~np.isfinite(found)] = np.nan
    return found
