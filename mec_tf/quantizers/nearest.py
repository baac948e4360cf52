"""The nearest of a codebook's entries, the same one however it is run."""

import numpy as np
import tensorflow as tf

from mec_tf.quantizers.product import distances
from mec_tf.quantizers.tracing import traced_for_xla

# What is encoded at once: rows, and bytes of distances `[M, rows, K]`.
CHUNK_ROWS = 65536
CHUNK_BYTES = 2**27
# float32 sums tell codes apart to 1e-5 of their squared distance where that is
# at least this share of the sub-vector's squared length, and both are far from
# what overflows or vanishes.
RESOLVED = 2.0**-7
_LEAST, _GREATEST = 2.0**-96, 2.0**100
# Odd 64-bit numbers (of splitmix64) that mix the bits of an entry.
_MIX = (-0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15)


def nearly_nearest(subvectors: tf.Tensor, codebooks: tf.Tensor) -> tf.Tensor:
    """As `nearest`, by float32 alone: of codes that are as near, any."""
    return _least(distances(subvectors, codebooks))


def nearest(subvectors: tf.Tensor, codebooks: tf.Tensor) -> tf.Tensor:
    """Index of the nearest code; the lowest index wins a tie.

    Sums are of float32; rows for which that does not decide (entries much
    closer than they are long, numbers whose squares overflow or vanish) are
    decided in float64. Magnitudes below 1.2e-38 count as zero.

    Args:
        subvectors: `[M, n, d]`, finite.
        codebooks: `[M, K, d]`, finite.

    Returns:
        int32 `[n, M]`.
    """
    if tf.executing_eagerly() and subvectors.dtype == tf.float32:
        return _nearest_in_graph(subvectors, codebooks)
    return _nearest(subvectors, codebooks)


def nearest_rows(rows: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """Codes int32 `[n]` of rows `[n, d]` in one codebook `[K, d]`."""
    book = tf.constant(codebook, tf.float32)[None]
    codes = np.empty(len(rows), np.int32)
    step = rows_at_once(*book.shape[:2])
    for start in range(0, len(rows), step):
        chunk = tf.constant(rows[start : start + step], tf.float32)
        codes[start : start + step] = nearest(chunk[None], book)[:, 0]
    return codes


def rows_at_once(num_codes: int, codebook_size: int) -> int:
    """How many rows to look for codes of at once."""
    row_bytes = 4 * num_codes * codebook_size
    return max(1, min(CHUNK_ROWS, CHUNK_BYTES // row_bytes))


def _nearest(subvectors: tf.Tensor, codebooks: tf.Tensor) -> tf.Tensor:
    gaps = distances(subvectors, codebooks)
    codes = _least(gaps)
    if gaps.dtype == tf.float32:
        sure = _resolved(subvectors, codebooks, codes)
        codes = _settled(subvectors, codebooks, codes, sure)
    # Rounding may tell equal entries apart.
    same = tf.gather(lowest_equal(codebooks), tf.transpose(codes), batch_dims=1)
    return tf.transpose(same)


# A graph adds the norms in place, where eager ops fill `[M, n, K]` anew. One
# trace serves all shapes.
_nearest_in_graph = tf.function(
    _nearest, input_signature=[tf.TensorSpec([None] * 3)] * 2
)


def _least(gaps: tf.Tensor) -> tf.Tensor:
    """int32 `[n, M]` of distances `[M, n, K]`."""
    return tf.transpose(tf.argmin(gaps, axis=-1, output_type=tf.int32))


def _resolved(
    subvectors: tf.Tensor, codebooks: tf.Tensor, codes: tf.Tensor
) -> tf.Tensor:
    """Whether float32 decides: booleans `[n]`."""
    entries = tf.gather(codebooks, tf.transpose(codes), batch_dims=1)
    gaps = tf.math.squared_difference(subvectors, entries)
    squares = tf.reduce_sum(tf.square(subvectors), axis=-1)
    # Said so that NaN is not resolved.
    clear = tf.reduce_sum(gaps, axis=-1) > RESOLVED * squares + _LEAST
    longest = tf.reduce_max(tf.square(codebooks), axis=[1, 2])[:, None]
    bounded = tf.maximum(squares, longest) < _GREATEST
    return tf.reduce_all(tf.logical_and(clear, bounded), axis=0)


def _settled(
    subvectors: tf.Tensor,
    codebooks: tf.Tensor,
    codes: tf.Tensor,
    sure: tf.Tensor,
) -> tf.Tensor:
    """Codes `[n, M]`, those of rows that are not sure anew in float64."""

    def exact(parts: tf.Tensor) -> tf.Tensor:
        books = tf.cast(codebooks, tf.float64)
        return _least(distances(tf.cast(parts, tf.float64), books))

    if traced_for_xla():  # the number of such rows would be a dynamic shape
        return tf.cond(
            tf.reduce_all(sure), lambda: codes, lambda: exact(subvectors)
        )
    rows = tf.where(tf.logical_not(sure))
    again = exact(tf.gather(subvectors, rows[:, 0], axis=1))
    return tf.tensor_scatter_nd_update(codes, rows, again)


def lowest_equal(codebooks: tf.Tensor) -> tf.Tensor:
    """For each entry, the first one that equals it.

    Args:
        codebooks: float32 or float64 `[M, K, d]`.

    Returns:
        int32 `[M, K]`.
    """
    keys = _keys(codebooks)
    order = tf.argsort(keys, stable=True)
    ordered = tf.gather(keys, order, batch_dims=1)
    first = tf.gather(order, tf.searchsorted(ordered, keys), batch_dims=1)
    found = tf.gather(codebooks, first, batch_dims=1)
    equal = tf.reduce_all(tf.equal(found, codebooks), axis=-1)
    return tf.where(equal, first, tf.range(tf.shape(codebooks)[1])[None])


def _keys(codebooks: tf.Tensor) -> tf.Tensor:
    """int64 `[M, K]`: equal for entries of the same bits, else hardly ever."""
    narrow = codebooks.dtype == tf.float32
    bits = tf.bitcast(codebooks, tf.int32 if narrow else tf.int64)
    place = tf.range(tf.shape(codebooks, tf.int64)[-1], dtype=tf.int64)
    mixed = tf.cast(bits, tf.int64) + place * _MIX[0]
    for factor in _MIX[1:]:
        mixed *= factor
        mixed = tf.bitwise.bitwise_xor(mixed, tf.bitwise.right_shift(mixed, 31))
    return tf.reduce_sum(mixed, axis=-1)
