"""A full-precision embedding table."""

from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.layers.table_layer import TableLayer
from mec_tf.layers.variables import add_raw_weight, raw


@tf.keras.utils.register_keras_serializable("mec_tf")
class TableEmbedding(TableLayer):
    """`tf.keras.layers.Embedding` whose lookups read rows, not the table.

    Keras 3's `Embedding` gathers from the value of its variable; once an
    optimizer has written single rows, reading that value copies the whole
    table. This layer gathers from the variable. It is what the models of
    this package hold before compression.

    Args:
        input_dim: int, rows of the table.
        output_dim: int, width of a vector.
        embeddings_initializer: Keras initializer of the `[input_dim,
            output_dim]` table. Default "uniform".
        **kwargs: of `TableLayer` and `tf.keras.layers.Layer`.

    Input shape: integer ids of any shape.
    Output shape: the same with `output_dim` added, in `compute_dtype`.

    Example:
        >>> layer = TableEmbedding(100, 8)
        >>> layer(tf.constant([[1, 2, 3]])).shape
        TensorShape([1, 3, 8])
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        *,
        embeddings_initializer: Any = "uniform",
        **kwargs: Any,
    ):
        super().__init__(input_dim, output_dim, **kwargs)
        self.embeddings_initializer = tf.keras.initializers.get(
            embeddings_initializer
        )

    def build(self, input_shape: Any = None) -> None:
        self.embeddings = add_raw_weight(
            self,
            "embeddings",
            (self.stored_rows, self.output_dim),
            "float32",
            self.embeddings_initializer,
            trainable=True,
        )
        self.built = True

    def warm_start(
        self,
        table: np.ndarray,
        counts: np.ndarray | None = None,
        *,
        seed: int = 0,
    ) -> None:
        rows = self.rows_to_store(table, counts)
        if not self.built:
            self.build()
        raw(self.embeddings).assign(rows)

    def lookup(
        self, rows: tf.Tensor, training: bool, counted: tf.Tensor | None = None
    ) -> tf.Tensor:
        return tf.gather(raw(self.embeddings), rows)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["embeddings_initializer"] = tf.keras.initializers.serialize(
            self.embeddings_initializer
        )
        return config
