"""How the rows of a stored table spread over its codes."""

import dataclasses

import numpy as np

from mec_tf.compression.counting import code_perplexity
from mec_tf.compression.stored_table import StoredTable
from mec_tf.layers import CodeLookupEmbedding


@dataclasses.dataclass(frozen=True)
class CodeUsage:
    """The codes of one table, or of one tier of it.

    Args:
        first: its first row.
        rows: its rows.
        shares: `[M, K]`, share of the rows that have each code.
        perplexity: mean over columns of `exp(entropy)`, at most `K`.
    """

    first: int
    rows: int
    shares: np.ndarray
    perplexity: float

    @property
    def dead(self) -> int:
        """Number of codes that no row has."""
        return int((self.shares == 0).sum())

    @property
    def relative(self) -> np.ndarray:
        """`[M, K]`: 1 where a code has an equal share of the rows."""
        return self.shares * self.shares.shape[1]


def code_usages(table: StoredTable) -> list[CodeUsage]:
    """One for each tier with codes; none of a table without."""
    layer = table.layer()
    usages, first = [], 0
    for tier in getattr(layer, "tiers", [layer]):
        if isinstance(tier, CodeLookupEmbedding):
            codes, size = tier.row_codes(), tier.codebook_size
            counts = [np.bincount(part, minlength=size) for part in codes.T]
            usages.append(
                CodeUsage(
                    first,
                    tier.input_dim,
                    np.stack(counts) / len(codes),
                    code_perplexity(codes, size),
                )
            )
        first += tier.input_dim
    return usages
