"""Adam that updates only the rows a batch touched."""

from typing import Any

import tensorflow as tf

from mec_tf.optimizers.lazy_rows import LazyRows, raw


@tf.keras.utils.register_keras_serializable("mec_tf")
class LazyAdam(LazyRows, tf.keras.optimizers.Adam):
    """Adam whose cost on an embedding table does not grow with the table.

    Where a gradient comes as `tf.IndexedSlices` (a gather from a table),
    moments and rows are read and written for the rows of the batch only;
    moments of other rows stand still instead of decaying. Dense gradients
    are plain Adam's. A row's occurrences in a batch are summed first, and
    clipped as sums; `weight_decay` shrinks the rows of the batch only.

    A regularizer or a constraint of the whole table still walks it; so does
    Keras 3's `LossScaleOptimizer`, which `mixed_float16` wraps around any
    optimizer to look for infinities (`mixed_bfloat16` needs none).

    Args:
        learning_rate: float or schedule. Default 0.001.
        **kwargs: of `tf.keras.optimizers.Adam`, less `amsgrad`, `use_ema`,
            `gradient_accumulation_steps` and `loss_scale_factor`.

    Raises:
        ValueError: if one of those four is set.

    Example:
        >>> optimizer = LazyAdam(0.01, clipnorm=1.0)
    """

    def __init__(self, learning_rate: Any = 0.001, **kwargs: Any):
        kwargs.setdefault("name", "lazy_adam")
        super().__init__(learning_rate, **kwargs)

    def update_rows(
        self,
        index: int,
        rows: tf.Tensor,
        gradient: tf.Tensor,
        learning_rate: tf.Tensor,
    ) -> tf.Tensor:
        momentum = raw(self._momentums[index])
        velocity = raw(self._velocities[index])
        dtype = gradient.dtype
        step = tf.cast(self.iterations + 1, dtype)
        beta_1 = tf.cast(self.beta_1, dtype)
        beta_2 = tf.cast(self.beta_2, dtype)
        rate = learning_rate * tf.sqrt(1.0 - tf.pow(beta_2, step))
        rate /= 1.0 - tf.pow(beta_1, step)
        m = beta_1 * tf.gather(momentum, rows) + (1.0 - beta_1) * gradient
        v = beta_2 * tf.gather(velocity, rows)
        v += (1.0 - beta_2) * tf.square(gradient)
        momentum.scatter_update(tf.IndexedSlices(m, rows))
        velocity.scatter_update(tf.IndexedSlices(v, rows))
        return rate * m / (tf.sqrt(v) + tf.cast(self.epsilon, dtype))
