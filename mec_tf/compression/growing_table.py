"""A frozen table with new rows behind it that learn."""

from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.layers import TableLayer
from mec_tf.layers.variables import add_raw_weight, raw


class GrowingTable(TableLayer):
    """Answers old ids from a frozen table, new ones from float rows.

    Lives as long as a fit of the new rows does; it is not saved.

    Args:
        table: the built table layer of the old ids.
        start: float `[new rows, output_dim]`, where the new rows start.
        **kwargs: of `tf.keras.layers.Layer`.
    """

    def __init__(
        self, table: tf.keras.layers.Layer, start: np.ndarray, **kwargs: Any
    ):
        self.old_rows = table.input_dim
        super().__init__(
            self.old_rows + len(start),
            table.output_dim,
            mask_zero=getattr(table, "mask_zero", False),
            oov=getattr(table, "oov", "zero"),
            **kwargs,
        )
        self.table = table
        self.table.trainable = False
        self._start = np.asarray(start, np.float32)

    def build(self, input_shape: Any = None) -> None:
        # Lookups of old ids land on the last row, which nobody reads: an
        # optimizer would move any row that a batch touches.
        start = np.pad(self._start, [(0, 1), (0, 0)])
        self.embeddings = add_raw_weight(
            self, "embeddings", start.shape, "float32", start, trainable=True
        )
        self.built = True

    def lookup(
        self, rows: tf.Tensor, training: bool, counted: tf.Tensor | None = None
    ) -> tf.Tensor:
        is_new = rows >= self.old_rows
        old = self.table(tf.where(is_new, tf.zeros_like(rows), rows))
        spare = tf.cast(len(self._start), rows.dtype)
        place = tf.where(is_new, rows - self.old_rows, spare)
        new = tf.gather(raw(self.embeddings), place)
        return tf.where(is_new[..., None], new, tf.cast(old, tf.float32))

    def new_vectors(self) -> np.ndarray:
        """The new rows as they stand: float32 `[new rows, output_dim]`."""
        return raw(self.embeddings).numpy()[:-1]
