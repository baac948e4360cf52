"""The first pass over a log: checks and counts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mec_tf.data.log import SPLITS
from mec_tf.data.numeric_stats import Moments, NumericStats
from mec_tf.data.schema import Schema
from mec_tf.data.source import Block, ColumnError
from mec_tf.data.value_counter import ValueCounter
from mec_tf.data.vocabulary import Vocabulary, as_keys

_SHOWN = 5


class Survey:
    """Gathers what the vocabularies and statistics need, from training rows.

    Args:
        schema: The columns, with `strings` known.
    """

    def __init__(self, schema: Schema):
        self._schema = schema
        text = schema.strings or ()
        self._counters = {
            column: ValueCounter("string" if column in text else "int64")
            for column in schema.categorical
        }
        self._moments = {column: Moments() for column in schema.numeric}
        self._rows = np.zeros(len(SPLITS), np.int64)
        self._positives = 0

    def update(self, block: Block, codes: np.ndarray, file: object) -> None:
        """Takes in a block.

        Args:
            block: The rows.
            codes: int array, the split of each row.
            file: The file, for messages.

        Raises:
            ValueError: If a label is not 0 or 1, or a value is not of its
                column's kind.
        """
        labels = self._labels(block, file)
        train = codes == 0
        self._rows += np.bincount(codes, minlength=len(SPLITS))
        self._positives += int(labels[train].sum())
        mask = pa.array(train)
        for column, counter in self._counters.items():
            # All rows are checked, training rows counted.
            try:
                keys = as_keys(block.columns[column], counter.key_dtype)
            except ValueError as error:
                expected = counter.key_dtype
                if expected == "string":
                    expected = "text or whole numbers"
                received = str(error).rpartition("Received: ")[2]
                raise ColumnError(column, file, expected, received) from error
            counter.update(keys.filter(mask))
        for column, moments in self._moments.items():
            moments.update(numbers(block.columns[column], column, file)[train])

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
                f"{', '.join(map(repr, single))}"
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

    def _labels(self, block: Block, file: object) -> np.ndarray:
        column = self._schema.label
        values = block.columns[column]
        if pa.types.is_floating(values.type):
            values = pc.if_else(pc.is_nan(values), None, values)
        if values.null_count:
            raise ColumnError(
                column,
                file,
                "0 and 1, the label, in each row",
                f"{values.null_count} missing in the rows from {block.start}",
            )
        found = values.unique()
        if not set(found.to_pylist()) <= {0, 1}:
            shown = ", ".join(map(repr, found[:_SHOWN].to_pylist()))
            more = ", …" if len(found) > _SHOWN else ""
            raise ColumnError(
                column, file, "0 and 1, the label", f"{shown}{more}"
            )
        return numbers(values, column, file)


def numbers(
    values: pa.Array, column: str, file: object = "the log"
) -> np.ndarray:
    """Returns float32 numbers; missing and infinite ones are NaN."""
    try:
        values = values.cast(pa.float64(), safe=False)
    except pa.ArrowException as error:
        raise ColumnError(column, file, "numbers", str(error)) from error
    with np.errstate(over="ignore"):
        found = values.to_numpy(zero_copy_only=False).astype(np.float32)
    found[~np.isfinite(found)] = np.nan
    return found
