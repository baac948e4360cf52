"""Several full-precision tables, one variable."""

from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.layers.fused_tables import FusedTables
from mec_tf.layers.table_embedding import TableEmbedding
from mec_tf.layers.variables import raw


@tf.keras.utils.register_keras_serializable("mec_tf")
class FusedTableEmbedding(FusedTables):
    """`TableEmbedding`s of one width, looked up together.

    Weights: `embeddings`, float32 `[stored rows of all tables, output_dim]`.

    Args:
        tables: a dict for each table, as in `FusedTables`.
        output_dim: int, width of a vector.
        **kwargs: of `FusedTables`.

    Input shape: integer ids `[..., tables]`.
    Output shape: `[..., tables, output_dim]`.

    Example:
        >>> layers = {"a": TableEmbedding(9, 4), "b": TableEmbedding(7, 4)}
        >>> for layer in layers.values():
        ...     layer.build()
        >>> fused = FusedTableEmbedding.from_layers(layers)
        >>> fused(tf.constant([[8, 6]])).shape
        TensorShape([1, 2, 4])
    """

    @classmethod
    def layout(cls, layer: tf.keras.layers.Layer) -> dict[str, Any] | None:
        # A subclass may look up otherwise.
        if type(layer) is not TableEmbedding or layer.mask_zero:
            return None
        return {
            "output_dim": layer.output_dim,
            "additive_dim": layer.additive_dim,
        }

    def build(self, input_shape: Any = None) -> None:
        shape = (self.entries, self.output_dim)
        self.embeddings = self._add_part("embeddings", shape, "float32")
        self.built = True

    def lookup_in(self, rows: tf.Tensor, places: np.ndarray) -> tf.Tensor:
        return tf.gather(raw(self.embeddings), rows)
