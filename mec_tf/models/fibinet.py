"""FiBiNET."""

from typing import Any

import tensorflow as tf

from mec_tf.layers.bilinear_interaction import BilinearInteraction
from mec_tf.layers.nesting import build_inner
from mec_tf.layers.squeeze_excitation import SqueezeExcitation
from mec_tf.models.ranking_model import RankingModel


@tf.keras.utils.register_keras_serializable("mec_tf")
class FiBiNET(RankingModel):
    """Bilinear products of vectors, plain and weighed, into a tower.

    The logit is a bias, plus the first-order weights, plus the answer of a
    tower over the bilinear products of all pairs of vectors and of all pairs
    of vectors that a squeeze-and-excitation network has weighed. A feature's
    first-order weight is the last column of its table, as in `DeepFM`.
    Numeric features have a linear weight each and enter the tower.

    The tower's input is `fields * (fields - 1) * embedding_dim` wide, 24,000
    for 25 fields of 40 dimensions: most of the time goes into its first layer,
    and a batch takes several times that many floats an example. Products of
    small rows are smaller still, and a strong `embedding_l2` holds them there:
    try weaker ones than for `DeepFM`.

    Args:
        categorical: `{feature: rows of its vocabulary}`, two or more.
        numeric: `{feature: (mean, std)}` of the signed logarithm.
        bilinear_type: "all", "each" or "interaction", as in
            `BilinearInteraction`. Default "interaction".
        reduction_ratio: int, as in `SqueezeExcitation`. Default 3.
        **kwargs: as in `RankingModel`.

    Input shape: a dict of `{feature: [batch]}`.
    Output shape: float32 logits `[batch, 1]`.

    Raises:
        ValueError: if there is no pair of vectors, or an argument is out of
            its range.

    Example:
        >>> model = FiBiNET({"user": 1000, "item": 500}, embedding_dim=8)
        >>> ids = tf.constant([1, 2])
        >>> model({"user": ids, "item": ids}).shape
        TensorShape([2, 1])

    Reference:
        "FiBiNET" (arXiv 1905.09433).
    """

    additive_dim = 1

    def __init__(
        self,
        categorical: Any,
        numeric: Any = None,
        *,
        bilinear_type: str = "interaction",
        reduction_ratio: int = 3,
        **kwargs: Any,
    ):
        if len(categorical) < 2:
            raise ValueError(
                "`categorical` must hold at least two features. "
                f"Received: categorical={dict(categorical)}"
            )
        super().__init__(categorical, numeric, **kwargs)
        self.bilinear_type = bilinear_type
        self.reduction_ratio = reduction_ratio
        self.senet = SqueezeExcitation(
            reduction_ratio, name="senet", dtype=self.inner_dtype
        )
        self.bilinear = BilinearInteraction(
            bilinear_type, name="bilinear", dtype=self.inner_dtype
        )
        self.senet_bilinear = BilinearInteraction(
            bilinear_type, name="senet_bilinear", dtype=self.inner_dtype
        )
        self.tower = self.make_tower(self.hidden_units)
        self.head = tf.keras.layers.Dense(1, name="head", dtype="float32")
        self.linear: Any = None
        if self.numeric:
            self.linear = tf.keras.layers.Dense(
                1, use_bias=False, name="linear", dtype="float32"
            )

    @property
    def pairs_dim(self) -> int:
        """Width of the products of all pairs, side by side."""
        fields = len(self.categorical)
        return fields * (fields - 1) // 2 * self.embedding_dim

    def build(self, input_shape: Any = None) -> None:
        vectors = (None, len(self.categorical), self.embedding_dim)
        for layer in (self.senet, self.bilinear, self.senet_bilinear):
            build_inner(layer, vectors)
        width = 2 * self.pairs_dim + len(self.numeric)
        build_inner(self.tower, (None, width))
        build_inner(self.head, (None, (width, *self.tower.units)[-1]))
        if self.linear is not None:
            build_inner(self.linear, (None, len(self.numeric)))
        super().build(input_shape)

    def logits(
        self, vectors: tf.Tensor, numbers: tf.Tensor | None, training: bool
    ) -> tf.Tensor:
        products = [
            self.bilinear(vectors),
            self.senet_bilinear(self.senet(vectors)),
        ]
        inputs = [tf.reshape(p, [-1, self.pairs_dim]) for p in products]
        if numbers is not None:
            inputs.append(numbers)
        deep = self.tower(tf.concat(inputs, axis=1), training=training)
        logits = self.head(deep)
        if numbers is not None:
            logits += self.linear(numbers)
        return logits

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            bilinear_type=self.bilinear_type,
            reduction_ratio=self.reduction_ratio,
        )
        return config
