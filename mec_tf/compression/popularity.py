"""How often each row of each table is looked up in the training data."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.compression.rebuild import build, rebuild
from mec_tf.compression.tables import Table, walk
from mec_tf.layers.ids import to_integers
from mec_tf.layers.table_layer import TableLayer
from mec_tf.layers.variables import add_raw_weight, raw


class _IdCounter(TableLayer):
    """Stands in for a table and counts the ids that reach it."""

    def build(self, input_shape: Any = None) -> None:
        self.counts = add_raw_weight(
            self, "counts", (self.input_dim,), "int64", "zeros"
        )
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        if isinstance(inputs, tf.RaggedTensor):
            return tf.ragged.map_flat_values(self.call, inputs)
        ids = to_integers(tf.convert_to_tensor(inputs))
        flat = tf.reshape(ids, [-1])
        inside = tf.logical_and(flat >= 0, flat < self.input_dim)
        flat = tf.boolean_mask(flat, inside)
        counts = raw(self.counts)
        if isinstance(counts, tf.Variable):  # not while Keras infers shapes
            counts.scatter_add(
                tf.IndexedSlices(tf.ones_like(flat, tf.int64), flat)
            )
        return tf.zeros(
            tf.concat([tf.shape(ids), [self.output_dim]], axis=0),
            self.compute_dtype,
        )


def count_ids(
    model: tf.keras.Model,
    tables: list[Table],
    train: Iterable[Any],
    first_batch: Any,
    model_fn: Any = None,
) -> dict[str, np.ndarray]:
    """One pass over the training data.

    Args:
        model: the built model.
        tables: its tables.
        train: batches `(x, y, ...)`.
        first_batch: one of them, to build on.
        model_fn: as in `rebuild`.

    Returns:
        Counts, int64 `[rows]`, by table path.
    """

    def counter(table: Table):
        return lambda: _IdCounter(
            table.rows,
            table.dim,
            mask_zero=getattr(table.layer, "mask_zero", False),
            name=table.layer.name,
        )

    counting = rebuild(
        model, {t.path: counter(t) for t in tables}, first_batch, model_fn
    )
    layers = dict(walk(counting))
    for table in tables:  # building looked at the first batch already
        raw(layers[table.path].counts).assign(np.zeros(table.rows, np.int64))

    @tf.function(reduce_retracing=True)
    def look(batch):
        build(counting, batch)

    for batch in train:
        look(batch)
    return {
        table.path: raw(layers[table.path].counts).numpy() for table in tables
    }


def ordered_by_popularity(counts: np.ndarray) -> bool:
    """Whether ids are ordered by popularity, row 0 apart."""
    rest = counts[1:]
    return len(rest) > 0 and bool((rest[:-1] >= rest[1:]).all())
