"""A table of few dimensions."""

import dataclasses
from collections.abc import Callable

import numpy as np

from mec_tf.compression.settings.base import Settings, check_positive
from mec_tf.layers.low_rank_embedding import ROW_DTYPES
from mec_tf.quantizers import OutputStatistics
from mec_tf.quantizers.output_statistics import check_kept_variance


@dataclasses.dataclass(frozen=True)
class LowRankSettings(Settings):
    """`rank` numbers a row, and a basis; see `LowRankEmbedding`.

    Give `rank` or `kept_variance`.

    Args:
        rank: numbers a row, first-order columns not counted.
        row_dtype: "float16" (default) or "float32", of the rows once they are
            frozen; they are trained as float32.
        kept_variance: least share of the variance of looked-up rows to keep,
            in (0, 1]; planning a trained table makes it a rank. Until then
            `stored_bytes` is that of rank 1, the least it can be.

    Raises:
        ValueError: if an argument is out of its range, or unless exactly one
            of `rank` and `kept_variance` is given.
    """

    rank: int | None = None
    row_dtype: str = "float16"
    kept_variance: float | None = None

    def __post_init__(self):
        if (self.rank is None) == (self.kept_variance is None):
            raise ValueError(
                "Exactly one of `rank` and `kept_variance` must be given. "
                f"Received: rank={self.rank}, "
                f"kept_variance={self.kept_variance}"
            )
        if self.rank is not None:
            check_positive(rank=self.rank)
        if self.kept_variance is not None:
            check_kept_variance(self.kept_variance)
        if self.row_dtype not in ROW_DTYPES:
            raise ValueError(
                f"`row_dtype` must be one of {', '.join(ROW_DTYPES)}. "
                f"Received: row_dtype={self.row_dtype!r}"
            )

    def stored_bytes(self, rows: int, dim: int, additive_dim: int) -> int:
        size = 2 if self.row_dtype == "float16" else 4
        rank = self.rank or 1  # not known yet: the least it can be
        stored = rows * (rank + additive_dim) * size
        return stored + (rank + 1) * (dim - additive_dim) * 4

    def describe(self, rows: int) -> str:
        if self.rank is None:
            return f"{self.kept_variance:g} of variance, {self.row_dtype}"
        return f"rank {self.rank}, {self.row_dtype}"

    def completed(
        self,
        values: Callable[[], np.ndarray],
        additive_dim: int,
        counts: np.ndarray,
    ) -> "LowRankSettings":
        if self.kept_variance is None:
            return self
        table = values()
        table = table[:, : table.shape[1] - additive_dim]
        found = OutputStatistics.of_table(table, counts)
        rank = found.rank_for(self.kept_variance)
        return LowRankSettings(rank, self.row_dtype)

    def check(self, path: str, rows: int, dim: int, additive_dim: int) -> None:
        rank = self.rank or 1
        if rank > dim - additive_dim:
            raise ValueError(
                f"`rank` must not exceed the width of {path}, "
                f"{dim - additive_dim}. Received: rank={rank}"
            )
