"""Layers that hold other layers: building and serializing the inner ones."""

from typing import Any

import tensorflow as tf


def build_inner(layer: tf.keras.layers.Layer, input_shape: Any = None) -> None:
    """Builds an inner layer once, its variables named after it.

    Keras 2 opens the name scope of a layer when it is called, not when it is
    built, and equal names collide in `.h5` files.
    """
    if not layer.built:
        with tf.name_scope(layer.name):
            layer.build(input_shape)


def serialize_unbuilt(layer: tf.keras.layers.Layer) -> dict[str, Any]:
    """A layer's serialized form that is not built when it is restored.

    A restored model must still accept other tables in place of its own, which
    Keras 3 refuses once they are built.
    """
    serialized = tf.keras.layers.serialize(layer)
    return {k: v for k, v in serialized.items() if k != "build_config"}
