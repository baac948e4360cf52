"""Products of all pairs of fields through trained matrices."""

from typing import Any

import numpy as np
import tensorflow as tf

BILINEAR_TYPES = ("all", "each", "interaction")


@tf.keras.utils.register_keras_serializable("mec_tf")
class BilinearInteraction(tf.keras.layers.Layer):
    """The vector `(v_f W) ⊙ v_g` of each pair of different fields, once.

    Pairs `(f, g)` with `f < g` come in the order of the upper triangle, row
    by row.

    Args:
        bilinear_type: whose the matrix `W` is: "all" pairs', "each" left
            field's, or each pair's ("interaction"). Default "interaction".
        **kwargs: of `tf.keras.layers.Layer`.

    Input shape: floats `[batch, fields, dim]`, of two fields or more.
    Output shape: `[batch, fields * (fields - 1) / 2, dim]`, in
        `compute_dtype`.

    Raises:
        ValueError: if `bilinear_type` is none of the three, or there is no
            pair of fields.

    Example:
        >>> BilinearInteraction("all")(tf.ones([2, 3, 4])).shape
        TensorShape([2, 3, 4])

    Reference:
        "FiBiNET" (arXiv 1905.09433), section 3.3.
    """

    def __init__(self, bilinear_type: str = "interaction", **kwargs: Any):
        if bilinear_type not in BILINEAR_TYPES:
            raise ValueError(
                f"`bilinear_type` must be one of {', '.join(BILINEAR_TYPES)}. "
                f"Received: bilinear_type={bilinear_type!r}"
            )
        super().__init__(**kwargs)
        self.bilinear_type = bilinear_type

    def build(self, input_shape: Any) -> None:
        fields, dim = input_shape[1:]
        if fields < 2:
            raise ValueError(
                "`inputs` must hold at least two fields. "
                f"Received: shape {tuple(input_shape)}"
            )
        matrices = {
            "all": 1,
            # The last field is never the left one.
            "each": fields - 1,
            "interaction": fields * (fields - 1) // 2,
        }
        # Glorot's limit for one matrix: Keras would take the first axis for
        # one of a convolution.
        limit = (3 / dim) ** 0.5
        self.kernel = self.add_weight(
            name="kernel",
            shape=(matrices[self.bilinear_type], dim, dim),
            initializer=tf.keras.initializers.RandomUniform(-limit, limit),
        )
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        left, right = np.triu_indices(inputs.shape[1], k=1)
        # Fields first: pairs are then gathered in whole blocks, and a batched
        # product needs no transposition of its own.
        fields = tf.transpose(inputs, [1, 0, 2])
        if self.bilinear_type == "interaction":
            lefts = tf.matmul(tf.gather(fields, left), self.kernel)
        else:
            lefts = tf.gather(tf.matmul(fields[:-1], self.kernel), left)
        return tf.transpose(lefts * tf.gather(fields, right), [1, 0, 2])

    def compute_output_shape(self, input_shape: Any) -> Any:
        batch, fields, dim = input_shape
        return type(input_shape)([batch, fields * (fields - 1) // 2, dim])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "bilinear_type": self.bilinear_type}
