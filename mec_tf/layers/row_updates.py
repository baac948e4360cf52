"""Steps of the rows that a batch touched, and of no others."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from mec_tf.layers.variables import raw
from mec_tf.quantizers.tracing import traced_for_xla


class DistinctRows(NamedTuple):
    """The distinct rows of a batch, with the places of its lookups.

    Under XLA, whose shapes are static, there are as many slots as lookups;
    the spare ones repeat slot 0, so that writing them changes nothing.

    Attributes:
        rows: integers `[u]`.
        places: int32 `[n]`, the slot of each lookup.
        owners: int32 `[u]`, the slot that each slot repeats; None where no
            slot is spare.
    """

    rows: tf.Tensor
    places: tf.Tensor
    owners: tf.Tensor | None

    def shared(self, values: tf.Tensor) -> tf.Tensor:
        """Values `[u, ...]`, in spare slots those of slot 0."""
        return values if self.owners is None else tf.gather(values, self.owners)

    def summed(self, values: tf.Tensor) -> tf.Tensor:
        """Sums `[u, ...]` of the lookups' values `[n, ...]`."""
        sums = tf.math.unsorted_segment_sum(
            values, self.places, tf.shape(self.rows)[0]
        )
        return self.shared(sums)


def distinct_rows(rows: tf.Tensor) -> DistinctRows:
    """Groups row numbers `[n]`."""
    if not traced_for_xla():
        distinct, places = tf.unique(rows)
        return DistinctRows(distinct, places, None)
    count = tf.shape(rows)[0]
    order = tf.argsort(rows, stable=True)
    in_order = tf.gather(rows, order)
    is_new = tf.not_equal(in_order[1:], in_order[:-1])
    slots = tf.cumsum(tf.pad(tf.cast(is_new, tf.int32), [[1, 0]]))[:count]
    places = tf.scatter_nd(order[:, None], slots, [count])
    owners = tf.range(count)
    owners = tf.where(owners <= tf.reduce_max(slots), owners, 0)
    distinct = tf.math.unsorted_segment_max(in_order, slots, count)
    return DistinctRows(tf.gather(distinct, owners), places, owners)


class RowOptimizer(NamedTuple):
    """How rows move by their gradients.

    Attributes:
        slot_width: floats a row of `dim` columns keeps, as a function of
            `dim`.
        direction: `(gradients [u, dim], slots [u, width], count)` to the
            change for a learning rate of 1, and new slots; `count` is the
            number of the step, from 1.
    """

    slot_width: Callable[[int], int]
    direction: Callable[
        [tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]
    ]


_EPSILON = 1e-8
_BETA_1, _BETA_2 = 0.9, 0.999


def _sgd(gradients, slots, count):
    return gradients, slots


def _adagrad(gradients, slots, count):
    squares = tf.reduce_mean(tf.square(gradients), axis=-1, keepdims=True)
    slots += squares
    return gradients / (tf.sqrt(slots) + _EPSILON), slots


def _adam(gradients, slots, count):
    first, second = tf.split(slots, 2, axis=-1)
    first = _BETA_1 * first + (1.0 - _BETA_1) * gradients
    second = _BETA_2 * second + (1.0 - _BETA_2) * tf.square(gradients)
    mean = first / (1.0 - tf.pow(_BETA_1, count))
    variance = second / (1.0 - tf.pow(_BETA_2, count))
    slots = tf.concat([first, second], axis=-1)
    return mean / (tf.sqrt(variance) + _EPSILON), slots


# "adagrad" is row-wise: one float a row. "adam" is lazy: rows that no batch
# touches stand still.
ROW_OPTIMIZERS = {
    "sgd": RowOptimizer(lambda dim: 0, _sgd),
    "adagrad": RowOptimizer(lambda dim: 1, _adagrad),
    "adam": RowOptimizer(lambda dim: 2 * dim, _adam),
}


def rows_of(slots: Any, rows: tf.Tensor) -> tf.Tensor:
    """Rows of a weight; of width 0 where there is none."""
    if slots is None:
        return tf.zeros([tf.shape(rows)[0], 0])
    return tf.gather(raw(slots), rows)


def set_rows(weight: Any, rows: tf.Tensor, values: tf.Tensor) -> None:
    """Writes rows of a weight, if there is one."""
    if weight is not None:
        raw(weight).scatter_update(tf.IndexedSlices(values, rows))


def of_all_replicas(
    rows: tf.Tensor, counted: tf.Tensor, gradients: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Joins the lookups of all replicas, so that tables do not drift apart.

    Args:
        rows: integers `[n]`.
        counted: booleans `[n]`.
        gradients: float32 `[n, D]`.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return rows, counted, gradients
    # One tensor: two collectives may meet in another order on each replica.
    # Row numbers are split, as float32 holds integers up to 2^24.
    high, low = tf.math.floordiv(rows, 4096), tf.math.floormod(rows, 4096)
    extra = [tf.cast(v, tf.float32)[:, None] for v in (high, low, counted)]
    joined = context.all_gather(tf.concat([*extra, gradients], axis=1), axis=0)
    rows = tf.cast(joined[:, 0], rows.dtype) * 4096
    rows += tf.cast(joined[:, 1], rows.dtype)
    return rows, joined[:, 2] > 0, joined[:, 3:]
