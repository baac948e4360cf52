"""What the ways to store a table share."""

import abc
from collections.abc import Callable

import numpy as np


class Settings(abc.ABC):
    """How one table is stored. Subclasses are frozen dataclasses."""

    # Whether the table stays as it is.
    exact = False

    @abc.abstractmethod
    def stored_bytes(self, rows: int, dim: int, additive_dim: int) -> int:
        """Bytes of a `[rows, dim]` table under these settings."""

    @abc.abstractmethod
    def describe(self, rows: int) -> str:
        """What becomes of a table of so many rows, in words."""

    def completed(
        self,
        values: Callable[[], np.ndarray],
        additive_dim: int,
        counts: np.ndarray,
    ) -> "Settings":
        """The same with what a trained table decides.

        Args:
            values: gives the rows, float `[rows, dim]`.
            additive_dim: first-order columns, the last of them.
            counts: `[rows]` training counts.
        """
        return self

    def check(  # noqa: B027 (most fit every table)
        self, path: str, rows: int, dim: int, additive_dim: int
    ) -> None:
        """Raises ValueError unless they fit the table at `path`."""


def check_positive(**values: int) -> None:
    """Raises ValueError unless all arguments are positive integers."""
    for name, value in values.items():
        whole = isinstance(value, (int, np.integer))
        if not whole or isinstance(value, bool) or value < 1:
            raise ValueError(
                f"`{name}` must be a positive integer. "
                f"Received: {name}={value!r}"
            )
