"""Adam that updates only the rows a batch touched."""

from typing import Any

import tensorflow as tf

KERAS_3 = hasattr(tf.keras, "ops")


@tf.keras.utils.register_keras_serializable("mec_tf")
class LazyAdam(tf.keras.optimizers.Adam):
    """Adam whose cost on an embedding table does not grow with the table.

    Where a gradient comes as `tf.IndexedSlices` (a gather from a table),
    moments and rows are read and written for the rows of the batch only;
    moments of other rows stand still instead of decaying. Dense gradients
    are plain Adam's. A row's occurrences in a batch are summed first.

    Args: those of `tf.keras.optimizers.Adam`; `amsgrad` is refused.

    Raises:
        ValueError: if `amsgrad` is True.
    """

    def __init__(self, learning_rate: Any = 0.001, **kwargs: Any):
        if kwargs.get("amsgrad"):
            raise ValueError(
                "`amsgrad` must be False: LazyAdam keeps no maximum of past "
                "moments. Received: amsgrad=True"
            )
        kwargs.setdefault("name", "lazy_adam")
        if not KERAS_3:  # by default Keras 2 compiles each update with XLA
            kwargs.setdefault("jit_compile", False)
        super().__init__(learning_rate=learning_rate, **kwargs)

    def _deduplicate_sparse_grad(self, grads: Any) -> Any:
        # Keras 2 would sum repeated rows first; under XLA the rows it pads
        # them with then count as row 0. `update_step` sums them itself.
        return grads

    def update_step(
        self, gradient: Any, variable: Any, learning_rate: Any = None
    ) -> None:
        if not isinstance(gradient, tf.IndexedSlices):
            if KERAS_3:
                super().update_step(gradient, variable, learning_rate)
            else:
                super().update_step(gradient, variable)
            return
        if learning_rate is None:
            learning_rate = self.learning_rate
        index = (
            self._get_variable_index(variable)
            if KERAS_3
            else self._index_dict[self._var_key(variable)]
        )
        rows, values = unique_rows(gradient)
        table = _raw(variable)
        momentum = _raw(self._momentums[index])
        velocity = _raw(self._velocities[index])
        dtype = table.dtype
        values = tf.cast(values, dtype)
        step = tf.cast(self.iterations + 1, dtype)
        beta_1 = tf.cast(self.beta_1, dtype)
        beta_2 = tf.cast(self.beta_2, dtype)
        rate = tf.cast(learning_rate, dtype) * tf.sqrt(
            1.0 - tf.pow(beta_2, step)
        )
        rate /= 1.0 - tf.pow(beta_1, step)
        m = beta_1 * tf.gather(momentum, rows) + (1.0 - beta_1) * values
        v = beta_2 * tf.gather(velocity, rows)
        v += (1.0 - beta_2) * tf.square(values)
        momentum.scatter_update(tf.IndexedSlices(m, rows))
        velocity.scatter_update(tf.IndexedSlices(v, rows))
        change = rate * m / (tf.sqrt(v) + tf.cast(self.epsilon, dtype))
        table.scatter_sub(tf.IndexedSlices(change, rows))


def unique_rows(gradient: tf.IndexedSlices) -> tuple[tf.Tensor, tf.Tensor]:
    """Row indices without repeats, and each row's summed gradient."""
    rows, place = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(
        gradient.values, place, tf.shape(rows)[0]
    )
    return rows, values


def _raw(variable: Any) -> tf.Variable:
    return variable if isinstance(variable, tf.Variable) else variable.value
