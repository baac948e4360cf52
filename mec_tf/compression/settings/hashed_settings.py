"""A table of fewer rows than ids."""

import dataclasses

from mec_tf.compression.settings.base import Settings, check_positive


@dataclasses.dataclass(frozen=True)
class HashedSettings(Settings):
    """Ids hashed to so many rows; see `HashedEmbedding`.

    Args:
        num_rows: rows of the table.
        num_hashes: rows summed to a vector. Default 1.

    Raises:
        ValueError: if an argument is not a positive integer.
    """

    num_rows: int
    num_hashes: int = 1

    def __post_init__(self):
        check_positive(num_rows=self.num_rows, num_hashes=self.num_hashes)

    def stored_bytes(self, rows: int, dim: int, additive_dim: int) -> int:
        return self.num_rows * dim * 4

    def describe(self, rows: int) -> str:
        return f"hashed to {self.num_rows:,} rows"
