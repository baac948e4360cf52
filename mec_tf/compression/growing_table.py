"""A frozen table with new rows behind it that learn."""

from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.layers import (
    CodeLookupEmbedding,
    TableLayer,
    TieredEmbedding,
)
from mec_tf.layers.variables import add_raw_weight, raw
from mec_tf.quantizers import nearest_additive


class GrowingTable(TableLayer):
    """Answers old ids from a frozen table, new ones from float rows.

    New rows are answered in the quantized form that they will have, with
    straight-through gradients: they learn to live with the codebooks as they
    are. Lives as long as a fit of the new rows does; it is not saved.

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
        coded = tf.stop_gradient(quantized(self.table, new))
        new = coded + new - tf.stop_gradient(new)
        return tf.where(is_new[..., None], new, tf.cast(old, tf.float32))

    def new_vectors(self) -> np.ndarray:
        """The new rows as they stand: float32 `[new rows, output_dim]`."""
        return raw(self.embeddings).numpy()[:-1]


def quantized(table: tf.keras.layers.Layer, vectors: tf.Tensor) -> tf.Tensor:
    """Vectors `[..., D]` as they come back from a table that took them in."""
    if isinstance(table, TieredEmbedding):
        return quantized(table.tiers[-1], vectors)
    if not isinstance(table, CodeLookupEmbedding):
        return vectors
    books, rotation = table_codebooks(table)
    flat = tf.reshape(vectors, [-1, table.output_dim])
    split = table.output_dim - table.additive_dim
    if rotation is not None:
        turned = flat[:, :split] @ rotation
        flat = tf.concat([turned, flat[:, split:]], axis=1)
    _, answer = nearest_additive(flat, books, table.additive_dim)
    if rotation is not None:
        coded, rest = answer[:, : table.code_dim], answer[:, table.code_dim :]
        turned = tf.matmul(coded, rotation, transpose_b=True)
        answer = tf.concat([turned, rest], axis=1)
    return tf.reshape(answer, tf.shape(vectors))


def table_codebooks(
    table: CodeLookupEmbedding,
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Codebooks `[M, K, entry width]` and rotation, float32."""
    shape = (table.num_subspaces, table.codebook_size, table.entry_dim)
    books = tf.reshape(tf.cast(raw(table.codebooks), tf.float32), shape)
    if not table.rotated:
        return books, None
    return books, tf.cast(raw(table.rotation), tf.float32)
