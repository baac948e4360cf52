"""What the optimizers share that update only the rows of a batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

KERAS_3 = hasattr(tf.keras, "ops")

# What would read or write every row of a table at every step, or, as
# `loss_scale_factor`, what Keras cannot do to the gradient of a gather.
REFUSED = (
    "amsgrad",
    "gradient_accumulation_steps",
    "loss_scale_factor",
    "use_ema",
)


class LazyRows(tf.keras.optimizers.Optimizer):
    """Base beside a Keras optimizer: sparse gradients touch their rows only.

    A gradient that comes as `tf.IndexedSlices` (from a gather of a table) is
    summed over a row's occurrences and given to `update_rows`; every other
    gradient goes to the optimizer as it is. Gradients are clipped by the
    norms or values of the summed rows. Weight decay shrinks the rows of the
    batch only.

    Args:
        learning_rate: float or schedule.
        **kwargs: of the optimizer, less those in `REFUSED`.

    Raises:
        ValueError: if an option is given that cannot leave rows alone.
    """

    def __init__(self, learning_rate: Any, **kwargs: Any):
        refused = refused_options(kwargs)
        if refused:
            name = refused[0]
            raise ValueError(
                f"`{name}` must be left at its default: {type(self).__name__} "
                "touches only the rows of a batch. "
                f"Received: {name}={kwargs[name]!r}"
            )
        if not KERAS_3:  # by default Keras 2 compiles each update with XLA
            kwargs.setdefault("jit_compile", False)
        super().__init__(learning_rate=learning_rate, **kwargs)

    def update_rows(
        self,
        index: int,
        rows: tf.Tensor,
        gradient: tf.Tensor,
        learning_rate: tf.Tensor,
    ) -> tf.Tensor:
        """Updates the optimizer's state of some rows of a variable.

        Args:
            index: the variable's place among the optimizer's.
            rows: row numbers `[n]`, each once.
            gradient: `[n, ...]`, of the variable's dtype.
            learning_rate: a scalar of the same dtype.

        Returns:
            What to subtract from the rows, `[n, ...]`.
        """
        raise NotImplementedError

    def update_step(
        self, gradient: Any, variable: Any, learning_rate: Any = None
    ) -> None:
        if learning_rate is None:
            learning_rate = self.learning_rate
        table = raw(variable)
        rate = tf.cast(learning_rate, table.dtype)
        decay = None
        if self.weight_decay and self._use_weight_decay(variable):
            decay = rate * tf.cast(self.weight_decay, table.dtype)
        if not isinstance(gradient, tf.IndexedSlices):
            if decay is not None:
                table.assign_sub(table * decay)
            more = (learning_rate,) if KERAS_3 else ()
            super().update_step(gradient, variable, *more)
            return
        index = (
            self._get_variable_index(variable)
            if KERAS_3
            else self._index_dict[self._var_key(variable)]
        )
        rows, values = unique_rows(gradient)
        values = tf.cast(values, table.dtype)
        change = self.update_rows(index, rows, values, rate)
        if decay is not None:
            change += tf.gather(table, rows) * decay
        table.scatter_sub(tf.IndexedSlices(change, rows))

    def _apply_weight_decay(self, variables: Any) -> None:
        """Nothing: only `update_step` knows the rows."""

    def _deduplicate_sparse_grad(self, grads: Any) -> Any:
        # Keras 2 would sum repeated rows first; under XLA the rows it pads
        # them with then count as row 0. `update_step` sums them itself.
        return grads

    def _clip_gradients(self, grads: Sequence[Any]) -> Sequence[Any]:
        if not (self.clipnorm or self.clipvalue or self.global_clipnorm):
            return grads
        grads = [
            _summed_in_place(g) if isinstance(g, tf.IndexedSlices) else g
            for g in grads
        ]
        if self.clipnorm:
            return [tf.clip_by_norm(g, self.clipnorm) for g in grads]
        if self.clipvalue:
            value = self.clipvalue
            return [tf.clip_by_value(g, -value, value) for g in grads]
        return tf.clip_by_global_norm(grads, self.global_clipnorm)[0]


def refused_options(config: Mapping[str, Any]) -> list[str]:
    """Names of the options in an optimizer's configuration that are refused."""
    return [name for name in REFUSED if config.get(name)]


def unique_rows(gradient: tf.IndexedSlices) -> tuple[tf.Tensor, tf.Tensor]:
    """Row indices without repeats, and each row's summed gradient."""
    rows, place = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(
        gradient.values, place, tf.shape(rows)[0]
    )
    return rows, values


def raw(variable: Any) -> tf.Variable:
    """The `tf.Variable` behind a Keras 3 or Keras 2 variable."""
    return variable if isinstance(variable, tf.Variable) else variable.value


def _summed_in_place(gradient: tf.IndexedSlices) -> tf.IndexedSlices:
    """Each row's sum at its first occurrence, zeros at the others.

    Keeps the number of slices: XLA would pad a smaller one with rows that
    count as row 0 later.
    """
    size = tf.shape(gradient.indices)[0]
    _, place = tf.unique(gradient.indices)
    sums = tf.math.unsorted_segment_sum(gradient.values, place, size)
    order = tf.range(size)
    first = tf.gather(tf.math.unsorted_segment_min(order, place, size), place)
    is_first = tf.cast(tf.equal(first, order), sums.dtype)
    shape = tf.concat([[size], tf.ones_like(tf.shape(sums)[1:])], axis=0)
    values = tf.gather(sums, place) * tf.reshape(is_first, shape)
    return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape)
