"""Explicit interactions of growing order."""

from typing import Any

import tensorflow as tf


@tf.keras.utils.register_keras_serializable("mec_tf")
class CrossNetwork(tf.keras.layers.Layer):
    """Cross layers of full rank: `x_{l+1} = x_0 ⊙ (W_l x_l + b_l) + x_l`.

    Args:
        num_layers: int, cross layers. Default 3.
        **kwargs: of `tf.keras.layers.Layer`.

    Input shape: floats `[batch, width]`.
    Output shape: the same, in `compute_dtype`.

    Raises:
        ValueError: if `num_layers` is not a positive integer.

    Example:
        >>> CrossNetwork(num_layers=2)(tf.ones([4, 8])).shape
        TensorShape([4, 8])

    Reference:
        "DCN V2" (arXiv 2008.13535), equation 1.
    """

    def __init__(self, num_layers: int = 3, **kwargs: Any):
        if int(num_layers) != num_layers or num_layers < 1:
            raise ValueError(
                "`num_layers` must be a positive integer. "
                f"Received: num_layers={num_layers!r}"
            )
        super().__init__(**kwargs)
        self.num_layers = int(num_layers)

    def build(self, input_shape: Any) -> None:
        width = input_shape[-1]
        self.kernels = self.add_each("kernel", (width, width))
        self.biases = self.add_each("bias", (width,), "zeros")
        self.built = True

    def add_each(
        self,
        role: str,
        shape: tuple[int, ...],
        initializer: str = "glorot_uniform",
    ) -> list[Any]:
        """A weight of a role for each cross layer."""
        return [
            self.add_weight(
                name=f"{role}_{index}", shape=shape, initializer=initializer
            )
            for index in range(self.num_layers)
        ]

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        outputs = inputs
        for kernel, bias in zip(self.kernels, self.biases, strict=True):
            outputs += inputs * (tf.matmul(outputs, kernel) + bias)
        return outputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_layers": self.num_layers}
