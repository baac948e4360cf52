"""Each row's last values of a stream."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Windows:
    """A sequence column that is cut from a stream when it is read.

    Row `i` is `stream[starts[i]:stops[i]]`, the last value first, cut or
    padded with 0 at its end to `length`. Rows that overlap, as a user's
    growing history does, share their values: a row costs two numbers.

    Args:
        stream: array `[m]` of values; int32 ids once encoded.
        starts: int array `[n]`, first place of each row.
        stops: int array `[n]`, the place after its last.
        length: Values a row, at least 1.

    Raises:
        ValueError: If `starts` and `stops` differ in length, or `length` is
            not positive.

    Example:

    >>> windows = Windows(np.array([7, 8, 9]), [0, 0], [1, 3], length=2)
    >>> windows[0:2].tolist()
    [[7, 0], [9, 8]]
    """

    stream: np.ndarray
    starts: np.ndarray
    stops: np.ndarray
    length: int

    def __post_init__(self) -> None:
        for field in ("stream", "starts", "stops"):
            object.__setattr__(self, field, np.asarray(getattr(self, field)))
        if len(self.starts) != len(self.stops):
            raise ValueError(
                "`starts` and `stops` must have as many rows each. Received: "
                f"{len(self.starts)} and {len(self.stops)}"
            )
        if self.length < 1:
            raise ValueError(
                f"`length` must be at least 1. Received: length={self.length}"
            )

    def __len__(self) -> int:
        return len(self.stops)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and values a row."""
        return len(self), self.length

    def take(self, pick: Any) -> Windows:
        """Some of the rows, by a slice or row numbers, still not cut."""
        return dataclasses.replace(
            self, starts=self.starts[pick], stops=self.stops[pick]
        )

    def __getitem__(self, pick: Any) -> np.ndarray:
        """Some of the rows, by a slice or row numbers: `[n, length]`."""
        places = self.stops[pick][:, None] - 1 - np.arange(self.length)
        inside = places >= self.starts[pick][:, None]
        values = self.stream[np.where(inside, places, 0)]
        return np.where(inside, values, np.zeros((), values.dtype))
