"""Second-order interactions of a factorization machine."""

from typing import Any

import tensorflow as tf


@tf.keras.utils.register_keras_serializable("mec_tf")
class FactorizationMachine(tf.keras.layers.Layer):
    """Sum of the dot products of all pairs of fields.

    Computes `½ Σ_d ((Σ_f v_fd)² - Σ_f v_fd²)`, which equals
    `Σ_{f<g} v_f · v_g`, in float32.

    Takes the arguments of `tf.keras.layers.Layer`.

    Input shape: floats `[batch, fields, dim]`.
    Output shape: `[batch, 1]`, in `compute_dtype`.

    Example:
        >>> FactorizationMachine()(tf.ones([2, 3, 4])).numpy()
        array([[12.],
               [12.]], dtype=float32)

    Reference:
        Rendle, "Factorization machines", ICDM 2010, lemma 3.1.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        vectors = tf.cast(inputs, tf.float32)
        of_sum = tf.square(tf.reduce_sum(vectors, axis=1))
        of_each = tf.reduce_sum(tf.square(vectors), axis=1)
        pairs = 0.5 * tf.reduce_sum(of_sum - of_each, axis=-1, keepdims=True)
        return tf.cast(pairs, self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return type(input_shape)([input_shape[0], 1])
