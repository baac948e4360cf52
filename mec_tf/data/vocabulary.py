"""A column's values, ordered by popularity."""

from __future__ import annotations

import functools
import json
import os
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

# Offsets of 64 bits: the values of one vocabulary may exceed 2 GiB.
ARROW_TYPES = {"string": pa.large_string(), "int64": pa.int64()}

_FORMAT = "mec_tf.vocabulary"
_VERSION = 1

_FLOAT_IDS = 2.0**53


class Vocabulary:
    """Maps the values of one categorical column to row numbers.

    Row 0 stands for missing and unknown values. Value `i` of `values` has row
    `i + 1`; values are ordered by their number of training occurrences, most
    popular first, and by value where counts are equal. Values that `extended`
    adds follow behind them.

    Args:
        values: 1-D array of distinct strings or integers, most popular first.
        counts: int array `[len(values) + 1]`, training occurrences by row;
            `counts[0]` is that of missing and rare values.

    Raises:
        ValueError: If `values` repeats or misses a value, or `counts` does not
            have one entry a row.

    Example:

    >>> vocabulary = Vocabulary.from_counts(["a", "b", None], [2, 5, 1])
    >>> vocabulary.encode(["b", "a", "z", None]).tolist()
    [1, 2, 0, 0]
    """

    def __init__(self, values: Any, counts: Any):
        keys = as_arrow(values)
        self.key_dtype = _key_dtype(keys)
        self._keys = as_keys(keys, self.key_dtype)
        self.counts = np.array(counts, np.int64)
        if self.counts.shape != (len(self._keys) + 1,):
            raise ValueError(
                "`counts` must have one entry a row, row 0 included. Received: "
                f"counts of shape {self.counts.shape} for "
                f"{len(self._keys)} values"
            )
        if self._keys.null_count or len(self._keys.unique()) != len(self._keys):
            raise ValueError(
                "`values` must be distinct, with none missing. Received: "
                f"{len(self._keys)} values, {self._keys.null_count} missing, "
                f"{len(self._keys.unique())} distinct"
            )

    @classmethod
    def from_counts(
        cls, values: Any, counts: Any, min_count: int = 1
    ) -> Vocabulary:
        """Orders values by popularity and gives row 0 the rare ones.

        Args:
            values: 1-D array of distinct strings or integers. `None` and the
                empty string mean "missing".
            counts: int array `[len(values)]`, training occurrences.
            min_count: Values seen less often share row 0. Defaults to 1.

        Returns:
            A `Vocabulary`.
        """
        if min_count < 1:
            raise ValueError(
                "`min_count` must be at least 1. Received: "
                f"min_count={min_count}"
            )
        keys = as_arrow(values)
        dtype = _key_dtype(keys)
        keys = as_keys(keys, dtype)
        counts = pa.array(np.asarray(counts, np.int64))
        keep = pc.and_(keys.is_valid(), pc.greater_equal(counts, min_count))
        if dtype == "string":
            keep = pc.and_(keep, pc.not_equal(keys, ""))
        table = pa.table({"value": keys, "count": counts})
        kept = table.filter(keep).sort_by(
            [("count", "descending"), ("value", "ascending")]
        )
        kept_counts = kept["count"].to_numpy()
        rest = counts.to_numpy().sum() - kept_counts.sum()
        return cls(
            kept["value"].combine_chunks(),
            np.concatenate([[rest], kept_counts]),
        )

    @functools.cached_property
    def values(self) -> np.ndarray:
        """Values by popularity: object array of `str`, or int64 array."""
        if self.key_dtype == "int64":
            return self._keys.to_numpy()
        return self._keys.to_numpy(zero_copy_only=False).astype(object)

    @property
    def size(self) -> int:
        """Number of rows, row 0 included."""
        return len(self._keys) + 1

    def encode(self, values: Any) -> np.ndarray:
        """Returns the row of each value.

        Args:
            values: 1-D array, list, pandas Series or Arrow array. `None`, NaN
                and unknown values have row 0.

        Returns:
            int32 array of the same length.

        Raises:
            ValueError: If the vocabulary holds integers and a value is not a
                whole number.
        """
        keys = as_keys(as_arrow(values), self.key_dtype)
        rows = pc.index_in(keys, value_set=self._keys)
        rows = pc.add(rows.fill_null(-1), pa.scalar(1, pa.int32()))
        if isinstance(rows, pa.ChunkedArray):
            rows = rows.combine_chunks()
        return rows.to_numpy(zero_copy_only=False)

    def extended(self, values: Any, counts: Any) -> Vocabulary:
        """Returns a vocabulary with more values behind the present ones.

        Rows of present values stay as they are; the new ones follow in the
        order given, most popular first where popularity shall go on ordering
        them.

        Args:
            values: 1-D array of distinct values that the vocabulary lacks.
            counts: int array `[len(values)]`, their occurrences.

        Raises:
            ValueError: If a value is missing, known or repeated, or `counts`
                does not have one entry a value.
        """
        keys = as_keys(as_arrow(values), self.key_dtype)
        known = np.unique(self.encode(keys))
        if keys.null_count or len(known[known > 0]):
            raise ValueError(
                "`values` must be new to the vocabulary, with none missing. "
                f"Received: {len(known[known > 0])} known, {keys.null_count} "
                "missing"
            )
        if np.shape(counts) != (len(keys),):
            raise ValueError(
                "`counts` must have one entry a value. Received: counts of "
                f"shape {np.shape(counts)} for {len(keys)} values"
            )
        return type(self)(
            pa.concat_arrays([self._keys, keys]),
            np.concatenate([self.counts, np.asarray(counts, np.int64)]),
        )

    def save(self, path: str | os.PathLike) -> None:
        """Writes a Parquet file: a row for each row, its value and count."""
        missing = pa.nulls(1, self._keys.type)
        table = pa.table(
            {
                "value": pa.concat_arrays([missing, self._keys]),
                "count": self.counts,
            },
            metadata={_FORMAT: json.dumps({"version": _VERSION})},
        )
        partial = f"{os.fspath(path)}.partial"
        pq.write_table(table, partial, write_page_checksum=True)
        os.replace(partial, path)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Vocabulary:
        """Reads what `save` wrote.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is damaged, of another kind, or of a newer
                format.
        """
        if not os.path.isfile(path):
            raise FileNotFoundError(f"No vocabulary file at {path}")
        try:
            table = pq.read_table(path, page_checksum_verification=True)
            header = json.loads((table.schema.metadata or {})[_FORMAT.encode()])
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise ValueError(
                f"`path` is not a whole vocabulary file. Received: {path} "
                f"({type(error).__name__}: {error})"
            ) from error
        if header.get("version") != _VERSION:
            raise ValueError(
                f"The vocabulary {path} must have format version {_VERSION}. "
                f"Received: {header.get('version')}"
            )
        return cls(
            table["value"].combine_chunks()[1:], table["count"].to_numpy()
        )

    def __len__(self) -> int:
        return self.size

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Vocabulary)
            and self._keys.equals(other._keys)
            and np.array_equal(self.counts, other.counts)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Vocabulary(size={self.size}, key_dtype={self.key_dtype!r})"


