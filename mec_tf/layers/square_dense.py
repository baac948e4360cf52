"""A dense layer as wide as its input."""

from typing import Any

import tensorflow as tf


@tf.keras.utils.register_keras_serializable("mec_tf")
class SquareDense(tf.keras.layers.Dense):
    """`tf.keras.layers.Dense` whose width is that of its input.

    Args:
        units: ignored, and the width once the layer is built.
        **kwargs: of `tf.keras.layers.Dense`.

    Input shape: floats `[batch, ..., width]`.
    Output shape: the same, in `compute_dtype`.

    Example:
        >>> SquareDense()(tf.ones([4, 8])).shape
        TensorShape([4, 8])
    """

    def __init__(self, units: int = 1, **kwargs: Any):
        super().__init__(units, **kwargs)

    def build(self, input_shape: Any) -> None:
        self.units = int(input_shape[-1])
        super().build(input_shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape
