"""A table of few dimensions."""

import dataclasses

from mec_tf.compression.settings.base import Settings, check_positive
from mec_tf.layers.low_rank_embedding import ROW_DTYPES


@dataclasses.dataclass(frozen=True)
class LowRankSettings(Settings):
    """`rank` numbers a row, and a basis; see `LowRankEmbedding`.

    Args:
        rank: numbers a row, first-order columns not counted.
        row_dtype: "float16" (default) or "float32", of the rows once they are
            frozen; they are trained as float32.

    Raises:
        ValueError: if an argument is out of its range.
    """

    rank: int
    row_dtype: str = "float16"

    def __post_init__(self):
        check_positive(rank=self.rank)
        if self.row_dtype not in ROW_DTYPES:
            raise ValueError(
                f"`row_dtype` must be one of {', '.join(ROW_DTYPES)}. "
                f"Received: row_dtype={self.row_dtype!r}"
            )

    def stored_bytes(self, rows: int, dim: int, additive_dim: int) -> int:
        size = 2 if self.row_dtype == "float16" else 4
        stored = rows * (self.rank + additive_dim) * size
        return stored + (self.rank + 1) * (dim - additive_dim) * 4

    def describe(self, rows: int) -> str:
        return f"rank {self.rank}, {self.row_dtype}"

    def check(self, path: str, rows: int, dim: int, additive_dim: int) -> None:
        if self.rank > dim - additive_dim:
            raise ValueError(
                f"`rank` must not exceed the width of {path}, "
                f"{dim - additive_dim}. Received: rank={self.rank}"
            )
