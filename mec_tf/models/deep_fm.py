"""DeepFM."""

from typing import Any

import tensorflow as tf

from mec_tf.layers.factorization_machine import FactorizationMachine
from mec_tf.layers.nesting import build_inner
from mec_tf.models.ranking_model import RankingModel


@tf.keras.utils.register_keras_serializable("mec_tf")
class DeepFM(RankingModel):
    """A factorization machine and a tower on the same vectors.

    The logit is a bias, plus the first-order weights, plus the dot products
    of all pairs of vectors, plus the tower's answer. A feature's first-order
    weight is the last column of its table, `embedding_dim + 1` wide: one
    lookup gives both, and a compressed table keeps it on the same codes.
    Numeric features have a linear weight each and enter the tower.

    Args:
        categorical: `{feature: rows of its vocabulary}`.
        numeric: `{feature: (mean, std)}` of the signed logarithm.
        **kwargs: as in `RankingModel`.

    Input shape: a dict of `{feature: [batch]}`.
    Output shape: float32 logits `[batch, 1]`.

    Example:
        >>> model = DeepFM({"user": 1000, "item": 500}, embedding_dim=8)
        >>> ids = tf.constant([1, 2])
        >>> model({"user": ids, "item": ids}).shape
        TensorShape([2, 1])

    Reference:
        "DeepFM" (arXiv 1703.04247).
    """

    additive_dim = 1

    def __init__(self, categorical: Any, numeric: Any = None, **kwargs: Any):
        super().__init__(categorical, numeric, **kwargs)
        self.fm = FactorizationMachine(name="fm", dtype="float32")
        self.tower = self.make_tower(self.hidden_units)
        self.head = tf.keras.layers.Dense(1, name="head", dtype="float32")
        self.linear: Any = None
        if self.numeric:
            self.linear = tf.keras.layers.Dense(
                1, use_bias=False, name="linear", dtype="float32"
            )

    def build(self, input_shape: Any = None) -> None:
        width = self.flat_dim
        build_inner(self.tower, (None, width))
        build_inner(self.head, (None, (width, *self.tower.units)[-1]))
        if self.linear is not None:
            build_inner(self.linear, (None, len(self.numeric)))
        super().build(input_shape)

    def logits(
        self, vectors: tf.Tensor, numbers: tf.Tensor | None, training: bool
    ) -> tf.Tensor:
        flat = self.flatten(vectors, numbers)
        logits = self.head(self.tower(flat, training=training))
        logits += self.fm(vectors)
        if numbers is not None:
            logits += self.linear(numbers)
        return logits
