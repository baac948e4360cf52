"""Baselines at a byte budget: every table hashed, or composed of two."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from mec_tf.layers import (
    HashedEmbedding,
    QuotientRemainderEmbedding,
    TableEmbedding,
    TableLayer,
)

HASHING_METHODS = ("hash", "quotient_remainder")
"""Names of the baselines that share rows."""
_STEPS = 60  # of a bisection: exact to the last row


def hashed_layers(
    shapes: Mapping[str, tuple[int, int]],
    max_bytes: int,
    method: str = "hash",
    *,
    embeddings_initializer: Any = "uniform",
) -> Callable[[str, int, int, int], TableLayer]:
    """Layers for the `embedding_layer` of a ranking model, in a byte budget.

    Half of the rows is shared equally between the tables, half in proportion
    to their rows; a table whose share covers it stays exact, and what it
    leaves goes to the others.

    Args:
        shapes: `{table: (rows, width)}`.
        max_bytes: bytes of all tables together, as float32.
        method: "hash" or "quotient_remainder".
        embeddings_initializer: Keras initializer of the rows, in its
            serialized form or by name.

    Returns:
        A function `(table, input_dim, output_dim, additive_dim) -> layer`.

    Raises:
        ValueError: if the method is unknown or the budget cannot be met.
    """
    if method not in HASHING_METHODS:
        raise ValueError(
            f"`method` must be one of {', '.join(HASHING_METHODS)}. "
            f"Received: method={method!r}"
        )
    stored = share_rows(shapes, max_bytes, LEAST[method])

    def make(
        table: str, input_dim: int, output_dim: int, additive_dim: int
    ) -> TableLayer:
        config = {
            "input_dim": input_dim,
            "output_dim": output_dim,
            "additive_dim": additive_dim,
            "embeddings_initializer": embeddings_initializer,
            "name": re.sub("[^A-Za-z0-9]+", "_", f"table_{table}"),
        }
        rows = stored[table]
        if rows >= input_dim:
            return TableEmbedding(**config)
        if method == "hash":
            return HashedEmbedding(num_rows=rows, **config)
        remainders = most_remainders(input_dim, rows)
        return QuotientRemainderEmbedding(num_remainders=remainders, **config)

    return make


def share_rows(
    shapes: Mapping[str, tuple[int, int]],
    max_bytes: int,
    least: Callable[[int], int],
) -> dict[str, int]:
    """Rows that each table may store.

    Args:
        shapes: `{table: (rows, width)}`.
        max_bytes: bytes of all tables together, as float32.
        least: the fewest rows that a table of so many rows can do with.

    Raises:
        ValueError: if the fewest rows of all tables exceed the budget.
    """
    mean = sum(rows for rows, _ in shapes.values()) / len(shapes)

    def stored(share: float) -> dict[str, int]:
        return {
            name: min(rows, max(least(rows), int(share * (rows + mean))))
            for name, (rows, _) in shapes.items()
        }

    def size(counts: Mapping[str, int]) -> int:
        return sum(
            counts[name] * width * 4 for name, (_, width) in shapes.items()
        )

    smallest = size(stored(0.0))
    if smallest > max_bytes:
        raise ValueError(
            f"`max_bytes` must be at least {smallest:,} for these tables. "
            f"Received: max_bytes={max_bytes:,}"
        )
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if size(stored(middle)) <= max_bytes:
            low = middle
        else:
            high = middle
    return stored(low)


def most_remainders(input_dim: int, rows: int) -> int:
    """The largest remainder table that, with its quotients, fits in `rows`.

    The larger it is, the more popular ids have a remainder of their own,
    where ids are ordered by popularity.
    """
    root = math.isqrt(max(0, rows**2 - 4 * input_dim))
    remainders = (rows + root) // 2
    while remainders + -(-input_dim // remainders) > rows:
        remainders -= 1
    return remainders


def _least_composed(input_dim: int) -> int:
    side = math.isqrt(input_dim - 1) + 1  # rounded up
    return side + -(-input_dim // side)


LEAST: Mapping[str, Callable[[int], int]] = {
    "hash": lambda input_dim: 1,
    "quotient_remainder": _least_composed,
}
