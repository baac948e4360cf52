"""What the models of a cross network beside a tower share."""

from typing import Any

import tensorflow as tf

from mec_tf.layers.nesting import build_inner
from mec_tf.models.ranking_model import RankingModel


class ParallelCrossModel(RankingModel):
    """Base of the models of a cross network and a tower on the same inputs.

    Args:
        categorical: `{feature: rows of its vocabulary}`.
        numeric: `{feature: (mean, std)}` of the signed logarithm.
        num_cross_layers: int, cross layers. Default 3.
        **kwargs: as in `RankingModel`.
    """

    # The class of the cross network.
    cross_network: type[tf.keras.layers.Layer]

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
        self.cross = self.cross_network(
            num_cross_layers,
            self.tower_layers.get("cross"),
            name="cross",
            dtype=self.inner_dtype,
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
