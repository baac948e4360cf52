"""Pure functions of product quantization on tensors.

Symbols: `M` sub-spaces, `K` codes in each codebook, `d` width of a sub-vector,
`A` additive columns (see `decode`).
"""

from typing import Any

import numpy as np
import tensorflow as tf


def split(vectors: tf.Tensor, num_subspaces: int) -> tf.Tensor:
    """Cuts `[n, M * d]` vectors into `[M, n, d]` sub-vectors."""
    width = vectors.shape[-1] // num_subspaces
    parts = tf.reshape(vectors, [-1, num_subspaces, width])
    return tf.transpose(parts, [1, 0, 2])


def distances(subvectors: tf.Tensor, codebooks: tf.Tensor) -> tf.Tensor:
    """Squared distances to every code, less each sub-vector's own norm.

    Args:
        subvectors: `[M, n, d]`.
        codebooks: `[M, K, d]`.

    Returns:
        `[M, n, K]`: `||c||² - 2 s·c`, which orders the codes as
        `||s - c||²` does.
    """
    # One product: norms as a column of the small codebooks, beside a column of
    # ones, spare a pass over `[M, n, K]`.
    norms = tf.reduce_sum(tf.square(codebooks), axis=-1, keepdims=True)
    return tf.matmul(
        tf.concat([subvectors, tf.ones_like(subvectors[..., :1])], axis=-1),
        tf.concat([-2.0 * codebooks, norms], axis=-1),
        transpose_b=True,
    )


def flat_index(
    codes: tf.Tensor, codebook_size: int, tables: Any = None
) -> tf.Tensor:
    """Turns codes into rows of codebooks laid out `[M * K, ·]`.

    Args:
        codes: integers `[..., M]`.
        codebook_size: `K`.
        tables: integers `[n]`, where the codebooks of several tables are laid
            out one after the other: the table of each of the codes
            `[..., n, M]`.

    Returns:
        int64, of the shape of `codes`: gathers take it faster than int32.
    """
    num_subspaces = codes.shape[-1]
    offsets = np.arange(num_subspaces)
    if tables is not None:
        offsets = offsets + np.asarray(tables)[:, None] * num_subspaces
    return tf.cast(codes, tf.int64) + tf.constant(
        offsets * codebook_size, tf.int64
    )


def decode(entries: tf.Tensor, additive_dim: int = 0) -> tf.Tensor:
    """Joins the gathered codebook entries of each row into its vector.

    The first `d` columns of an entry are that sub-space's share of the
    vector and are concatenated; the last `A` columns are summed over the
    sub-spaces. Product quantization is `A = 0`; a first-order weight on the
    same codes is `A = 1`; residual quantization is `d = 0`.

    Args:
        entries: `[..., M, d + A]`; float16 becomes float32.
        additive_dim: `A`.

    Returns:
        `[..., M * d + A]`.
    """
    width = entries.shape[-1] - additive_dim
    if not additive_dim:
        return _widened(tf.reshape(entries, joined_shape(entries)))
    if not width:
        return tf.reduce_sum(_widened(entries), axis=-2)
    return tf.concat(decode_apart(entries, additive_dim), axis=-1)


def decode_apart(
    entries: tf.Tensor, additive_dim: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """As `decode`: joined columns `[..., M * d]`, and sums `[..., A]`."""
    width = entries.shape[-1] - additive_dim
    # On CPU a split takes half the time of two slices.
    parts, shares = tf.split(_widened(entries), [width, additive_dim], axis=-1)
    joined = tf.reshape(parts, joined_shape(parts))
    if shares.shape[-2] != 2:
        return joined, tf.reduce_sum(shares, axis=-2)
    # On CPU a third of the time of the sum. Of more than two, graphs would
    # round it otherwise: they choose an order of additions.
    first, second = tf.unstack(shares, axis=-2)
    return joined, first + second


def look_up(
    codebooks: tf.Variable, index: tf.Tensor, additive_dim: int
) -> tf.Tensor:
    """`decode` of the entries at `index`.

    Args:
        codebooks: `[rows, d + A]`.
        index: rows of the codebooks, integers `[..., M]`.
        additive_dim: `A`.
    """
    if additive_dim < codebooks.shape[-1] or index.shape[-1] != 2:
        return decode(tf.gather(codebooks, index), additive_dim)
    # On CPU faster than the sum of one gather's rows; see `decode_apart`.
    # Slices, for LiteRT unstacks no int64.
    first = tf.gather(codebooks, index[..., 0])
    return _widened(first) + _widened(tf.gather(codebooks, index[..., 1]))


def _widened(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(values, tf.float32) if values.dtype == tf.float16 else values


def joined_shape(parts: tf.Tensor) -> Any:
    """Shape of `[..., M, d]` with the last two axes made one.

    A list where the shape is known but for one axis, which spares the ops
    that would compute it at each call.
    """
    *lead, rows, width = parts.shape.as_list()
    # Beside an empty axis the unknown one could have any length.
    if lead.count(None) <= 1 and 0 not in lead:
        return [*(-1 if n is None else n for n in lead), rows * width]
    return tf.concat([tf.shape(parts)[:-2], [rows * width]], axis=0)
