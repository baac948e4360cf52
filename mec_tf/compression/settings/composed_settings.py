"""A table composed of two smaller ones."""

import dataclasses

from mec_tf.compression.settings.base import Settings, check_positive


@dataclasses.dataclass(frozen=True)
class ComposedSettings(Settings):
    """A row a remainder, times one a quotient; `QuotientRemainderEmbedding`.

    Args:
        num_remainders: rows of the first table.

    Raises:
        ValueError: if the argument is not a positive integer.
    """

    num_remainders: int

    def __post_init__(self):
        check_positive(num_remainders=self.num_remainders)

    def stored_bytes(self, rows: int, dim: int, additive_dim: int) -> int:
        return (self.num_remainders + self._quotients(rows)) * dim * 4

    def describe(self, rows: int) -> str:
        return (
            f"composed of {self.num_remainders:,} remainders and "
            f"{self._quotients(rows):,} quotients"
        )

    def _quotients(self, rows: int) -> int:
        return -(-rows // self.num_remainders)
