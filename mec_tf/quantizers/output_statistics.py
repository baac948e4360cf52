"""Mean and covariance of vectors that come in a stream."""

from typing import Any

import numpy as np

from mec_tf.quantizers.moments import merged, moments

CHUNK = 65536


class OutputStatistics:
    """Mean, covariance and principal directions of a stream of vectors.

    Sums are kept in float64 about the running mean, so that neither the order
    of the batches nor a mean far from zero costs accuracy. Memory and the
    work for a vector grow with the square of `dim`.

    Args:
        dim: int, width of a vector.

    Attributes:
        count: sum of the weights so far.
        mean: float64 `[dim]`.

    Raises:
        ValueError: if `dim` is not a positive integer.

    Example:
        >>> statistics = OutputStatistics(2)
        >>> statistics.update(np.array([[0.0, 1.0], [4.0, 1.0]]))
        >>> statistics.mean.tolist(), statistics.covariance.tolist()
        ([2.0, 1.0], [[4.0, 0.0], [0.0, 0.0]])
    """

    def __init__(self, dim: int):
        if int(dim) != dim or dim < 1:
            raise ValueError(
                f"`dim` must be a positive integer. Received: dim={dim!r}"
            )
        self.dim = int(dim)
        self.count = 0.0
        self.mean = np.zeros(self.dim)
        self._scatter = np.zeros((self.dim, self.dim))
        self._eigen: tuple[np.ndarray, np.ndarray] | None = None

    @classmethod
    def of_table(
        cls, table: np.ndarray, counts: np.ndarray | None = None
    ) -> "OutputStatistics":
        """Statistics of what a table answers, without looking ids up.

        Args:
            table: float `[N, D]`; may be memory-mapped.
            counts: `[N]` times each row is looked up. Where all are zero, or
                by default, rows count alike.
        """
        if counts is not None and np.shape(counts) != (len(table),):
            raise ValueError(
                f"`counts` must have shape ({len(table)},). "
                f"Received shape {np.shape(counts)}"
            )
        if counts is not None and not np.any(counts):
            counts = None
        statistics = cls(table.shape[1])
        for start in range(0, len(table), CHUNK):
            part = slice(start, start + CHUNK)
            weights = None if counts is None else counts[part]
            statistics.update(table[part], weights)
        return statistics

    def update(self, values: Any, weights: Any = None) -> None:
        """Takes a batch of vectors.

        Args:
            values: floats `[..., dim]`.
            weights: `[...]`, at least 0, such as row counts. Default: 1.

        Raises:
            ValueError: if shapes disagree or a weight is negative.
        """
        shape = np.shape(values)
        if shape[-1:] != (self.dim,):
            raise ValueError(
                f"`values` must be [..., {self.dim}]. Received shape {shape}"
            )
        if weights is not None and np.shape(weights) != shape[:-1]:
            raise ValueError(
                f"`weights` must have shape {shape[:-1]}. "
                f"Received shape {np.shape(weights)}"
            )
        if weights is not None and not np.all(np.asarray(weights) >= 0):
            raise ValueError(
                "`weights` must be at least 0. Received one that is not"
            )
        self.add_moments(*moments(values, weights))

    def add_moments(self, count: Any, mean: Any, scatter: Any) -> None:
        """Takes the `moments` of vectors: tensors or arrays."""
        if np.shape(mean) != (self.dim,):
            raise ValueError(
                f"`mean` must have shape ({self.dim},). "
                f"Received shape {np.shape(mean)}"
            )
        mine = (self.count, self.mean, self._scatter)
        other = (np.asarray(count), np.asarray(mean), np.asarray(scatter))
        total, self.mean, self._scatter = merged(mine, other)
        self.count = float(total)
        self._eigen = None

    def merge(self, other: "OutputStatistics") -> None:
        """Takes all that other statistics, of the same width, have seen."""
        self.add_moments(other.count, other.mean, other._scatter)

    @property
    def covariance(self) -> np.ndarray:
        """float64 `[dim, dim]`: `E[yy'] - E[y]E[y]'`; zero without data."""
        return self._scatter / max(self.count, np.finfo(float).tiny)

    @property
    def eigenvalues(self) -> np.ndarray:
        """Variances `[dim]` along the principal directions, largest first.

        Raises:
            ValueError: if there is no data, or a value was not finite.
        """
        return self._decompose()[0]

    def principal(self, rank: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The directions in which the vectors vary most.

        Args:
            rank: int between 1 and `dim`.

        Returns:
            float64: the mean `[dim]`; an orthonormal basis `[dim, rank]`, each
            direction turned so that the mean does not point against it; the
            variances `[rank]` along it.

        Raises:
            ValueError: if `rank` is out of its range, there is no data, or a
                value was not finite.
        """
        if int(rank) != rank or not 1 <= rank <= self.dim:
            raise ValueError(
                f"`rank` must be an integer between 1 and {self.dim}. "
                f"Received: rank={rank!r}"
            )
        values, vectors = self._decompose()
        return self.mean.copy(), vectors[:, :rank], values[:rank]

    def kept_variance(self, rank: int) -> float:
        """Share of the variance that `rank` directions keep; 1 if none is."""
        values = self.eigenvalues
        total = values.sum()
        return float(values[:rank].sum() / total) if total > 0 else 1.0

    def rank_for(self, kept_variance: float) -> int:
        """The least rank that keeps this share of the variance.

        Raises:
            ValueError: if the share does not lie in (0, 1].
        """
        check_kept_variance(kept_variance)
        upto = np.cumsum(self.eigenvalues)
        # Rounding must not ask for directions that hold nothing.
        least = kept_variance * upto[-1] * (1.0 - 1e-12)
        return 1 + int(np.searchsorted(upto, least))

    def _decompose(self) -> tuple[np.ndarray, np.ndarray]:
        if self._eigen is None:
            if not self.count > 0:
                raise ValueError(
                    "Statistics need data. Received none, or only values of "
                    "weight 0."
                )
            covariance = self.covariance
            if not np.isfinite(covariance).all():
                raise ValueError(
                    "`values` must be finite. Received NaN or infinity in an "
                    "earlier batch"
                )
            values, vectors = np.linalg.eigh(covariance)
            vectors = vectors[:, ::-1]
            # Signs are arbitrary; these let a ReLU pass most.
            vectors = vectors * np.where(self.mean @ vectors < 0, -1.0, 1.0)
            self._eigen = np.maximum(values[::-1], 0.0), vectors
        return self._eigen


def check_kept_variance(kept_variance: float) -> None:
    """Raises ValueError unless the share lies in (0, 1]."""
    if not 0.0 < kept_variance <= 1.0:
        raise ValueError(
            "`kept_variance` must lie above 0 and at most at 1. "
            f"Received: kept_variance={kept_variance!r}"
        )
