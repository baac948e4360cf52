"""Explicit interactions of growing order, each behind a gate."""

from typing import Any

import tensorflow as tf

from mec_tf.layers.cross_network import CrossNetwork


@tf.keras.utils.register_keras_serializable("mec_tf")
class GatedCrossNetwork(CrossNetwork):
    """Cross layers whose new interactions pass a gate.

    A layer answers `x_{l+1} = x_0 ⊙ (W_l x_l + b_l) ⊙ σ(G_l x_l) + x_l`: the
    gate, between 0 and 1, weighs each interaction that the layer adds.

    Args:
        num_layers: int, cross layers. Default 3.
        **kwargs: of `tf.keras.layers.Layer`.

    Input shape: floats `[batch, width]`.
    Output shape: the same, in `compute_dtype`.

    Raises:
        ValueError: if `num_layers` is not a positive integer.

    Example:
        >>> GatedCrossNetwork(num_layers=2)(tf.ones([4, 8])).shape
        TensorShape([4, 8])

    Reference:
        "Towards deeper, lighter and interpretable cross network for CTR
        prediction" (arXiv 2311.04635), the gated cross layer.
    """

    def build(self, input_shape: Any) -> None:
        width = input_shape[-1]
        self.kernels = self.add_each("kernel", (width, width))
        self.gates = self.add_each("gate", (width, width))
        self.biases = self.add_each("bias", (width,), "zeros")
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        outputs = inputs
        for kernel, gate, bias in zip(
            self.kernels, self.gates, self.biases, strict=True
        ):
            crossed = inputs * (tf.matmul(outputs, kernel) + bias)
            outputs += crossed * tf.sigmoid(tf.matmul(outputs, gate))
        return outputs
