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

    Numeric features, where there are any, pass a bottom tower that ends in
    one more vector; that vector also enters the tower as it is.

    Args:
        categorical: `{feature: rows of its vocabulary}`; two or more, or one
            and a numeric feature.
        numeric: `{feature: (mean, std)}` of the signed logarithm.
        bottom_units: widths of the bottom tower before its last layer, which
            is `embedding_dim` wide. Default (64,).
        **kwargs: as in `RankingModel`; `hidden_units` is of the top tower.

    Input shape: a dict of `{feature: [batch]}`.
    Output shape: float32 logits `[batch, 1]`.

    Raises:
        ValueError: if there is no pair of vectors.

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
        if len(categorical) + bool(numeric) < 2:
            raise ValueError(
                "`categorical` must hold two features, or one beside a "
                f"`numeric` one. Received: categorical={dict(categorical)}, "
                f"numeric={numeric}"
            )
        super().__init__(categorical, numeric, **kwargs)
        self.bottom_units = tuple(bottom_units)
        self.bottom: Any = None
        if self.numeric:
            self.bottom = self.make_tower(
                (*self.bottom_units, self.embedding_dim), "bottom"
            )
        self.dots = DotInteraction(name="dots", dtype=self.inner_dtype)
        self.tower = self.make_tower(self.hidden_units)
        self.head = tf.keras.layers.Dense(1, name="head", dtype="float32")

    def build(self, input_shape: Any = None) -> None:
        fields = len(self.categorical) + bool(self.numeric)
        width = fields * (fields - 1) // 2
        if self.bottom is not None:
            build_inner(self.bottom, (None, len(self.numeric)))
            width += self.embedding_dim
        build_inner(self.tower, (None, width))
        build_inner(self.head, (None, (width, *self.tower.units)[-1]))
        super().build(input_shape)

    def logits(
        self, vectors: tf.Tensor, numbers: tf.Tensor | None, training: bool
    ) -> tf.Tensor:
        if numbers is None:
            inputs = self.dots(vectors)
        else:
            bottom = self.bottom(numbers, training=training)
            vectors = tf.concat([bottom[:, None, :], vectors], axis=1)
            inputs = tf.concat([bottom, self.dots(vectors)], axis=1)
        return self.head(self.tower(inputs, training=training))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["bottom_units"] = list(self.bottom_units)
        return config
