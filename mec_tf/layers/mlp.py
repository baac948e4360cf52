"""A tower of dense layers."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mec_tf.layers.dense_stack import DenseStack


@tf.keras.utils.register_keras_serializable("mec_tf")
class MLP(DenseStack):
    """Dense layers, each with an activation and dropout.

    Args:
        units: width of each layer; none at all is the identity.
        activation: Keras activation of every layer. Default "relu".
        dropout: share of units dropped after each layer, in [0, 1). Default
            0.
        dense_layers: what to hold as dense layers, such as `LowRankDense`: a
            layer, its serialized form, or None for a `tf.keras.layers.Dense`
            for each width. Default: None for all.
        **kwargs: of `tf.keras.layers.Layer`.

    Input shape: floats `[batch, width]`.
    Output shape: `[batch, units[-1]]`, in `compute_dtype`.

    Raises:
        ValueError: if `dropout` or a width is out of its range, or
            `dense_layers` do not fit `units`.

    Example:
        >>> MLP((300, 100), dropout=0.1)(tf.zeros([2, 40])).shape
        TensorShape([2, 100])
    """

    def __init__(
        self,
        units: Sequence[int],
        activation: Any = "relu",
        dropout: float = 0.0,
        dense_layers: Sequence[Any] | None = None,
        **kwargs: Any,
    ):
        if not 0.0 <= dropout < 1.0:
            raise ValueError(
                "`dropout` must be at least 0 and below 1. "
                f"Received: dropout={dropout}"
            )
        if not all(int(width) == width and width > 0 for width in units):
            raise ValueError(
                "`units` must be positive integers. "
                f"Received: units={tuple(units)}"
            )
        super().__init__(**kwargs)
        self.units = tuple(int(width) for width in units)
        self.activation = tf.keras.activations.get(activation)
        self.dropout = dropout
        dtype = kwargs.get("dtype")
        self.hold(
            [
                tf.keras.layers.Dense(width, self.activation, dtype=dtype)
                for width in self.units
            ],
            dense_layers,
        )
        widths = tuple(layer.units for layer in self.dense_layers)
        if widths != self.units:
            raise ValueError(
                "`dense_layers` must be as wide as "
                f"units={self.units}. Received widths {widths}"
            )
        self.dropout_layers = [
            tf.keras.layers.Dropout(dropout, dtype=dtype)
            for _ in (self.units if dropout else ())
        ]

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        outputs = inputs
        for index, dense in enumerate(self.dense_layers):
            outputs = dense(outputs)
            if self.dropout:
                drop = self.dropout_layers[index]
                outputs = drop(outputs, training=training)
        return outputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        if not self.units:
            return input_shape
        return type(input_shape)([*input_shape[:-1], self.units[-1]])

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            units=list(self.units),
            activation=tf.keras.activations.serialize(self.activation),
            dropout=self.dropout,
        )
        return config
