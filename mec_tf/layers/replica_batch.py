"""The rows that a batch looks up, on all replicas of a strategy."""

from typing import NamedTuple

import tensorflow as tf

from mec_tf.layers.ids import deduplicated
from mec_tf.layers.variables import KERAS_3


class ReplicaBatch(NamedTuple):
    """The distinct rows of a global batch; the same on every replica.

    Every replica holds the whole table, so row numbers are all that has to be
    exchanged for each to see the batch that one replica alone would see.

    Attributes:
        rows: integers `[u]`, in the order of their first lookup.
        lookups: float32 `[u]`, how often each counts, on all replicas.
        own_lookups: float32 `[u]`, how often on this one.
        seed: int64 scalar, of what the batch draws.
        own: int32 `[v]`, places of this replica's rows; None where they are
            all, because there is one replica.
        scale: float32 `[v, 1]`, by which this replica's rows take gradients
            of a loss of the whole batch, so that the mean over replicas is
            the gradient that one replica would have. None where `own` is.
    """

    rows: tf.Tensor
    lookups: tf.Tensor
    own_lookups: tf.Tensor
    seed: tf.Tensor
    own: tf.Tensor | None = None
    scale: tf.Tensor | None = None

    def vectors(self, table: tf.Variable, vectors: tf.Tensor) -> tf.Tensor:
        """Vectors `[u, D]` of all rows, with gradients to those of this one.

        Each replica exchanges gradients of the rows it looked up itself, not
        of all, so that what is exchanged does not grow with their number.

        Args:
            table: `[N, D]`.
            vectors: `[v, D]`, gathered from it by this replica.
        """
        if self.own is None:
            return vectors
        # An exact zero that carries the gradient.
        passage = (vectors - tf.stop_gradient(vectors)) * self.scale
        passage = tf.math.unsorted_segment_sum(
            passage, self.own, tf.shape(self.rows)[0]
        )
        return tf.stop_gradient(tf.gather(table, self.rows)) + passage

    def of_own(self, values: tf.Tensor) -> tf.Tensor:
        """Of values `[u, ...]` those of this replica's rows, `[v, ...]`."""
        return values if self.own is None else tf.gather(values, self.own)


def replica_batch(
    rows: tf.Tensor, lookups: tf.Tensor, seed: int
) -> ReplicaBatch:
    """Joins the rows of all replicas.

    Args:
        rows: integers `[v]`, the distinct ones of this replica.
        lookups: float32 `[v]`, how often each counts.
        seed: of the layer. Worker processes may hold different ones; the
            largest serves all.
    """
    drawn = tf.cast(seed, tf.int64)
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return ReplicaBatch(rows, lookups, lookups, drawn)
    this = tf.cast(context.replica_id_in_sync_group, tf.int64)
    columns = [
        rows,
        lookups,
        *(tf.fill(tf.shape(rows), value) for value in (drawn, this)),
    ]
    # One tensor: two collectives may meet in another order on each replica.
    joined = tf.stack([tf.cast(column, tf.int64) for column in columns], 1)
    joined = context.all_gather(joined, axis=0)
    whole, places = deduplicated(tf.cast(joined[:, 0], rows.dtype))
    counts = tf.cast(joined[:, 1], tf.float32)
    mine = tf.equal(joined[:, 3], this)

    def summed(values: tf.Tensor) -> tf.Tensor:
        return tf.math.unsorted_segment_sum(values, places, tf.shape(whole)[0])

    own = tf.boolean_mask(places, mine)
    holders = tf.gather(summed(tf.ones_like(counts)), own)
    return ReplicaBatch(
        rows=whole,
        lookups=summed(counts),
        own_lookups=summed(tf.where(mine, counts, 0.0)),
        seed=tf.reduce_max(joined[:, 2]),
        own=own,
        scale=(context.num_replicas_in_sync / holders)[:, None],
    )


def listed_once(loss: tf.Tensor) -> tf.Tensor:
    """A loss that every replica adds alike, so that Keras reports it once.

    Replicas of one process are traced in turns, and Keras 3 keeps what they
    add in one list, which each of them sums up. Gradients are not concerned:
    a replica's are those of its own loss.
    """
    context = tf.distribute.get_replica_context()
    if not KERAS_3 or context is None or context.num_replicas_in_sync == 1:
        return loss
    here = len(context.strategy.extended.worker_devices)
    first = tf.equal(context.replica_id_in_sync_group % here, 0)
    return loss - tf.stop_gradient(tf.where(first, 0.0, loss))
