"""PNN."""

from typing import Any

import tensorflow as tf

from mec_tf.layers.dot_interaction import DotInteraction
from mec_tf.layers.nesting import build_inner
from mec_tf.models.ranking_model import RankingModel


@tf.keras.utils.register_keras_serializable("mec_tf")
class PNN(RankingModel):
    """Vectors and the inner products of all their pairs, into a tower.

    Numeric features enter the tower beside them.

    Args:
        categorical: `{feature: rows of its vocabulary}`, two or more.
        numeric: `{feature: (mean, std)}` of the signed logarithm.
        **kwargs: as in `RankingModel`.

    Input shape: a dict of `{feature: [batch]}`.
    Output shape: float32 logits `[batch, 1]`.

    Raises:
        ValueError: if there is no pair of vectors.

    Example:
        >>> model = PNN({"user": 1000, "item": 500}, embedding_dim=8)
        >>> ids = tf.constant([1, 2])
        >>> model({"user": ids, "item": ids}).shape
        TensorShape([2, 1])

    Reference:
        "Product-based neural networks" (arXiv 1611.00144), the inner-product
        form with all products kept.
    """

    def __init__(self, categorical: Any, numeric: Any = None, **kwargs: Any):
        if len(categorical) < 2:
            raise ValueError(
                "`categorical` must hold at least two features. "
                f"Received: categorical={dict(categorical)}"
            )
        super().__init__(categorical, numeric, **kwargs)
        self.dots = DotInteraction(name="dots", dtype=self.inner_dtype)
        self.tower = self.make_tower(self.hidden_units)
        self.head = tf.keras.layers.Dense(1, name="head", dtype="float32")

    def build(self, input_shape: Any = None) -> None:
        fields = len(self.categorical)
        width = self.flat_dim + fields * (fields - 1) // 2
        build_inner(self.tower, (None, width))
        build_inner(self.head, (None, (width, *self.tower.units)[-1]))
        super().build(input_shape)

    def logits(
        self, vectors: tf.Tensor, numbers: tf.Tensor | None, training: bool
    ) -> tf.Tensor:
        flat = self.flatten(vectors, numbers)
        inputs = tf.concat([flat, self.dots(vectors)], axis=1)
        return self.head(self.tower(inputs, training=training))
