"""A table of few bits a number."""

import dataclasses

from mec_tf.compression.settings.base import Settings
from mec_tf.layers.low_precision_embedding import check_training
from mec_tf.quantizers import integers


@dataclasses.dataclass(frozen=True)
class IntegerSettings(Settings):
    """Integers times a step size; see `IntegerEmbedding`.

    The optimizer's settings hold where the table is trained as such; see
    `LowPrecisionEmbedding`.

    Args:
        bits: 8 (default), 4 or 2 a number.
        step_sizes: "row" (default) or "table", what a step size is of.
        rounding: "stochastic" (default) or "deterministic".
        row_optimizer: "adagrad" (default), "sgd" or "adam".
        row_learning_rate: of that optimizer. Default 0.01.
        initial_step: every step size at first, in training. Default None: by
            the least squared error on the trained rows: of each; where
            training starts anew, one of the whole table.

    Raises:
        ValueError: if an argument is out of its range.
    """

    bits: int = 8
    step_sizes: str = "row"
    rounding: str = "stochastic"
    row_optimizer: str = "adagrad"
    row_learning_rate: float = 0.01
    initial_step: float | None = None

    def __post_init__(self):
        integers.check_bits(self.bits)
        check_training(
            rounding=self.rounding,
            step_sizes=self.step_sizes,
            row_optimizer=self.row_optimizer,
            initial_step=self.initial_step,
            row_learning_rate=self.row_learning_rate,
        )

    def stored_bytes(self, rows: int, dim: int, additive_dim: int) -> int:
        return integers.table_bytes(
            rows, dim, self.bits, self.step_sizes, "float32"
        )

    def describe(self, rows: int) -> str:
        return f"{self.bits}-bit integers, a step size a {self.step_sizes}"
