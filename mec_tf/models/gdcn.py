"""GDCN."""

from typing import Any

import tensorflow as tf

from mec_tf.layers.gated_cross_network import GatedCrossNetwork
from mec_tf.layers.nesting import build_inner
from mec_tf.models.ranking_model import RankingModel


@tf.keras.utils.register_keras_serializable("mec_tf")
class GDCN(RankingModel):
    """A gated cross network and a tower side by side on the same inputs.

    Args:
        categorical: `{feature: rows of its vocabulary}`.
        numeric: `{feature: (mean, std)}` of the signed logarithm.
        num_cross_layers: int, gated cross layers. Default 3.
        **kwargs: as in `RankingModel`.

    Input shape: a dict of `{feature: [batch]}`.
    Output shape: float32 logits `[batch, 1]`.

    Example:
        >>> model = GDCN({"user": 1000, "item": 500}, embedding_dim=8)
        >>> ids = tf.constant([1, 2])
        >>> model({"user": ids, "item": ids}).shape
        TensorShape([2, 1])

    Reference:
        "Towards deeper, lighter and interpretable cross network for CTR
        prediction" (arXiv 2311.04635), the parallel structure, GDCN-P.
    """

    def __init__(
        self,
        categorical: Any,
        numeric: Any = None,
        *,
        num_cross_layers: int = 3,
        **kwargs: Any,
    ):
        super().__init__(categorical, numeric, **kwargs)
        self.num_cross_layers = num_cross_layers
        self.cross = GatedCrossNetwork(
            num_cross_layers, name="cross", dtype=self.inner_dtype
        )
        self.tower = self.make_tower(self.hidden_units)
        self.head = tf.keras.layers.Dense(1, name="head", dtype="float32")

    def build(self, input_shape: Any = None) -> None:
        width = self.flat_dim
        build_inner(self.cross, (None, width))
        build_inner(self.tower, (None, width))
        deep_width = (width, *self.tower.units)[-1]
        build_inner(self.head, (None, width + deep_width))
        super().build(input_shape)

    def logits(
        self, vectors: tf.Tensor, numbers: tf.Tensor | None, training: bool
    ) -> tf.Tensor:
        flat = self.flatten(vectors, numbers)
        crossed = self.cross(flat)
        deep = self.tower(flat, training=training)
        return self.head(tf.concat([crossed, deep], axis=1))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["num_cross_layers"] = self.num_cross_layers
        return config
