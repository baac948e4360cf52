"""Counts the values of a column block by block."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from mec_tf.data.vocabulary import ARROW_TYPES, Vocabulary

_MIN_PENDING = 1 << 16


class ValueCounter:
    """Merges the value counts of blocks.

    Memory stays within a small multiple of the distinct values.

    Args:
        key_dtype: "string" or "int64".
    """

    def __init__(self, key_dtype: str):
        self.key_dtype = key_dtype
        self._total = self._table(pa.array([], ARROW_TYPES[key_dtype]), [])
        self._pending: list[pa.Table] = []
        self._num_pending = 0

    def update(self, keys: pa.Array) -> None:
        """Counts a block's keys (see `as_keys`), missing ones too."""
        counted = keys.value_counts()
        table = self._table(counted.field("values"), counted.field("counts"))
        self._pending.append(table)
        self._num_pending += len(table)
        if self._num_pending > max(_MIN_PENDING, len(self._total)):
            self._merge()

    @property
    def distinct(self) -> int:
        """Number of distinct values; "missing" is one of them."""
        self._merge()
        values = self._total["value"]
        blank = 0
        if self.key_dtype == "string" and values.null_count:
            blank = pc.sum(pc.equal(values, "")).as_py() or 0
        return len(values) - blank

    def vocabulary(self, min_count: int) -> Vocabulary:
        """Returns the vocabulary of all values so far."""
        self._merge()
        return Vocabulary.from_counts(
            self._total["value"], self._total["count"], min_count
        )

    def _merge(self) -> None:
        merged = pa.concat_tables([self._total, *self._pending])
        grouped = merged.group_by("value").aggregate([("count", "sum")])
        self._total = self._table(grouped["value"], grouped["count_sum"])
        self._pending = []
        self._num_pending = 0

    def _table(self, values: pa.Array, counts: pa.Array) -> pa.Table:
        schema = pa.schema(
            {"value": ARROW_TYPES[self.key_dtype], "count": pa.int64()}
        )
        return pa.table({"value": values, "count": counts}, schema=schema)