def _key_dtype(keys: pa.Array) -> str:
    return "int64" if pa.types.is_integer(keys.type) else "string"


def as_arrow(values: Any) -> pa.Array:
    """Turns a 1-D sequence of values into one Arrow array; NaN is missing."""
    if isinstance(values, pa.ChunkedArray):
        return values.combine_chunks()
    if isinstance(values, pa.Array):
        return values
    try:
        array = pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError) as error:
        raise ValueError(
            "`values` must be one-dimensional, all strings or all integers. "
            f"Received: {type(values).__name__} ({error})"
        ) from error
    return as_arrow(array)


def as_keys(values: pa.Array, key_dtype: str) -> pa.Array:
    """Casts values to a vocabulary's keys.

    Args:
        values: Arrow array of strings, integers, or floats that hold whole
            numbers.
        key_dtype: "string" or "int64".

    Returns:
        Arrow array of `large_string` or `int64`.

    Raises:
        ValueError: If a value is not a whole number where `key_dtype` is
            "int64" (or is a float of 2**53 or more, where floats skip some), or
            is a float where it is "string".
    """
    if isinstance(values, pa.DictionaryArray):
        values = values.dictionary_decode()
    target = ARROW_TYPES[key_dtype]
    if values.type == target:
        return values
    if key_dtype == "string" and pa.types.is_floating(values.type):
        raise ValueError(
            "Ids must be strings or whole numbers. Received: "
            f"{values.type} values"
        )
    if pa.types.is_floating(values.type):
        values = pc.if_else(pc.is_nan(values), None, values)
        # From here on, neighbours are one.
        if pc.any(pc.greater_equal(pc.abs(values), _FLOAT_IDS)).as_py():
            raise ValueError(
                "Ids that are stored as floats must be below 2**53. "
                "Received larger ones; store them as integers or strings"
            )
    if key_dtype == "int64" and pa.types.is_temporal(values.type):
        raise ValueError(
            f"Ids must be whole numbers. Received: {values.type} values"
        )
    try:
        return values.cast(target)
    except pa.ArrowException as error:
        raise ValueError(
            f"Ids must be whole numbers. Received: {error}"
        ) from error
