"""Raw numbers made fit for a network."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


@tf.keras.utils.register_keras_serializable("mec_tf")
class NumericFeatures(tf.keras.layers.Layer):
    """Standardizes the signed logarithm of raw numbers.

    Answers `(sign(x) * log1p(|x|) - mean) / std`, and 0, the mean, where a
    value is missing: NaN or infinite.

    Args:
        means: mean of each column's signed logarithm, of `n` numbers.
        stds: its standard deviation, of `n` numbers; 0, of a column of one
            value, counts as 1.
        **kwargs: of `tf.keras.layers.Layer`.

    Input shape: numbers `[..., n]`.
    Output shape: the same, in `compute_dtype`.

    Raises:
        ValueError: if `means` and `stds` differ in length, or a standard
            deviation is negative.

    Example:
        >>> layer = NumericFeatures([0.0, 2.0], [1.0, 0.5])
        >>> layer(tf.constant([[0.0, float("nan")]])).numpy()
        array([[0., 0.]], dtype=float32)
    """

    def __init__(
        self, means: Sequence[float], stds: Sequence[float], **kwargs: Any
    ):
        if len(means) != len(stds):
            raise ValueError(
                "`means` and `stds` must be of one length. Received "
                f"{len(means)} means and {len(stds)} stds"
            )
        if not all(std >= 0 for std in stds):
            raise ValueError(
                f"`stds` must be at least 0. Received: stds={list(stds)}"
            )
        # Keras would cast raw numbers to float16 in mixed precision.
        super().__init__(autocast=False, **kwargs)
        self.means = [float(mean) for mean in means]
        self.stds = [float(std) for std in stds]

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        values = tf.cast(inputs, tf.float32)
        present = tf.math.is_finite(values)
        values = tf.where(present, values, tf.zeros_like(values))
        logs = tf.sign(values) * tf.math.log1p(tf.abs(values))
        stds = tf.constant([std or 1.0 for std in self.stds], tf.float32)
        scaled = (logs - tf.constant(list(self.means), tf.float32)) / stds
        scaled = tf.where(present, scaled, tf.zeros_like(scaled))
        return tf.cast(scaled, self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(means=list(self.means), stds=list(self.stds))
        return config
