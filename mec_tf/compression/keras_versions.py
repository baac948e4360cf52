"""Which of the two Kerases a layer is of."""

from typing import Any

import tensorflow as tf

from mec_tf.layers.variables import KERAS_3

_PACKAGES = ("keras", "tf_keras")
_KERAS_2_HERE = (
    "where TF_USE_LEGACY_KERAS=1 is set: make it with tf.keras, or unset that "
    "environment variable"
)
_KERAS_3_HERE = (
    "where tf.keras is Keras 3: set the environment variable "
    "TF_USE_LEGACY_KERAS=1 before TensorFlow is imported, as TensorFlow "
    "Recommenders needs it too, or make it with tf.keras"
)


def is_foreign(value: Any) -> bool:
    """Whether `value` is a layer or model of the Keras that tf.keras is not."""
    return not isinstance(value, tf.keras.layers.Layer) and any(
        base.__name__ == "Layer" and base.__module__.split(".")[0] in _PACKAGES
        for base in type(value).__mro__
    )


def check_keras(value: Any, path: str = "") -> None:
    """Raises unless a model, or a layer in it, is of the Keras in use.

    A process has one `tf.keras`; layers of the other Keras are neither found
    nor tracked, so that nothing of them would be compressed or saved.

    Args:
        value: anything; what is no layer passes.
        path: where it is in the model; "" for the model itself.

    Raises:
        TypeError: if it is a layer or model of the other Keras.
    """
    if not is_foreign(value):
        return
    place = f" at {path}" if path else ""
    other, why = (2, _KERAS_3_HERE) if KERAS_3 else (3, _KERAS_2_HERE)
    raise TypeError(
        "`model` must be made of layers of tf.keras. Received: "
        f"{type(value).__name__}{place} of Keras {other}, {why}"
    )
