"""Base of the layers that hold dense layers which others may replace."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mec_tf.layers.nesting import build_inner, serialize_unbuilt


class DenseStack(tf.keras.layers.Layer):
    """Holds a list of dense layers, and says in its configuration which.

    A subclass makes its plain ones and gives them to `hold`.
    """

    dense_layers: list[tf.keras.layers.Layer]

    def hold(
        self,
        plain: Sequence[tf.keras.layers.Dense],
        given: Sequence[Any] | None,
    ) -> None:
        """Sets `dense_layers`.

        Args:
            plain: the layers that are held by default.
            given: for each of them another, its serialized form, or None.
                Default: None for all.

        Raises:
            ValueError: if there is not one for each.
        """
        given = [None] * len(plain) if given is None else list(given)
        if len(given) != len(plain):
            raise ValueError(
                f"`dense_layers` must hold a layer, or None, for each of "
                f"{len(plain)}. Received: {len(given)}"
            )
        self._plain = tuple(map(id, plain))
        self.dense_layers = [
            layer if other is None else _deserialized(other)
            for layer, other in zip(plain, given, strict=True)
        ]

    def build(self, input_shape: Any) -> None:
        width = input_shape[-1]
        for layer in self.dense_layers:
            build_inner(layer, (None, width))
            width = layer.units
        self.built = True

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["dense_layers"] = [
            None if id(layer) in self._plain else serialize_unbuilt(layer)
            for layer in self.dense_layers
        ]
        return config


def _deserialized(layer: Any) -> tf.keras.layers.Layer:
    if isinstance(layer, tf.keras.layers.Layer):
        return layer
    return tf.keras.layers.deserialize(layer)
