"""One vector of a sequence of vectors."""

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


def masked_pooling(
    vectors: tf.Tensor, mask: tf.Tensor, mode: str = "mean"
) -> tf.Tensor:
    """Pools `[batch, length, dim]` where `mask` `[batch, length]` is True."""
    # A where, not a product: what padding looked up may be anything.
    kept = tf.where(mask[..., None], vectors, tf.zeros_like(vectors))
    total = tf.reduce_sum(kept, axis=1)
    if mode == "sum":
        return total
    count = tf.reduce_sum(tf.cast(mask, tf.float32), axis=1, keepdims=True)
    count = tf.maximum(count, 1.0)
    divisor = tf.sqrt(count) if mode == "sqrtn" else count
    return total / tf.cast(divisor, total.dtype)
