"""Explicit interactions of growing order, each behind a gate."""

from typing import Any

import tensorflow as tf

from mec_tf.layers.cross_network import CrossNetwork
from mec_tf.layers.square_dense import SquareDense


@tf.keras.utils.register_keras_serializable("mec_tf")
class GatedCrossNetwork(CrossNetwork):
    """Cross layers whose new interactions pass a gate.

    A layer answers `x_{l+1} = x_0 ⊙ (W_l x_l + b_l) ⊙ σ(G_l x_l) + x_l`: the
    gate, between 0 and 1, weighs each interaction that the layer adds.

    Args:
        num_layers: int, cross layers. Default 3.
        dense_layers: as of `CrossNetwork`, products and gates in turn.
        **kwargs: of `tf.keras.layers.Layer`.

    Input shape: floats `[batch, width]`.
    Output shape: the same, in `compute_dtype`.

    Raises:
        ValueError: as of `CrossNetwork`.

    Example:
        >>> GatedCrossNetwork(num_layers=2)(tf.ones([4, 8])).shape
        TensorShape([4, 8])

    Reference:
        "Towards deeper, lighter and interpretable cross network for CTR
        prediction" (arXiv 2311.04635), the gated cross layer.
    """

    def plain_layers(self, dtype: Any) -> list[tf.keras.layers.Dense]:
        return [
            SquareDense(use_bias=use_bias, dtype=dtype)
            for _ in range(self.num_layers)
            for use_bias in (True, False)
        ]

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        outputs = inputs
        layers = self.dense_layers
        for dense, gate in zip(layers[::2], layers[1::2], strict=True):
            crossed = inputs * dense(outputs)
            outputs += crossed * tf.sigmoid(gate(outputs))
        return outputs
