"""Explicit interactions of growing order."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mec_tf.layers.dense_stack import DenseStack
from mec_tf.layers.square_dense import SquareDense


@tf.keras.utils.register_keras_serializable("mec_tf")
class CrossNetwork(DenseStack):
    """Cross layers: `x_{l+1} = x_0 ⊙ (W_l x_l + b_l) + x_l`.

    Args:
        num_layers: int, cross layers. Default 3.
        dense_layers: what to hold for the products `W_l x_l + b_l`, such as
            `LowRankDense`: for each a layer as wide as the input, its
            serialized form, or None for one of full rank. Default: None for
            all.
        **kwargs: of `tf.keras.layers.Layer`.

    Input shape: floats `[batch, width]`.
    Output shape: the same, in `compute_dtype`.

    Raises:
        ValueError: if `num_layers` is not a positive integer, or
            `dense_layers` are not as many as products, or of another width.

    Example:
        >>> CrossNetwork(num_layers=2)(tf.ones([4, 8])).shape
        TensorShape([4, 8])

    Reference:
        "DCN V2" (arXiv 2008.13535), equation 1.
    """

    def __init__(
        self,
        num_layers: int = 3,
        dense_layers: Sequence[Any] | None = None,
        **kwargs: Any,
    ):
        if int(num_layers) != num_layers or num_layers < 1:
            raise ValueError(
                "`num_layers` must be a positive integer. "
                f"Received: num_layers={num_layers!r}"
            )
        super().__init__(**kwargs)
        self.num_layers = int(num_layers)
        self.hold(self.plain_layers(kwargs.get("dtype")), dense_layers)

    def plain_layers(self, dtype: Any) -> list[tf.keras.layers.Dense]:
        """The layers that are held by default, in the order of their use."""
        return [SquareDense(dtype=dtype) for _ in range(self.num_layers)]

    def build(self, input_shape: Any) -> None:
        width = input_shape[-1]
        widths = [
            width if isinstance(layer, SquareDense) else layer.units
            for layer in self.dense_layers
        ]
        if widths != [width] * len(widths):
            raise ValueError(
                f"`dense_layers` must be as wide as the input, {width}. "
                f"Received widths {widths}"
            )
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        outputs = inputs
        for dense in self.dense_layers:
            outputs += inputs * dense(outputs)
        return outputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_layers": self.num_layers}
