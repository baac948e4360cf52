"""Weights whose rows can be gathered without reading the whole table."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

KERAS_3 = hasattr(tf.keras, "ops")


def add_raw_weight(
    layer: tf.keras.layers.Layer,
    name: str,
    shape: tuple[int, ...],
    dtype: str,
    initializer: Any,
    trainable: bool = False,
    **kwargs: Any,
) -> Any:
    """`layer.add_weight` with automatic casting off.

    Under `mixed_float16` a weight that Keras casts would be cast whole, all
    rows of it, at every call.
    """
    if isinstance(initializer, np.ndarray):
        initializer = constant_initializer(initializer)
    cast = {"autocast" if KERAS_3 else "experimental_autocast": False}
    return layer.add_weight(
        name=name,
        shape=shape,
        dtype=dtype,
        initializer=initializer,
        trainable=trainable,
        **cast,
        **kwargs,
    )


def constant_initializer(values: np.ndarray) -> Callable:
    """An initializer that returns `values`.

    `build` may run in a scope where `variable.assign` is lost, so known
    values come in through the initializer.
    """

    def initializer(shape, dtype=None, **_):
        return tf.reshape(tf.cast(tf.constant(values), dtype), shape)

    return initializer


def raw(variable: Any) -> tf.Variable:
    """The `tf.Variable` behind a Keras 3 or Keras 2 weight."""
    return variable if isinstance(variable, tf.Variable) else variable.value
