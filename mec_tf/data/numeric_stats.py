"""What is known of a numeric column."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class NumericStats:
    """Statistics of `sign(x) * log1p(|x|)` over the training rows.

    Args:
        mean: Mean over the values that are present.
        std: Standard deviation over the same values.
        missing: Number of training rows without a finite value.
    """

    mean: float
    std: float
    missing: int

    @classmethod
    def from_values(cls, values: Any) -> NumericStats:
        """Computes the statistics of a float array `[n]`; NaN is missing."""
        moments = Moments()
        moments.update(values)
        return moments.stats()


class Moments:
    """Gathers `NumericStats` block by block."""

    def __init__(self) -> None:
        self.count = 0
        self.missing = 0
        self.low = np.inf
        self.high = -np.inf
        self._mean = 0.0
        self._squares = 0.0

    def update(self, values: Any) -> None:
        """Takes in a block of raw values; those not finite are missing."""
        values = np.asarray(values, np.float64)
        present = values[np.isfinite(values)]
        self.missing += len(values) - len(present)
        if not len(present):
            return
        self.low = min(self.low, float(present.min()))
        self.high = max(self.high, float(present.max()))
        present = np.sign(present) * np.log1p(np.abs(present))
        # Chan's merge of two means and two sums of squared deviations.
        count = self.count + len(present)
        mean = float(present.mean())
        shift = mean - self._mean
        self._squares += float(np.square(present - mean).sum())
        self._squares += shift**2 * self.count * len(present) / count
        self._mean += shift * len(present) / count
        self.count = count

    @property
    def distinct(self) -> int:
        """1 if all rows hold one value (or none), else 2."""
        values = min(self.count, 1 + (self.low < self.high))
        return min(2, values + (self.missing > 0))

    def stats(self) -> NumericStats:
        """Returns the statistics of all blocks so far."""
        std = (self._squares / self.count) ** 0.5 if self.count else 0.0
        return NumericStats(self._mean, std, self.missing)
