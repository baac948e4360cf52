"""The rows of one split, as arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from mec_tf.data.windows import Windows

# Up to this many rows a shuffle is a permutation of all rows (64 MiB).
FULL_SHUFFLE_ROWS = 1 << 23
# Beyond, blocks of consecutive rows are drawn and shuffled window by window.
_BLOCK_ROWS = 256
_WINDOW_BLOCKS = 1024


@dataclasses.dataclass(frozen=True)
class Rows:
    """Encoded rows, in memory or memory-mapped.

    Args:
        ids: int32 array `[n, categorical fields]`.
        numeric: float32 array `[n, numeric fields]`, NaN where missing.
        labels: float32 array `[n]` of 0 and 1.
        sequences: `{feature: int32 array [n, length]}` of ids, 0 where
            padded; or `Windows`, cut when they are read. Default: none.
    """

    ids: np.ndarray
    numeric: np.ndarray
    labels: np.ndarray
    sequences: Mapping[str, np.ndarray | Windows] = dataclasses.field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        sizes = [len(self.ids), len(self.numeric), len(self.labels)]
        sizes += map(len, self.sequences.values())
        if len(set(sizes)) != 1:
            raise ValueError(
                "`ids`, `numeric`, `labels` and `sequences` must have as many "
                f"rows each. Received: {sizes}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self,
        batch_size: int,
        rng: np.random.Generator | None = None,
    ) -> Iterator[Rows]:
        """Yields all rows once over, the last batch partial.

        Args:
            batch_size: Rows a batch.
            rng: Shuffles the rows; without it they keep their order.
        """
        if rng is None:
            starts = range(0, len(self), batch_size)
            picks: Iterator = (slice(i, i + batch_size) for i in starts)
        else:
            picks = _rebatch(shuffled_rows(len(self), rng), batch_size)
        for pick in picks:
            yield Rows(
                self.ids[pick],
                self.numeric[pick],
                self.labels[pick],
                {name: rows[pick] for name, rows in self.sequences.items()},
            )


def shuffled_rows(
    num_rows: int,
    rng: np.random.Generator,
    full_rows: int = FULL_SHUFFLE_ROWS,
) -> Iterator[np.ndarray]:
    """Yields every row number once, in random order, in bounded memory.

    More than `full_rows` rows are shuffled in windows of random small blocks:
    a memory-mapped split is then read in runs that fit the page cache.
    """
    if num_rows <= full_rows:
        yield rng.permutation(num_rows)
        return
    blocks = rng.permutation(-(-num_rows // _BLOCK_ROWS))
    for start in range(0, len(blocks), _WINDOW_BLOCKS):
        window = blocks[start : start + _WINDOW_BLOCKS, None] * _BLOCK_ROWS
        rows = (window + np.arange(_BLOCK_ROWS)).ravel()
        yield rng.permutation(rows[rows < num_rows])


def _rebatch(
    chunks: Iterator[np.ndarray], batch_size: int
) -> Iterator[np.ndarray]:
    rest = np.empty(0, np.int64)
    for chunk in chunks:
        rest = np.concatenate([rest, chunk])
        whole = len(rest) // batch_size * batch_size
        for start in range(0, whole, batch_size):
            yield rest[start : start + batch_size]
        rest = rest[whole:]
    if len(rest):
        yield rest
