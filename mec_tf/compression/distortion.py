"""How far a table's rows move under candidate settings."""

import dataclasses

import numpy as np

# Rows drawn by popularity to measure an error on, and k-means iterations:
# enough to compare settings, not to make codebooks.
SAMPLE = 4096
ITERATIONS = 5


@dataclasses.dataclass(frozen=True)
class WeightedRows:
    """Rows of a table `[N, D]` and their lookups in training, `[N]`."""

    rows: np.ndarray
    lookups: np.ndarray

    def between(self, start: int, stop: int) -> "WeightedRows":
        """The rows from `start` to before `stop`."""
        part = slice(start, stop)
        return WeightedRows(self.rows[part], self.lookups[part])


def exact(table: np.ndarray, counts: np.ndarray, width: int) -> WeightedRows:
    """The columns that are cut into sub-vectors, with their lookups."""
    return WeightedRows(table[:, :width], np.asarray(counts, np.float64))


def shared_error(values: WeightedRows, private: int | None) -> float:
    """Squared error, over all lookups, of rows that share their mean."""
    if private is None:
        return 0.0
    lookups = np.append(values.lookups[:1], values.lookups[private:])
    if not lookups.sum():
        return 0.0
    rows = np.concatenate([values.rows[:1], values.rows[private:]])
    mean = np.average(rows, axis=0, weights=lookups)
    return float(lookups @ np.square(rows - mean).sum(axis=1))


def drawn(values: WeightedRows, seed: int, size: int = SAMPLE) -> WeightedRows:
    """At most `size` rows, drawn by popularity, that stand for all lookups."""
    places, lookups = _draw(values.lookups, seed, size)
    return WeightedRows(np.array(values.rows[places], np.float32), lookups)


def _draw(
    lookups: np.ndarray, seed: int, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Places of rows, in order, and the lookups that they stand for."""
    total = lookups.sum()
    if not total:
        return np.zeros(0, np.int64), np.zeros(0)
    if len(lookups) <= size:
        return np.arange(len(lookups)), lookups
    rng = np.random.default_rng(seed)
    places = np.sort(rng.choice(len(lookups), size, p=lookups / total))
    return places, np.full(size, total / size)


def quantized_errors(
    values: WeightedRows,
    quantizer: str,
    num_codes: int,
    codebook_size: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Squared errors, over all lookups, of quantized rows.

    Measured on a sample of rows drawn by popularity.

    Returns:
        The rows of the sample, in order, and the errors they stand for: the
        error of the first `n` rows is the sum over those below `n`.
    """
    size = max(SAMPLE, 16 * codebook_size)
    places, lookups = _draw(values.lookups, seed, size)
    rests = np.array(values.rows[places], np.float32)
    if not len(places):
        return places, lookups
    width = rests.shape[1] // (num_codes if quantizer == "product" else 1)
    for stage in range(num_codes):
        start = stage * width if quantizer == "product" else 0
        part = rests[:, start : start + width]
        part -= _kmeans_centroids(
            part, lookups, codebook_size, np.random.default_rng(seed + stage)
        )
    return places, lookups * np.square(rests).sum(axis=1)


def _kmeans_centroids(
    points: np.ndarray,
    weights: np.ndarray,
    codebook_size: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """The centroid of each point."""
    chances = weights / weights.sum()
    start = rng.choice(len(points), codebook_size, p=chances)
    centroids = points[start].copy()
    for iteration in range(ITERATIONS + 1):
        gaps = points @ (-2.0 * centroids.T)
        gaps += np.square(centroids).sum(axis=1)
        nearest = gaps.argmin(axis=1)
        if iteration == ITERATIONS:
            break
        mass = np.bincount(nearest, weights, minlength=codebook_size)
        for column in range(points.shape[1]):
            sums = np.bincount(
                nearest, weights * points[:, column], minlength=codebook_size
            )
            np.divide(
                sums, mass, out=centroids[:, column], where=mass > 0,
                casting="same_kind",
            )  # fmt: skip
    return centroids[nearest]
