"""A table of its popular rows."""

import dataclasses

from mec_tf.compression.settings.base import Settings, check_positive


@dataclasses.dataclass(frozen=True)
class PrunedSettings(Settings):
    """The first rows at full precision; all others share row 0.

    Where ids are ordered by popularity, the rows that are kept are the most
    popular ones.

    Args:
        private_rows: rows that are kept, row 0 included.

    Raises:
        ValueError: if the argument is not a positive integer.
    """

    private_rows: int

    def __post_init__(self):
        check_positive(private_rows=self.private_rows)

    def stored_bytes(self, rows: int, dim: int, additive_dim: int) -> int:
        return min(self.private_rows, rows) * dim * 4

    def describe(self, rows: int) -> str:
        shared = rows - self.private_rows
        return f"exact, {shared:,} rare rows share"

    def check(self, path: str, rows: int, dim: int, additive_dim: int) -> None:
        if self.private_rows > rows:
            raise ValueError(
                f"`private_rows` must not exceed the {rows} rows of {path}. "
                f"Received: private_rows={self.private_rows}"
            )
