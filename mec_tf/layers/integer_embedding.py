"""The frozen table of 8-, 4- or 2-bit integers."""

from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.layers.table_layer import TableLayer
from mec_tf.layers.trained_rows import check_table
from mec_tf.layers.variables import add_raw_weight, raw
from mec_tf.quantizers import integers
from mec_tf.quantizers.finite import check_finite

STEP_SIZES = ("row", "table")


@tf.keras.utils.register_keras_serializable("mec_tf")
class IntegerEmbedding(TableLayer):
    """A drop-in `tf.keras.layers.Embedding` that stores integers.

    A row is `output_dim` integers of `bits` bits times a step size, of its own
    or of the table. A lookup gathers packed rows, then unpacks and scales
    them. Made by `from_table` (quantization after training, no data needed),
    by `LowPrecisionEmbedding.freeze()`, or from a configuration plus saved
    weights. Additive columns are columns as any other.

    Weights, never trained: `codes`, uint8 `[stored rows, bytes a row]`, and
    `steps`, `[stored rows]` or `[1]` in `step_dtype`.

    Args:
        input_dim: int, rows of the table.
        output_dim: int, width of a vector.
        bits: 8 (default), 4 or 2.
        step_sizes: "row" (default) or "table", what a step size is of.
        step_dtype: "float32" (default) or "float16".
        **kwargs: `additive_dim`, `private_rows`, `mask_zero`, `oov` as in
            `TableLayer`, and those of `tf.keras.layers.Layer`.

    Input shape: integer ids of any shape; ragged ids too.
    Output shape: the same with `output_dim` added, in `compute_dtype`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> layer = IntegerEmbedding.from_table(np.eye(3), bits=4)
        >>> layer(tf.constant([1])).numpy()
        array([[0., 1., 0.]], dtype=float32)
    """

    table_variables = ("codes", "steps")

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        *,
        bits: int = 8,
        step_sizes: str = "row",
        step_dtype: str = "float32",
        **kwargs: Any,
    ):
        super().__init__(input_dim, output_dim, **kwargs)
        self.bits = integers.check_bits(bits)
        if step_sizes not in STEP_SIZES:
            raise ValueError(
                '`step_sizes` must be "row" or "table". '
                f"Received: step_sizes={step_sizes!r}"
            )
        if step_dtype not in ("float32", "float16"):
            raise ValueError(
                '`step_dtype` must be "float32" or "float16". '
                f"Received: step_dtype={step_dtype!r}"
            )
        self.step_sizes = step_sizes
        self.step_dtype = step_dtype
        self._values: dict[str, np.ndarray] = {}

    def build(self, input_shape: Any = None) -> None:
        self.codes = add_raw_weight(
            self,
            "codes",
            (
                self.stored_rows,
                integers.packed_width(self.output_dim, self.bits),
            ),
            "uint8",
            self._values.get("codes", "zeros"),
        )
        self.steps = add_raw_weight(
            self,
            "steps",
            (self.stored_rows if self.step_sizes == "row" else 1,),
            self.step_dtype,
            self._values.get("steps", "ones"),
        )
        self._values = {}
        self.built = True

    def lookup(
        self, rows: tf.Tensor, training: bool, counted: tf.Tensor | None = None
    ) -> tf.Tensor:
        one_step = self.step_sizes == "table"
        return integers.dequantize(
            tf.gather(raw(self.codes), rows),
            tf.gather(
                raw(self.steps), tf.zeros_like(rows) if one_step else rows
            ),
            self.output_dim,
            self.bits,
        )

    def warm_start(
        self,
        table: np.ndarray,
        counts: np.ndarray | None = None,
        *,
        seed: int = 0,
    ) -> None:
        """Takes the rows of a trained table, as `from_table` does.

        Args:
            table: float `[input_dim, output_dim]`.
            counts: `[input_dim]` training counts, weights of the rows that
                share row 0. Default: all alike.
            seed: of nothing here.

        Raises:
            ValueError: if the shape differs or a value is not finite.
        """
        state = self.from_table(
            self.rows_to_store(table, counts),
            self.bits,
            step_sizes=self.step_sizes,
            step_dtype=self.step_dtype,
        ).frozen_state()
        if not self.built:
            self.build()
        for name, array in state.items():
            raw(getattr(self, name)).assign(array)

    @classmethod
    def from_codes(
        cls,
        codes: np.ndarray,
        steps: np.ndarray,
        *,
        bits: int,
        output_dim: int,
        **config: Any,
    ) -> "IntegerEmbedding":
        """A built layer that holds these packed rows and step sizes.

        Args:
            codes: uint8 `[stored rows, bytes a row]`.
            steps: floats `[stored rows]` or `[1]`.
            bits: 8, 4 or 2.
            output_dim: int, width of a vector.
            **config: the constructor's other arguments; `input_dim` defaults
                to the number of rows, `step_sizes` to what `steps` are.

        Raises:
            ValueError: if shapes disagree, or `step_dtype` cannot hold a step
                size.
        """
        codes, steps = np.asarray(codes), np.asarray(steps)
        config.setdefault("input_dim", len(codes))
        config.setdefault("step_sizes", "table" if steps.size == 1 else "row")
        layer = cls(output_dim=output_dim, bits=bits, **config)
        width = integers.packed_width(layer.output_dim, layer.bits)
        one_step = layer.step_sizes == "table"
        expected = (
            (layer.stored_rows, width),
            (1 if one_step else layer.stored_rows,),
        )
        if (codes.shape, steps.shape) != expected or codes.dtype != np.uint8:
            raise ValueError(
                f"`codes` must be uint8 {expected[0]} and `steps` "
                f"{expected[1]}. Received: {codes.dtype} {codes.shape} and "
                f"{steps.shape}"
            )
        check_finite("steps", steps, layer.step_dtype)
        layer._values = {"codes": codes, "steps": steps}
        with tf.init_scope():
            layer.build()
        return layer

    @classmethod
    def from_table(
        cls,
        table: np.ndarray,
        bits: int = 8,
        *,
        step_sizes: str = "row",
        method: str = "mse",
        **config: Any,
    ) -> "IntegerEmbedding":
        """Quantizes a trained table, without training.

        Args:
            table: float `[stored rows, D]`; may be memory-mapped.
            bits: 8, 4 or 2.
            step_sizes: "row" or "table"; the table's is the greatest of its
                rows'.
            method: how step sizes are chosen: "mse" (default, least squared
                error) or "max" (nothing is clipped).
            **config: the constructor's other arguments.

        Raises:
            ValueError: if the table is not `[N, D]` or not finite, or an
                argument is out of its range.
        """
        check_table(table)
        steps = integers.step_sizes_of(table, integers.check_bits(bits), method)
        if step_sizes == "table":
            steps = steps.max(keepdims=True)
        # Integers must suit the step sizes as they are stored.
        steps = np.maximum(
            steps.astype(config.get("step_dtype", "float32")),
            integers.MIN_STEP,
        )
        return cls.from_codes(
            integers.pack_table(table, steps, bits),
            steps,
            bits=bits,
            output_dim=table.shape[1],
            step_sizes=step_sizes,
            **config,
        )

    @property
    def bytes(self) -> int:
        """Bytes that the table's variables take."""
        return integers.table_bytes(
            self.stored_rows,
            self.output_dim,
            self.bits,
            self.step_sizes,
            self.step_dtype,
        )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            bits=self.bits,
            step_sizes=self.step_sizes,
            step_dtype=self.step_dtype,
        )
        return config
