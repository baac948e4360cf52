"""ALPT and its baselines: tables of few bits a number."""

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from mec_tf.compression.distortion import WeightedRows, drawn
from mec_tf.compression.methods.method import (
    Measured,
    Method,
    layer_config,
    useful,
)
from mec_tf.compression.settings import LEAVE, IntegerSettings, Settings
from mec_tf.compression.tables import Table
from mec_tf.layers import IntegerEmbedding, LowPrecisionEmbedding, TableLayer
from mec_tf.quantizers.integers import BITS, step_sizes_of
from mec_tf.training.alpt import use_alpt

if TYPE_CHECKING:
    from mec_tf.compression.policy import CompressionPolicy

SAMPLED_ROWS = 1 << 16


class LowPrecision(Method):
    """Low-precision training with learned step sizes (ALPT).

    Without a budget every table gets 8 bits.
    """

    settings_type = IntegerSettings
    learned_steps = True
    replicated = False
    passes_to_wait = 1  # rounded rows answer nearly as the trained ones do

    def candidates(
        self,
        table: Table,
        policy: "CompressionPolicy",
        counts: np.ndarray,
    ) -> list[Settings]:
        if not policy.bounded:
            return [IntegerSettings()]
        return [LEAVE, *(IntegerSettings(bits) for bits in BITS)]

    def measured(
        self,
        table: Table,
        policy: "CompressionPolicy",
        counts: np.ndarray,
    ) -> list[Measured]:
        values = WeightedRows(table.values(), np.asarray(counts, np.float64))
        found: list[Measured] = [
            (each, _error(each, values, policy.seed))
            for each in self.candidates(table, policy, counts)
        ]
        return useful(found, table.rows, table)

    def trainable(
        self,
        table: Table,
        settings: IntegerSettings,
        policy: "CompressionPolicy",
    ) -> TableLayer:
        return LowPrecisionEmbedding(
            table.rows,
            table.dim,
            bits=settings.bits,
            step_sizes=settings.step_sizes,
            rounding=settings.rounding,
            learned_steps=self.learned_steps,
            row_optimizer=settings.row_optimizer,
            row_learning_rate=settings.row_learning_rate,
            initial_step=_initial_step(table, settings, policy),
            embeddings_initializer=table.layer.embeddings_initializer,
            seed=policy.seed,
            **layer_config(table),
        )

    def prepare(self, model: tf.keras.Model) -> None:
        use_alpt(model)


class FixedSteps(LowPrecision):
    """Low-precision training with step sizes as they start (LPT)."""

    learned_steps = False
    replicated = True

    def prepare(self, model: tf.keras.Model) -> None:
        """The model's own train step will do."""


class Rounding(LowPrecision):
    """Rows of so many bits by rounding the trained ones. A baseline."""

    trains = False
    replicated = True

    def __init__(self, bits: int):
        self.bits = bits

    def candidates(
        self,
        table: Table,
        policy: "CompressionPolicy",
        counts: np.ndarray,
    ) -> list[Settings]:
        return [IntegerSettings(self.bits)]

    def trainable(
        self,
        table: Table,
        settings: IntegerSettings,
        policy: "CompressionPolicy",
    ) -> TableLayer:
        return IntegerEmbedding(
            table.rows,
            table.dim,
            bits=settings.bits,
            step_sizes=settings.step_sizes,
            **layer_config(table),
        )

    def prepare(self, model: tf.keras.Model) -> None:
        """Nothing is trained."""


def _initial_step(
    table: Table, settings: IntegerSettings, policy: "CompressionPolicy"
) -> float | None:
    """Every step size at first; None leaves it to the rows it starts from."""
    if settings.initial_step is not None or not policy.anew:
        return settings.initial_step
    return trained_step(table.values(), settings.bits)


def trained_step(rows: np.ndarray, bits: int) -> float:
    """The one step size of least squared error on a trained table.

    Args:
        rows: float `[N, D]`; some 65,000 of them are looked at.
        bits: 8, 4 or 2.
    """
    some = np.asarray(rows[:: max(1, len(rows) // SAMPLED_ROWS)], np.float32)
    return float(step_sizes_of(some.reshape(1, -1), bits)[0])


def _error(settings: Settings, values: WeightedRows, seed: int) -> float:
    """Squared error over all lookups, measured on a sample of them."""
    if not isinstance(settings, IntegerSettings):
        return 0.0
    sample = drawn(values, seed)
    if not len(sample.rows):
        return 0.0
    layer = IntegerEmbedding.from_table(
        sample.rows, settings.bits, step_sizes=settings.step_sizes
    )
    gaps = layer(np.arange(len(sample.rows))).numpy() - sample.rows
    return float(sample.lookups @ np.square(gaps).sum(axis=1))
