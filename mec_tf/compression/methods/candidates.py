"""What codes a table may get, and how far its rows would move."""

import dataclasses
import functools
import math
from collections.abc import Iterator

import numpy as np

from mec_tf.compression.distortion import (
    WeightedRows,
    exact,
    quantized_errors,
    shared_error,
)
from mec_tf.compression.methods.method import useful
from mec_tf.compression.popularity import ordered_by_popularity
from mec_tf.compression.settings import LEAVE, TableSettings
from mec_tf.compression.tables import Table

# Quantizer, codes a row and codes a codebook that the planner may choose.
CHOICES = (
    ("product", 1, 4), ("product", 1, 16), ("product", 1, 64),
    ("product", 1, 256), ("product", 2, 16), ("product", 2, 64),
    ("product", 2, 256), ("product", 4, 16), ("product", 4, 64),
    ("product", 4, 256), ("product", 5, 256), ("product", 8, 256),
    ("product", 10, 256), ("product", 16, 256), ("product", 20, 256),
    ("residual", 2, 16), ("residual", 2, 64), ("residual", 2, 256),
    ("residual", 3, 64), ("residual", 4, 64), ("residual", 4, 256),
)  # fmt: skip
# Rows seen less often than one of these may share a row.
MIN_COUNTS = (1, 2, 3, 5, 10, 30, 100)
# A head is the fewest rows that make up one of these shares of the lookups.
HEAD_SHARES = (0.5, 0.8)
# Rows with more bits than this are not worth a head with even more.
MOST_TAIL_BITS = 32

Measured = tuple[TableSettings, float]


def plain_codes(table: Table, counts: np.ndarray) -> list[TableSettings]:
    """Codes that a table may get, and `LEAVE`, but for those in tiers.

    Tiers never take the fewest bytes.

    Args:
        table: the table.
        counts: `[rows]` in training.
    """
    return [LEAVE] + [
        settings
        for private in _private_rows(table, counts)
        for settings in _plain(table, private or table.rows, private)
    ]


def measured_codes(
    table: Table, counts: np.ndarray, seed: int
) -> list[Measured]:
    """Codes that a table may get, with the squared error of each.

    The error is summed over the lookups of the training data. Each of them
    takes more bytes than the one before and has less error.

    Args:
        table: the table, trained.
        counts: `[rows]` in training.
        seed: of the sample that is measured.
    """
    width = table.dim - table.additive_dim
    errors = _Errors(exact(table.values(), counts, width), seed)
    found: list[Measured] = [(LEAVE, 0.0)]
    for settings in plain_codes(table, counts)[1:]:
        private = settings.private_rows
        error = errors.quantized(settings, 0, table.rows, private)
        found.append((settings, error + errors.shared(private)))
    for private in _private_rows(table, counts):
        for head in _head_rows(counts, private or table.rows):
            found += _tiered(table, errors, head, private)
    return useful(found, table.rows, table)


class _Errors:
    """Squared errors of a table's rows, over all lookups."""

    def __init__(self, values: WeightedRows, seed: int):
        self.values = values
        self.seed = seed
        self._measured = functools.cache(self._measure)
        self.shared = functools.cache(functools.partial(shared_error, values))

    def quantized(
        self, settings: TableSettings, start: int, stop: int, end: int | None
    ) -> float:
        """Of the rows from `start` to `end` (default: `stop`).

        Their codebooks are those of the rows up to `stop`: one measure serves
        whatever `end`.
        """
        places, errors = self._measured(
            start,
            stop,
            settings.quantizer,
            settings.num_subspaces,
            settings.codebook_size,
        )
        return float(errors[places < (end or stop) - start].sum())

    def _measure(
        self, start: int, stop: int, quantizer: str, codes: int, size: int
    ) -> tuple[np.ndarray, np.ndarray]:
        rows = self.values.between(start, stop)
        return quantized_errors(rows, quantizer, codes, size, self.seed)


def _tiered(
    table: Table, errors: _Errors, head: int, private: int | None
) -> Iterator[Measured]:
    """Settings with more bits a row for the first `head` rows."""
    rest = (private or table.rows) - head
    heads = [
        (settings, errors.quantized(settings, 0, head, head))
        for settings in _plain(table, head)
    ]
    tails = [
        (settings, errors.quantized(settings, head, table.rows, private))
        for settings in _plain(table, rest)
        if _bits(settings) <= MOST_TAIL_BITS
    ]
    for first, first_error in useful(heads, head, table):
        for last, last_error in useful(tails, rest, table):
            if _bits(first) > _bits(last):
                settings = dataclasses.replace(
                    last, private_rows=private, heads=((head, first),)
                )
                error = first_error + last_error + errors.shared(private)
                yield settings, error


def _plain(
    table: Table, rows: int, private: int | None = None
) -> list[TableSettings]:
    """Codes for so many stored rows."""
    width = table.dim - table.additive_dim
    return [
        TableSettings(codes, size, private_rows=private, quantizer=quantizer)
        for quantizer, codes, size in CHOICES
        if (quantizer == "residual" or width % codes == 0) and size <= rows / 2
    ]


def _bits(settings: TableSettings) -> float:
    """Bits a row."""
    return settings.num_subspaces * math.log2(settings.codebook_size)


def _private_rows(table: Table, counts: np.ndarray) -> list[int | None]:
    """Numbers of rows that may keep codes of their own; None for all."""
    # With masking, row 0 is padding, which nothing may share.
    if getattr(table.layer, "mask_zero", False):
        return [None]
    rest = counts[1:]
    if not ordered_by_popularity(counts) or counts[0] > rest[0]:
        return [None]
    kept = [
        1 + int(np.searchsorted(-rest, -least, side="right"))
        for least in MIN_COUNTS
    ]
    return [None, *sorted({k for k in kept if 1 < k < len(counts)})]


def _head_rows(counts: np.ndarray, rows: int) -> list[int]:
    """Numbers of popular rows that may have codebooks of their own."""
    if not ordered_by_popularity(counts):
        return []
    upto = np.cumsum(counts)
    heads = {
        1 + int(np.searchsorted(upto, share * upto[-1]))
        for share in HEAD_SHARES
    }
    return sorted(head for head in heads if head < rows)
