"""Rows of integers that are stepped as floats and rounded again."""

import dataclasses
from typing import Any, NamedTuple

import tensorflow as tf

from mec_tf.layers.row_updates import (
    DistinctRows,
    RowOptimizer,
    distinct_rows,
    rows_of,
    set_rows,
)
from mec_tf.layers.variables import raw
from mec_tf.quantizers import integers


class RowStep(NamedTuple):
    """A step of the rows of a batch, not yet written.

    Attributes:
        distinct: the rows.
        active: booleans `[u]`, False where a row must stay as it is.
        values: float32 `[u, D]`, the rows after the step.
        steps: float32 `[u]`, their step sizes.
        slots: float32 `[u, width]`, the optimizer's after the step.
    """

    distinct: DistinctRows
    active: tf.Tensor
    values: tf.Tensor
    steps: tf.Tensor
    slots: tf.Tensor


@dataclasses.dataclass(frozen=True)
class IntegerRows:
    """The weights of a low-precision table, and how its rows step.

    Every method reads and writes the rows it is given, never the table.

    Attributes:
        codes: uint8 weight `[N, bytes a row]`.
        steps: float32 weight `[N]`, or `[1]` for all rows.
        slots: float32 weight `[N, width]` of `optimizer`; None for width 0.
        step_slots: that of `step_optimizer`, `[N or 1, width]`.
        counter: int64 weight, steps so far.
        dim: `D`, width of a vector.
        bits: 8, 4 or 2.
        optimizer: of the rows.
        learning_rate: of the rows.
        step_optimizer: of the step sizes.
        noise_seed: of stochastic rounding; None rounds to the nearest.
    """

    codes: Any
    steps: Any
    slots: Any
    step_slots: Any
    counter: Any
    dim: int
    bits: int
    optimizer: RowOptimizer
    learning_rate: float
    step_optimizer: RowOptimizer
    noise_seed: int | None

    @property
    def one_step(self) -> bool:
        """Whether all rows share a step size."""
        return raw(self.steps).shape[0] == 1

    def _row_steps(self, rows: tf.Tensor) -> tf.Tensor:
        rows = tf.zeros_like(rows) if self.one_step else rows
        return tf.gather(raw(self.steps), rows)

    def vectors(self, rows: tf.Tensor) -> tf.Tensor:
        """Vectors float32 `[..., D]` of rows `[...]`."""
        return integers.dequantize(
            tf.gather(raw(self.codes), rows),
            self._row_steps(rows),
            self.dim,
            self.bits,
        )

    def stepped(
        self, rows: tf.Tensor, counted: tf.Tensor, gradients: tf.Tensor
    ) -> RowStep:
        """The rows after a step of the row optimizer; writes nothing.

        Args:
            rows: integers `[n]`, with repeats.
            counted: booleans `[n]`, False where a lookup is of padding or
                stands in for an id out of range.
            gradients: float32 `[n, D]`.
        """
        distinct = distinct_rows(rows)
        gradients = tf.where(counted[:, None], gradients, 0.0)
        gradients = distinct.summed(gradients)
        active = distinct.summed(tf.cast(counted, tf.float32)) > 0
        active &= tf.reduce_all(tf.math.is_finite(gradients))
        old = self.vectors(distinct.rows)
        change, slots = self.optimizer.direction(
            gradients, rows_of(self.slots, distinct.rows), self._count()
        )
        new = old - self.learning_rate * change
        return RowStep(
            distinct,
            active,
            tf.where(active[:, None], new, old),
            self._row_steps(distinct.rows),
            slots,
        )

    def _count(self) -> tf.Tensor:
        return tf.cast(raw(self.counter) + 1, tf.float32)

    def learn_steps(
        self,
        step: RowStep,
        gradients: tf.Tensor,
        batch_size: tf.Tensor,
        learning_rate: float,
    ) -> RowStep:
        """Steps the step sizes and writes them.

        Args:
            step: of the rows.
            gradients: float32 `[u, D]`, by the rows after the step and
                rounded to the nearest integer.
            batch_size: number of examples.
            learning_rate: of the step sizes, in units of each.

        Returns:
            `step` with the new step sizes.
        """
        _, high = integers.integer_range(self.bits)
        size = tf.cast(batch_size, tf.float32) * float(self.dim * high)
        slopes = integers.step_slope(
            step.values, step.steps[:, None], self.bits
        )
        sums = tf.reduce_sum(gradients * slopes, axis=-1, keepdims=True)
        sums = sums * tf.math.rsqrt(size)
        sums = tf.where(tf.math.is_finite(sums), sums, 0.0)
        if self.one_step:
            # Spare slots have no gradient yet: no row enters twice.
            rows = tf.zeros([1], step.distinct.rows.dtype)
            active = tf.reduce_any(step.active)[None]
            active_sums = tf.where(step.active[:, None], sums, 0.0)
            sums = tf.reduce_sum(active_sums, axis=0, keepdims=True)
        else:
            rows, active = step.distinct.rows, step.active
            sums = step.distinct.shared(sums)
        old = tf.gather(raw(self.steps), rows)
        old_slots = rows_of(self.step_slots, rows)
        change, slots = self.step_optimizer.direction(
            sums, old_slots, self._count()
        )
        new = old * (1.0 - learning_rate * change[:, 0])
        new = tf.maximum(new, integers.MIN_STEP)
        new = tf.where(active, new, old)
        slots = tf.where(active[:, None], slots, old_slots)
        set_rows(self.steps, rows, new)
        set_rows(self.step_slots, rows, slots)
        return step._replace(
            steps=tf.broadcast_to(new, tf.shape(step.steps)),
        )

    def write(self, step: RowStep) -> None:
        """Rounds the rows of a step and writes them."""
        distinct, active = step.distinct, step.active[:, None]
        noise: tf.Tensor | float = 0.5
        if self.noise_seed is not None:
            seed = tf.stack(
                [
                    tf.constant(self.noise_seed, tf.int64),
                    tf.convert_to_tensor(raw(self.counter)),
                ]
            )
            # The same on every device, and for a slot and those it owns.
            noise = tf.random.stateless_uniform(
                tf.shape(step.values), seed, alg="philox"
            )
            noise = distinct.shared(noise)
        whole = integers.quantize(
            step.values, step.steps[:, None], self.bits, noise
        )
        codes = tf.where(
            active,
            integers.pack(whole, self.bits),
            tf.gather(raw(self.codes), distinct.rows),
        )
        old_slots = rows_of(self.slots, distinct.rows)
        slots = tf.where(active, step.slots, old_slots)
        set_rows(self.codes, distinct.rows, codes)
        set_rows(self.slots, distinct.rows, slots)
        raw(self.counter).assign_add(1)
