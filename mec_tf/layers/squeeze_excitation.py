"""Fields weighed by how much they matter."""

from typing import Any

import tensorflow as tf


@tf.keras.utils.register_keras_serializable("mec_tf")
class SqueezeExcitation(tf.keras.layers.Layer):
    """Multiplies each field's vector by a weight that all fields decide on.

    With `z_f` the mean of field `f`'s vector, the weights are
    `relu(W_2 relu(W_1 z))`; the layer in between is `fields //
    reduction_ratio` wide, but at least 1.

    Args:
        reduction_ratio: int, how much narrower the layer in between is.
            Default 3.
        **kwargs: of `tf.keras.layers.Layer`.

    Input shape: floats `[batch, fields, dim]`.
    Output shape: the same, in `compute_dtype`.

    Raises:
        ValueError: if `reduction_ratio` is not a positive integer.

    Example:
        >>> SqueezeExcitation()(tf.ones([2, 6, 4])).shape
        TensorShape([2, 6, 4])

    Reference:
        "FiBiNET" (arXiv 1905.09433), section 3.2.
    """

    def __init__(self, reduction_ratio: int = 3, **kwargs: Any):
        if int(reduction_ratio) != reduction_ratio or reduction_ratio < 1:
            raise ValueError(
                "`reduction_ratio` must be a positive integer. "
                f"Received: reduction_ratio={reduction_ratio!r}"
            )
        super().__init__(**kwargs)
        self.reduction_ratio = int(reduction_ratio)

    def build(self, input_shape: Any) -> None:
        fields = input_shape[1]
        reduced = max(1, fields // self.reduction_ratio)
        self.squeeze = self.add_weight(
            name="squeeze",
            shape=(fields, reduced),
            initializer="glorot_uniform",
        )
        self.excite = self.add_weight(
            name="excite",
            shape=(reduced, fields),
            initializer="glorot_uniform",
        )
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        means = tf.reduce_mean(inputs, axis=-1)
        hidden = tf.nn.relu(tf.matmul(means, self.squeeze))
        weights = tf.nn.relu(tf.matmul(hidden, self.excite))
        return inputs * weights[..., None]

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["reduction_ratio"] = self.reduction_ratio
        return config
