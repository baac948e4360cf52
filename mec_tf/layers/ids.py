"""What an id means: dtype, range, and the rows that ids share."""

from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.quantizers.tracing import traced_for_xla

OOV_ZERO = "zero"
OOV_ERROR = "error"


def check_oov(oov: str | int, input_dim: int) -> str | int:
    """Validates an out-of-range policy.

    Raises:
        ValueError: unless `oov` is "zero", "error" or a row of the table.
    """
    if oov in (OOV_ZERO, OOV_ERROR):
        return oov
    if isinstance(oov, (int, np.integer)) and not isinstance(oov, bool):
        if 0 <= oov < input_dim:
            return int(oov)
    raise ValueError(
        '`oov` must be "zero", "error" or a row between 0 and '
        f"{input_dim - 1}. Received: oov={oov!r}"
    )


def to_integers(ids: tf.Tensor) -> tf.Tensor:
    """Casts ids to int32 or int64; none becomes another table's row.

    Integers keep their value, but for those of uint64 beyond int64, which
    become negative: out of range as well. Booleans are 0 and 1. Floats lose
    what follows the point; NaN, infinity and magnitudes above 2**62 become
    -1.

    Raises:
        TypeError: for any other dtype.
    """
    if ids.dtype in (tf.int32, tf.int64):
        return ids
    if ids.dtype.is_floating:
        # Backends cast what does not fit as they like: XLA makes NaN row 0.
        limit = min(2.0**62, float(ids.dtype.max))
        fits = tf.abs(ids) <= tf.cast(limit, ids.dtype)
        return tf.cast(tf.where(fits, ids, -tf.ones_like(ids)), tf.int64)
    if not (ids.dtype.is_integer or ids.dtype.is_bool):
        raise TypeError(
            "`inputs` must be ids: integers, or floats or booleans that "
            f"stand for them. Received: dtype={ids.dtype.name}"
        )
    wide = ids.dtype in (tf.uint32, tf.uint64)
    return tf.cast(ids, tf.int64 if wide else tf.int32)


def in_range(
    ids: tf.Tensor, input_dim: int | np.ndarray, oov: str | int
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Makes every id safe to gather.

    Args:
        ids: integer ids of any shape.
        input_dim: rows of the table, or of each of the tables that the last
            axis of the ids is of.
        oov: "zero", "error" or a row.

    Returns:
        The ids with out-of-range ones replaced (where the policy is "zero" by
        the nearest row), and a boolean mask of the valid ones where the policy
        is "zero" (None otherwise).

    Raises:
        NotImplementedError: "error" traced under XLA, which drops asserts.
        tf.errors.InvalidArgumentError: at run time, for "error".
    """
    if np.max(input_dim) > ids.dtype.max:
        ids = tf.cast(ids, tf.int64)
    if oov == OOV_ERROR:
        return _asserted(ids, input_dim), None
    # Cheaper than two comparisons and a selection.
    safe = tf.minimum(tf.maximum(ids, 0), tf.cast(input_dim - 1, ids.dtype))
    valid = tf.equal(safe, ids)
    if oov == OOV_ZERO:
        return safe, valid
    return tf.where(valid, ids, tf.cast(oov, ids.dtype)), None


def count_into(totals: np.ndarray, ids: Any) -> None:
    """Adds up how often each id comes; ids out of range do not count.

    Args:
        totals: int64 `[N]`, changed in place. Only rows that occur are
            touched: a batch costs nothing for the rest of a large table.
        ids: integers of any shape.
    """
    ids = np.asarray(ids).reshape(-1).astype(np.int64)
    ids = ids[(ids >= 0) & (ids < len(totals))]
    present, times = np.unique(ids, return_counts=True)
    totals[present] += times


def zero_out(vectors: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """Vectors `[..., D]`, zero where `valid` `[...]` is False.

    A pass over all vectors takes longer than the lookup itself, so it is made
    only for a batch that needs it. XLA makes it part of the gather.
    """

    def zeroed() -> tf.Tensor:
        return tf.where(valid[..., None], vectors, tf.zeros_like(vectors))

    if traced_for_xla():
        return zeroed()
    return tf.cond(tf.reduce_all(valid), lambda: vectors, zeroed)


def deduplicated(ids: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The distinct ids, and the place of each id among them.

    Under XLA, where the number of distinct ids would be a dynamic shape, all
    ids are taken for distinct.

    Args:
        ids: integers `[n]`.

    Returns:
        Ids `[u]` and int32 places `[n]`.
    """
    if traced_for_xla():
        return ids, tf.range(tf.shape(ids)[0])
    distinct, places = tf.unique(ids)
    return distinct, places


def _asserted(ids: tf.Tensor, input_dim: int | np.ndarray) -> tf.Tensor:
    if traced_for_xla():
        raise NotImplementedError(
            '`oov="error"` cannot be compiled by XLA, which drops asserts. '
            'Use oov="zero" or a row, or jit_compile=False.'
        )
    message = f"ids must lie in [0, {input_dim})"
    checks = [
        tf.debugging.assert_non_negative(ids, message=message),
        tf.debugging.assert_less(
            ids, tf.cast(input_dim, ids.dtype), message=message
        ),
    ]
    with tf.control_dependencies([c for c in checks if c is not None]):
        return tf.identity(ids)
