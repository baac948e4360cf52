"""One vector of all ids of a field."""

from typing import Any

import tensorflow as tf

from mec_tf.layers.code_lookup_embedding import CodeLookupEmbedding
from mec_tf.layers.ids import to_integers
from mec_tf.layers.masked_pooling import MODES, divided
from mec_tf.layers.nesting import build_inner, serialize_unbuilt
from mec_tf.quantizers.tracing import traced_for_xla


@tf.keras.utils.register_keras_serializable("mec_tf")
class PooledEmbedding(tf.keras.layers.Layer):
    """Looks up the ids of a multi-hot field and pools their vectors.

    As `tf.nn.embedding_lookup_sparse` does, on ragged ids or on padded ones:
    where the table has `mask_zero=True`, ids below 1 are padding. Ids out of
    the table's range count with the vector that the table gives them. An
    example without ids gives the zero vector.

    The vectors of a `CodeLookupEmbedding` are never made: its codes add
    codebook entries up (not under XLA). Other tables are looked up and
    multiplied by the weights.

    Args:
        table: an embedding layer, of this package or
            `tf.keras.layers.Embedding`. `compress` puts another one in its
            place, under the attribute `table`.
        combiner: "mean" (default): the weighted sum over the sum of the
            weights; "sum"; or "sqrtn": over the square root of the sum of
            the squared weights.
        **kwargs: of `tf.keras.layers.Layer`.

    Call arguments:
        inputs: integer ids, ragged `[batch, None]` or dense
            `[batch, length]`.
        weights: floats of the same shape, ragged where the ids are. Default:
            1 for every id. Weights of 0 mask ids out.

    Output shape: `[batch, dim]`, in `compute_dtype`.

    Raises:
        ValueError: if `combiner` is unknown, or ids have another rank.

    Example:
        >>> layer = PooledEmbedding(TableEmbedding(100, 8), "sum")
        >>> layer(tf.ragged.constant([[1, 2, 3], [4]])).shape
        TensorShape([2, 8])
    """

    # What `table` is now is in the configuration.
    config_holds_tables = True

    def __init__(
        self,
        table: tf.keras.layers.Layer,
        combiner: str = "mean",
        **kwargs: Any,
    ):
        if combiner not in MODES:
            raise ValueError(
                f"`combiner` must be one of {MODES}. "
                f"Received: combiner={combiner!r}"
            )
        # Keras would cast float ids to float16 in mixed precision.
        super().__init__(autocast=False, **kwargs)
        self.table = table
        self.combiner = combiner

    def build(self, input_shape: Any = None) -> None:
        build_inner(self.table, input_shape)
        self.built = True

    def call(
        self, inputs: Any, weights: Any = None, training: bool = False
    ) -> tf.Tensor:
        if len(inputs.shape) != 2:
            raise ValueError(
                "`inputs` must be ids [batch, length]. "
                f"Received shape {tuple(inputs.shape)}"
            )
        ragged = isinstance(inputs, tf.RaggedTensor)
        by_codes = isinstance(self.table, CodeLookupEmbedding)
        if ragged or (by_codes and not traced_for_xla()):
            pooled = self._pool_flat(inputs, weights, training)
        else:
            pooled = self._pool_rows(inputs, weights, training)
        return tf.cast(pooled, self.compute_dtype)

    def _pool_rows(self, ids: Any, weights: Any, training: bool) -> tf.Tensor:
        ids = to_integers(tf.convert_to_tensor(ids))
        factors = tf.ones(tf.shape(ids), tf.float32)
        if weights is not None:
            factors = tf.cast(weights, tf.float32)
        if self._masks_zero():
            factors = tf.where(ids > 0, factors, 0.0)
        vectors = self._look_up(ids, training)
        # Faster than a pass that masks all vectors, and one that adds them.
        total = tf.matmul(tf.cast(factors, vectors.dtype)[:, None], vectors)
        return divided(total[:, 0], factors, self.combiner)

    def _pool_flat(self, ids: Any, weights: Any, training: bool) -> tf.Tensor:
        """Pools ids as one list, and the example that each belongs to."""
        if isinstance(ids, tf.RaggedTensor):
            count = tf.cast(ids.nrows(), tf.int32)
            examples, ids = tf.cast(ids.value_rowids(), tf.int32), ids.values
            if weights is not None:
                weights = weights.values
        else:
            count, length = tf.unstack(tf.shape(ids))
            examples = tf.repeat(tf.range(count), length)
            ids = tf.reshape(ids, [-1])
            if weights is not None:
                weights = tf.reshape(weights, [-1])
        ids = to_integers(tf.convert_to_tensor(ids))
        if weights is not None:
            weights = tf.cast(weights, tf.float32)
        if self._masks_zero():
            kept = ids > 0
            ids, examples = (
                tf.boolean_mask(part, kept) for part in (ids, examples)
            )
            if weights is not None:
                weights = tf.boolean_mask(weights, kept)

        def add(values: tf.Tensor) -> tf.Tensor:
            return tf.math.unsorted_segment_sum(values, examples, count)

        if isinstance(self.table, CodeLookupEmbedding):
            total = self.table.sums(ids, weights, examples, count)
        else:
            vectors = self._look_up(ids, training)
            if weights is not None:
                vectors *= tf.cast(weights, vectors.dtype)[:, None]
            total = add(vectors)
        if weights is None:
            weights = tf.ones(tf.shape(ids), tf.float32)
        return divided(total, weights, self.combiner, add)

    def _masks_zero(self) -> bool:
        return getattr(self.table, "mask_zero", False)

    def _look_up(self, ids: tf.Tensor, training: bool) -> tf.Tensor:
        if isinstance(self.table, tf.keras.layers.Embedding):
            return self.table(ids)  # takes no `training`
        return self.table(ids, training=training)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        return None  # The masked axis is gone.

    def compute_output_shape(self, input_shape: Any) -> Any:
        return type(input_shape)([input_shape[0], self.table.output_dim])

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            table=serialize_unbuilt(self.table), combiner=self.combiner
        )
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "PooledEmbedding":
        table = tf.keras.layers.deserialize(config["table"])
        return cls(**{**config, "table": table})
