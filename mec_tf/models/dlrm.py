"""DLRM."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mec_tf.layers.dot_interaction import DotInteraction
from mec_tf.layers.nesting import build_inner
from mec_tf.models.ranking_model import RankingModel


@tf.keras.utils.register_keras_serializable("mec_tf")
class DLRM(RankingModel):
    """Dot products of all pairs of vectors, into a tower.

    Numeric features pass a bottom tower that ends in one more vector; that
    vector also enters the tower as it is. Without numeric features there is
    one learned vector in its place: products with it tell a popular row from
    a rare one, which products of small rows alone hardly learn.

    Args:
        categorical: `{feature: rows of its vocabulary}`.
        numeric: `{feature: (mean, std)}` of the signed logarithm.
        bottom_units: widths of the bottom tower before its last layer, which
            is `embedding_dim` wide. Default (64,).
        **kwargs: as in `RankingModel`; `hidden_units` is of the top tower.

    Input shape: a dict of `{feature: [batch]}`.
    Output shape: float32 logits `[batch, 1]`.

    Example:
        >>> model = DLRM({"user": 1000, "item": 500}, embedding_dim=8)
        >>> ids = tf.constant([1, 2])
        >>> model({"user": ids, "item": ids}).shape
        TensorShape([2, 1])

    Reference:
        "DLRM" (arXiv 1906.00091).
    """

    def __init__(
        self,
        categorical: Any,
        numeric: Any = None,
        *,
        bottom_units: Sequence[int] = (64,),
        **kwargs: Any,
    ):
        super().__init__(categorical, numeric, **kwargs)
        self.bottom_units = tuple(bottom_units)
        self.bottom: Any = None
        self.bottom_vector: Any = None
        if self.numeric:
            self.bottom = self.make_tower(
                (*self.bottom_units, self.embedding_dim), "bottom"
            )
        self.dots = DotInteraction(name="dots", dtype=self.inner_dtype)
        self.tower = self.make_tower(self.hidden_units)
        self.head = tf.keras.layers.Dense(1, name="head", dtype="float32")

    def build(self, input_shape: Any = None) -> None:
        if self.bottom is not None:
            build_inner(self.bottom, (None, len(self.numeric)))
        else:
            self.bottom_vector = self.add_weight(
                name="bottom_vector",
                shape=(1, self.embedding_dim),
                initializer=tf.keras.initializers.RandomNormal(
                    stddev=self.embedding_dim**-0.5
                ),
            )
        fields = len(self.categorical) + 1
        width = fields * (fields - 1) // 2 + self.embedding_dim
        build_inner(self.tower, (None, width))
        build_inner(self.head, (None, (width, *self.tower.units)[-1]))
        super().build(input_shape)

    def logits(
        self, vectors: tf.Tensor, numbers: tf.Tensor | None, training: bool
    ) -> tf.Tensor:
        if self.bottom is not None:
            bottom = self.bottom(numbers, training=training)
        else:
            shape = [tf.shape(vectors)[0], self.embedding_dim]
            weight = tf.cast(self.bottom_vector, vectors.dtype)
            bottom = tf.broadcast_to(weight, shape)
        vectors = tf.concat([bottom[:, None, :], vectors], axis=1)
        inputs = tf.concat([bottom, self.dots(vectors)], axis=1)
        return self.head(self.tower(inputs, training=training))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["bottom_units"] = list(self.bottom_units)
        return config
