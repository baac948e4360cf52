"""One vector of a sequence of vectors."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

MODES = ("sum", "mean", "sqrtn")


@tf.keras.utils.register_keras_serializable("mec_tf")
class MaskedPooling(tf.keras.layers.Layer):
    """Sums or averages the vectors of a sequence, padding left out.

    The mask is Keras's: an embedding layer with `mask_zero=True` passes it on
    by itself. Without a mask every position counts. A sequence that is all
    padding gives the zero vector.

    Args:
        mode: "mean" (default), "sum", or "sqrtn": the sum over the square
            root of the number of positions that count.
        **kwargs: of `tf.keras.layers.Layer`.

    Call arguments:
        inputs: floats `[batch, length, dim]`.
        mask: bool `[batch, length]`, False at padding, or None.

    Output shape: `[batch, dim]`, in `compute_dtype`.

    Raises:
        ValueError: if `mode` is unknown.

    Example:
        >>> vectors = tf.constant([[[1.0, 2.0], [3.0, 4.0]]])
        >>> mask = tf.constant([[True, False]])
        >>> MaskedPooling()(vectors, mask=mask).numpy()
        array([[1., 2.]], dtype=float32)
    """

    def __init__(self, mode: str = "mean", **kwargs: Any):
        if mode not in MODES:
            raise ValueError(
                f"`mode` must be one of {MODES}. Received: mode={mode!r}"
            )
        super().__init__(**kwargs)
        self.mode = mode
        self.supports_masking = True

    def call(self, inputs: tf.Tensor, mask: Any = None) -> tf.Tensor:
        if mask is None:
            mask = tf.ones(tf.shape(inputs)[:2], tf.bool)
        return masked_pooling(inputs, mask, self.mode)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        return None  # The masked axis is gone.

    def compute_output_shape(self, input_shape: Any) -> Any:
        return type(input_shape)([input_shape[0], input_shape[2]])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mode": self.mode}


def _add_rows(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(values, axis=1)


def masked_pooling(
    vectors: tf.Tensor, mask: tf.Tensor, mode: str = "mean"
) -> tf.Tensor:
    """Pools `[batch, length, dim]` where `mask` `[batch, length]` is True."""
    # A where, not a product: what padding looked up may be anything.
    kept = tf.where(mask[..., None], vectors, tf.zeros_like(vectors))
    total = tf.reduce_sum(kept, axis=1)
    return divided(total, tf.cast(mask, tf.float32), mode)


def divided(
    total: tf.Tensor,
    weights: tf.Tensor,
    mode: str,
    add: Callable[[tf.Tensor], tf.Tensor] = _add_rows,
) -> tf.Tensor:
    """Weighted sums over what `mode` divides them by; zero where that is.

    Args:
        total: `[n, dim]`.
        weights: float32, of all addends: 1 for an unweighted one.
        mode: "sum": as they are; "mean": over the sum of the weights;
            "sqrtn": over the square root of the sum of their squares.
        add: makes `[n]` of the weights. Default: adds up each row.
    """
    if mode == "sum":
        return total
    if mode == "mean":
        divisor = add(weights)
    else:  # not the root of 0, which has no gradient
        divisor = tf.sqrt(tf.maximum(add(tf.square(weights)), 1e-30))
    divisor = tf.cast(divisor, total.dtype)[:, None]
    return tf.math.divide_no_nan(total, divisor)
