"""The loss that draws vectors to their codes."""

from typing import Any

import tensorflow as tf


@tf.keras.utils.register_keras_serializable("mec_tf")
class CommitmentLoss(tf.keras.losses.Loss):
    """`mean over rows of ||y_pred - stop_gradient(y_true)||²`.

    `call(y_true, y_pred)` takes the quantized vectors `z` and the vectors
    before quantization `s`, both `[..., D]`, and gives one loss a row
    `[...]`. Only `y_pred` has a gradient.

    Args:
        name: of the loss. Default "commitment".
        **kwargs: of `tf.keras.losses.Loss`; the reduction defaults to the
            mean over rows.

    Reference:
        VQ-VAE (arXiv 1711.00937), third term of equation 3.
    """

    def __init__(self, name: str = "commitment", **kwargs: Any):
        kwargs.setdefault("reduction", "sum_over_batch_size")
        super().__init__(name=name, **kwargs)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        gap = y_pred - tf.stop_gradient(tf.cast(y_true, y_pred.dtype))
        return tf.reduce_sum(tf.square(gap), axis=-1)
