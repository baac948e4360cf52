"""Dot products of all pairs of fields."""

from typing import Any

import numpy as np
import tensorflow as tf


@tf.keras.utils.register_keras_serializable("mec_tf")
class DotInteraction(tf.keras.layers.Layer):
    """The dot product of each pair of different fields, once.

    Pairs `(f, g)` with `f < g` come in the order of the upper triangle, row
    by row.

    Takes the arguments of `tf.keras.layers.Layer`.

    Input shape: floats `[batch, fields, dim]`.
    Output shape: `[batch, fields * (fields - 1) / 2]`, in `compute_dtype`.

    Example:
        >>> DotInteraction()(tf.ones([2, 3, 4])).shape
        TensorShape([2, 3])

    Reference:
        "DLRM" (arXiv 1906.00091), section 2.1.3.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        fields = inputs.shape[1]
        products = tf.matmul(inputs, inputs, transpose_b=True)
        rows, columns = np.triu_indices(fields, k=1)
        flat = tf.reshape(products, [-1, fields * fields])
        return tf.gather(flat, rows * fields + columns, axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        fields = input_shape[1]
        return type(input_shape)([input_shape[0], fields * (fields - 1) // 2])
