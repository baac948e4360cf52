"""Adagrad that updates only the rows a batch touched."""

from typing import Any

import tensorflow as tf

from mec_tf.optimizers.lazy_rows import LazyRows, raw


@tf.keras.utils.register_keras_serializable("mec_tf")
class LazyAdagrad(LazyRows, tf.keras.optimizers.Adagrad):
    """Adagrad whose cost on an embedding table does not grow with the table.

    Where a gradient comes as `tf.IndexedSlices` (a gather from a table),
    accumulators and rows are read and written for the rows of the batch
    only. That is Adagrad, in which a row without a gradient does not move. A
    row's occurrences in a batch are summed first (Keras 3's Adagrad adds the
    square of each to the accumulator), and clipped as sums; `weight_decay`
    shrinks the rows of the batch only.

    What walks the whole table in spite of this: see `LazyAdam`.

    Args:
        learning_rate: float or schedule. Default 0.001.
        **kwargs: of `tf.keras.optimizers.Adagrad`, less `use_ema`,
            `gradient_accumulation_steps` and `loss_scale_factor`.

    Raises:
        ValueError: if one of those three is set.

    Example:
        >>> optimizer = LazyAdagrad(0.05, initial_accumulator_value=0.01)

    Reference:
        "Adaptive Subgradient Methods for Online Learning and Stochastic
        Optimization" (JMLR 2011).
    """

    def __init__(self, learning_rate: Any = 0.001, **kwargs: Any):
        kwargs.setdefault("name", "lazy_adagrad")
        super().__init__(learning_rate, **kwargs)

    def update_rows(
        self,
        index: int,
        rows: tf.Tensor,
        gradient: tf.Tensor,
        learning_rate: tf.Tensor,
    ) -> tf.Tensor:
        accumulator = raw(self._accumulators[index])
        total = tf.gather(accumulator, rows) + tf.square(gradient)
        accumulator.scatter_update(tf.IndexedSlices(total, rows))
        epsilon = tf.cast(self.epsilon, gradient.dtype)
        return learning_rate * gradient / tf.sqrt(total + epsilon)
