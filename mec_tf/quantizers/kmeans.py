"""Weighted k-means on rows of a table."""

import numpy as np

from mec_tf.quantizers.finite import check_finite
from mec_tf.quantizers.nearest import nearest_rows

# More points than this many a centroid change the centroids by less than
# k-means' own dependence on its seeds.
POINTS_PER_CENTROID = 64


def weighted_kmeans(
    points: np.ndarray,
    num_centroids: int,
    weights: np.ndarray | None = None,
    *,
    iterations: int = 20,
    seed: int = 0,
) -> np.ndarray:
    """Centroids that minimise the weighted squared distance to `points`.

    Seeds by k-means++ (probability proportional to weight times squared
    distance), then runs Lloyd's iterations. A centroid that ends up with no
    weight is re-seeded on a point drawn by weight times its present error.
    Of more than 64 points a centroid, a sample drawn by weight is used.

    Args:
        points: float `[n, d]`, finite.
        num_centroids: `K`; with `K >= n` every point is a centroid.
        weights: `[n]`, non-negative; row counts, say. Default: all one.
            All-zero weights count as all one.
        iterations: Lloyd iterations.
        seed: of NumPy's generator.

    Returns:
        float32 `[K, d]`.

    Raises:
        ValueError: if a point is not finite in float32, or a weight is not
            finite or negative.

    Reference:
        Arthur and Vassilvitskii, "k-means++: the advantages of careful
        seeding", SODA 2007.
    """
    rng = np.random.default_rng(seed)
    check_finite("points", points)
    points = np.asarray(points, np.float32)
    weights = _usable_weights(weights, len(points))
    if num_centroids >= len(points):
        return points[np.arange(num_centroids) % len(points)]
    points, weights = _sample(
        points, weights, num_centroids * POINTS_PER_CENTROID, rng
    )
    points, exponent = to_unit_scale(points)
    centroids = _plus_plus(points, weights, num_centroids, rng)
    for _ in range(iterations):
        nearest, errors = _assign(points, centroids)
        mass = np.bincount(nearest, weights, minlength=num_centroids)
        sums = np.stack(
            [
                np.bincount(nearest, weights * column, minlength=num_centroids)
                for column in points.T
            ],
            axis=1,
        )
        alive = mass > 0
        centroids[alive] = sums[alive] / mass[alive, None]
        dead = np.flatnonzero(~alive)
        if len(dead):
            centroids[dead] = points[_draw(weights * errors, len(dead), rng)]
    return np.ldexp(centroids, exponent)


def to_unit_scale(points: np.ndarray) -> tuple[np.ndarray, int]:
    """Points whose squares neither overflow nor vanish.

    Returns:
        The points divided by a power of two, which is exact, so that the
        greatest magnitude is between 0.5 and 1; and its exponent.
    """
    _, exponent = np.frexp(np.abs(points).max())
    return np.ldexp(points, -exponent), int(exponent)


def sample_points(
    points: np.ndarray,
    weights: np.ndarray | None,
    num_centroids: int,
    *,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """The points that k-means for so many centroids looks at.

    Args:
        points: `[n, d]`.
        weights: `[n]` or None.
        num_centroids: `K`.
        seed: of NumPy's generator.

    Returns:
        float32 points and their weights: all of them, or a sample drawn by
        weight.
    """
    check_finite("points", points)
    usable = _usable_weights(weights, len(points))
    limit = num_centroids * POINTS_PER_CENTROID
    drawn, usable = _sample(points, usable, limit, np.random.default_rng(seed))
    return np.asarray(drawn, np.float32), usable


def _usable_weights(weights: np.ndarray | None, size: int) -> np.ndarray:
    if weights is None:
        return np.ones(size)
    weights = np.asarray(weights, np.float64)
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError(
            "`weights` must be finite and at least 0. Received values "
            f"between {weights.min()} and {weights.max()}"
        )
    return weights if weights.sum() > 0 else np.ones(size)


def _draw(mass: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    total = mass.sum()
    chances = mass / total if total > 0 else None
    return rng.choice(len(mass), size=size, p=chances)


def _sample(points, weights, limit, rng):
    """Keeps at most `limit` points, drawn by weight, each then weighing one."""
    if len(points) <= limit:
        return points, weights
    drawn, repeats = np.unique(_draw(weights, limit, rng), return_counts=True)
    return points[drawn], repeats.astype(np.float64)


def _plus_plus(points, weights, num_centroids, rng):
    centroids = np.empty((num_centroids, points.shape[1]), np.float32)
    centroids[0] = points[_draw(weights, 1, rng)[0]]
    errors = np.full(len(points), np.inf)
    for index in range(1, num_centroids):
        gap = np.square(points - centroids[index - 1]).sum(axis=1)
        np.minimum(errors, gap, out=errors)
        centroids[index] = points[_draw(weights * errors, 1, rng)[0]]
    return centroids


def _assign(points, centroids):
    nearest = nearest_rows(points, centroids)
    return nearest, np.square(points - centroids[nearest]).sum(axis=1)
