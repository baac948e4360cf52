"""Pure functions of product quantization on tensors.

Symbols: `M` sub-spaces, `K` codes in each codebook, `d` width of a sub-vector,
`A` additive columns (see `decode`).
"""

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
    norms = tf.reduce_sum(tf.square(codebooks), axis=-1)
    products = tf.matmul(subvectors, codebooks, transpose_b=True)
    return norms[:, None, :] - 2.0 * products


def nearest(subvectors: tf.Tensor, codebooks: tf.Tensor) -> tf.Tensor:
    """Index of the nearest code; the lowest index wins a tie.

    Args:
        subvectors: `[M, n, d]`.
        codebooks: `[M, K, d]`.

    Returns:
        int32 `[n, M]`.
    """
    gaps = distances(subvectors, codebooks)
    return tf.transpose(tf.argmin(gaps, axis=-1, output_type=tf.int32))


def flat_index(codes: tf.Tensor, codebook_size: int) -> tf.Tensor:
    """Turns codes `[..., M]` into rows of codebooks laid out `[M * K, ·]`."""
    num_subspaces = codes.shape[-1]
    offsets = tf.range(num_subspaces, dtype=tf.int32) * codebook_size
    return tf.cast(codes, tf.int32) + offsets


def decode(entries: tf.Tensor, additive_dim: int = 0) -> tf.Tensor:
    """Joins the gathered codebook entries of each row into its vector.

    The first `d` columns of an entry are that sub-space's share of the
    vector and are concatenated; the last `A` columns are summed over the
    sub-spaces. Product quantization is `A = 0`; a first-order weight on the
    same codes is `A = 1`; residual quantization is `d = 0`.

    Args:
        entries: `[..., M, d + A]`.
        additive_dim: `A`.

    Returns:
        `[..., M * d + A]`.
    """
    num_subspaces = entries.shape[-2]
    width = entries.shape[-1] - additive_dim
    lead = tf.shape(entries)[:-2]

    def joined(part: tf.Tensor) -> tf.Tensor:
        shape = tf.concat([lead, [num_subspaces * width]], axis=0)
        flat = tf.reshape(part, shape)
        flat.set_shape(entries.shape[:-2] + [num_subspaces * width])
        return flat

    if not additive_dim:
        return joined(entries)
    summed = tf.reduce_sum(entries[..., width:], axis=-2)
    if not width:
        return summed
    return tf.concat([joined(entries[..., :width]), summed], axis=-1)
