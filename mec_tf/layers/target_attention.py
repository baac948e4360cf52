"""A sequence seen from a target: the attention of DIN."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mec_tf.layers.masked_pooling import masked_pooling
from mec_tf.layers.mlp import MLP
from mec_tf.layers.nesting import build_inner


@tf.keras.utils.register_keras_serializable("mec_tf")
class TargetAttention(tf.keras.layers.Layer):
    """Sums a sequence's vectors, each weighted by what the target makes of it.

    A small tower turns `[query, key, query - key, query * key]` into the
    weight of a key. As in the paper the weights are not normalized: their
    sum tells how much of the sequence bears on the target. Padding has
    weight 0, and a sequence that is all padding gives the zero vector.

    Args:
        units: widths of the tower's hidden layers. Default (36,).
        activation: Keras activation of its hidden layers. Default "sigmoid".
        softmax: bool, whether the weights of a sequence are made positive and
            to sum to 1. Default False.
        **kwargs: of `tf.keras.layers.Layer`.

    Call arguments:
        inputs: `[query, keys]`, floats `[batch, dim]` and `[batch, length,
            dim]`.
        mask: bool `[batch, length]`, False at padding; or, as Keras passes
            it on, `[mask of the query, mask of the keys]`, of which the first
            is not used; or None: every position counts.

    Output shape: `[batch, dim]`, in `compute_dtype`.

    Example:
        >>> query, keys = tf.ones([2, 8]), tf.ones([2, 5, 8])
        >>> TargetAttention()([query, keys]).shape
        TensorShape([2, 8])

    Reference:
        "Deep Interest Network" (arXiv 1706.06978), section 4.3. The authors'
        own code has sigmoid in the attention's tower, too.
    """

    def __init__(
        self,
        units: Sequence[int] = (36,),
        activation: Any = "sigmoid",
        softmax: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.units = tuple(units)
        self.activation = tf.keras.activations.get(activation)
        self.softmax = softmax
        self.supports_masking = True
        dtype = kwargs.get("dtype")
        self.tower = MLP(self.units, self.activation, name="tower", dtype=dtype)
        self.head = tf.keras.layers.Dense(1, name="head", dtype=dtype)

    def build(self, input_shape: Any) -> None:
        width = 4 * input_shape[1][-1]
        build_inner(self.tower, (None, None, width))
        width = (width, *self.tower.units)[-1]
        build_inner(self.head, (None, None, width))
        self.built = True

    def call(self, inputs: Any, mask: Any = None) -> tf.Tensor:
        query, keys = inputs
        if isinstance(mask, (list, tuple)):
            mask = mask[1]
        if mask is None:
            mask = tf.ones(tf.shape(keys)[:2], tf.bool)
        query = tf.broadcast_to(query[:, None, :], tf.shape(keys))
        pairs = tf.concat([query, keys, query - keys, query * keys], axis=-1)
        weights = self.head(self.tower(pairs))
        if self.softmax:
            weights = _softmax(weights, mask)
        return masked_pooling(weights * keys, mask, "sum")

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        return None  # The masked axis is gone.

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            units=list(self.units),
            activation=tf.keras.activations.serialize(self.activation),
            softmax=self.softmax,
        )
        return config


def _softmax(weights: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Over the positions that count, in float32; `[batch, length, 1]`."""
    scores = tf.cast(weights, tf.float32)
    # Finite: a row that is all padding must not be NaN.
    scores = tf.where(mask[..., None], scores, tf.float32.min)
    return tf.cast(tf.nn.softmax(scores, axis=1), weights.dtype)
