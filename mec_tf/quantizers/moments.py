"""Count, mean and scatter of vectors: what covariances are made of."""

from typing import Any, TypeAlias

import tensorflow as tf

# Sum of weights [], mean [n], sum of weighted outer products about it [n, n].
Moments: TypeAlias = tuple[Any, Any, Any]

_TINY = 1e-300  # nothing of it is left beside a sum of weights


def moments(values: tf.Tensor, weights: tf.Tensor | None = None) -> Moments:
    """Weighted moments of vectors, in two passes.

    Args:
        values: `[..., n]`, of any float dtype.
        weights: `[...]`, at least 0. Default: all 1.

    Returns:
        float64 tensors: sum of weights, mean, scatter.
    """
    values = tf.cast(values, tf.float64)
    width = tf.shape(values)[-1]
    rows = tf.reshape(values, [-1, width])
    if weights is None:
        column = tf.ones([tf.shape(rows)[0], 1], tf.float64)
    else:
        column = tf.reshape(tf.cast(weights, tf.float64), [-1, 1])
    count = tf.reduce_sum(column)
    mean = tf.reduce_sum(column * rows, axis=0) / (count + _TINY)
    centered = rows - mean
    scatter = tf.matmul(centered, column * centered, transpose_a=True)
    return count, mean, scatter


def merged(one: Moments, other: Moments) -> Moments:
    """The moments of both sets of vectors together; tensors or arrays.

    Reference:
        Chan, Golub and LeVeque, "Algorithms for computing the sample
        variance", 1983, equation 2.1.
    """
    (count, mean, scatter), (count_2, mean_2, scatter_2) = one, other
    total = count + count_2
    share = count_2 / (total + _TINY)
    apart = mean_2 - mean
    between = count * share * (apart[:, None] * apart[None, :])
    return total, mean + share * apart, scatter + scatter_2 + between
