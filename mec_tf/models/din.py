"""Deep Interest Network."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from mec_tf.layers.nesting import build_inner
from mec_tf.layers.target_attention import TargetAttention
from mec_tf.models.ranking_model import RankingModel


@tf.keras.utils.register_keras_serializable("mec_tf")
class DIN(RankingModel):
    """A tower on the vectors, with sequences seen from their targets.

    A user's history is summed with weights that an attention gives each of
    its items for the item at hand, the target; both are rows of one table.
    The tower's layers have ReLU; the paper's Dice is left out.

    Args:
        categorical: `{feature: rows of its vocabulary}`, sequences included.
        numeric: `{feature: (mean, std)}` of the signed logarithm.
        sequences: `{sequence feature: its target}`; at least one.
        attention_units: widths of the attention's hidden layers. Default
            (36,).
        attention_softmax: bool, whether the weights of a sequence are made
            to sum to 1; the paper's are not. Default False.
        **kwargs: as in `RankingModel`.

    Input shape: a dict of `{feature: [batch]}`, and `[batch, length]` for
        the sequences.
    Output shape: float32 logits `[batch, 1]`.

    Raises:
        ValueError: if there is no sequence.

    Example:
        >>> model = DIN(
        ...     {"user": 1000, "item": 500, "history": 500},
        ...     sequences={"history": "item"},
        ... )
        >>> ids = tf.constant([1, 2])
        >>> history = tf.constant([[3, 4, 0], [5, 0, 0]])
        >>> model({"user": ids, "item": ids, "history": history}).shape
        TensorShape([2, 1])

    Reference:
        "Deep Interest Network" (arXiv 1706.06978).
    """

    def __init__(
        self,
        categorical: Any,
        numeric: Any = None,
        *,
        sequences: Mapping[str, str] | None = None,
        attention_units: Sequence[int] = (36,),
        attention_softmax: bool = False,
        **kwargs: Any,
    ):
        if not sequences:
            raise ValueError(
                "`sequences` must map a sequence feature to its target: DIN "
                f"is for logs with a history. Received: sequences={sequences}"
            )
        super().__init__(categorical, numeric, sequences=sequences, **kwargs)
        self.attention_units = tuple(attention_units)
        self.attention_softmax = attention_softmax
        self.attention = {
            name: TargetAttention(
                self.attention_units,
                softmax=attention_softmax,
                # Sequences may have any names; those of layers are not free.
                name=f"attention_{place}",
                dtype=self.inner_dtype,
            )
            for place, name in enumerate(self.sequences)
        }
        self.tower = self.make_tower(self.hidden_units)
        self.head = tf.keras.layers.Dense(1, name="head", dtype="float32")

    def build(self, input_shape: Any = None) -> None:
        shapes = [
            (None, self.embedding_dim),
            (None, None, self.embedding_dim),
        ]
        for layer in self.attention.values():
            build_inner(layer, shapes)
        build_inner(self.tower, (None, self.flat_dim))
        build_inner(self.head, (None, (self.flat_dim, *self.tower.units)[-1]))
        super().build(input_shape)

    def pool(
        self, name: str, vectors: tf.Tensor, mask: tf.Tensor, target: tf.Tensor
    ) -> tf.Tensor:
        return self.attention[name]([target, vectors], mask=mask)

    def logits(
        self, vectors: tf.Tensor, numbers: tf.Tensor | None, training: bool
    ) -> tf.Tensor:
        flat = self.flatten(vectors, numbers)
        return self.head(self.tower(flat, training=training))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            attention_units=list(self.attention_units),
            attention_softmax=self.attention_softmax,
        )
        return config
