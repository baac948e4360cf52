"""What every embedding layer of this package shares."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.layers import ids as id_rules
from mec_tf.layers.nesting import build_inner
from mec_tf.layers.trained_rows import check_table, stored_rows
from mec_tf.layers.variables import KERAS_3, raw


class TableLayer(tf.keras.layers.Layer):
    """Base of the embedding layers: ids in, one vector an id out.

    Owns the contract of `tf.keras.layers.Embedding`: any id shape and dtype,
    ragged ids, `mask_zero`, `compute_output_shape`, and, beyond it, one
    out-of-range policy that holds in eager, graph and XLA. A subclass writes
    `lookup`, and names the variables that it reads in `table_variables`; one
    that can start from a trained table overrides `warm_start`, one that is
    trained in another form than it is used in overrides `freeze`.

    Args:
        input_dim: int, rows of the table.
        output_dim: int, width of a vector.
        additive_dim: int, how many of the last columns are first-order
            weights, quantized as sums of per-code scalars. Default 0.
        private_rows: int or None. Rows from this one on share row 0 and are
            not stored (in a vocabulary ordered by popularity: the rare ids
            share the out-of-vocabulary row). Default: every row is private.
        mask_zero: bool, whether id 0 is padding. Default False.
        oov: what an id outside `[0, input_dim)` gives: "zero" (the zero
            vector, default), a row number, or "error" (raises in eager and
            graph mode; refused under XLA).
        **kwargs: of `tf.keras.layers.Layer`.

    Raises:
        ValueError: if an argument is out of its range.
    """

    # Attributes of the variables that answer a lookup.
    table_variables: tuple[str, ...] = ("embeddings",)

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        *,
        additive_dim: int = 0,
        private_rows: int | None = None,
        mask_zero: bool = False,
        oov: str | int = id_rules.OOV_ZERO,
        **kwargs: Any,
    ):
        for name, value in (
            ("input_dim", input_dim),
            ("output_dim", output_dim),
        ):
            if int(value) != value or value < 1:
                raise ValueError(
                    f"`{name}` must be a positive integer. "
                    f"Received: {name}={value!r}"
                )
        if not 0 <= additive_dim <= output_dim:
            raise ValueError(
                "`additive_dim` must lie between 0 and `output_dim`. "
                f"Received: additive_dim={additive_dim}, "
                f"output_dim={output_dim}"
            )
        if private_rows is not None and not 1 <= private_rows <= input_dim:
            raise ValueError(
                "`private_rows` must be between 1 and `input_dim`. Received: "
                f"private_rows={private_rows}, input_dim={input_dim}"
            )
        # Keras would cast float ids to float16 in mixed precision.
        super().__init__(autocast=False, **kwargs)
        self.input_dim = int(input_dim)
        self.output_dim = int(output_dim)
        self.additive_dim = int(additive_dim)
        self.private_rows = private_rows
        self.mask_zero = mask_zero
        self.oov = id_rules.check_oov(oov, self.input_dim)
        self.supports_masking = mask_zero

    @property
    def stored_rows(self) -> int:
        """Rows that take space: `private_rows`, or all."""
        return self.private_rows or self.input_dim

    def lookup(
        self, rows: tf.Tensor, training: bool, counted: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Vectors `[..., output_dim]` of stored rows `[...]`.

        `counted` is False where a row stands in for an id out of range or
        for padding, None where it never does.
        """
        raise NotImplementedError

    def add_counts(self, counts: np.ndarray) -> None:
        """Takes `[input_dim]` training counts; here they are of no use."""

    def warm_start(
        self,
        table: np.ndarray,
        counts: np.ndarray | None = None,
        *,
        seed: int = 0,
    ) -> None:
        """Starts from the rows of a trained table.

        Args:
            table: float `[input_dim, output_dim]`.
            counts: `[input_dim]` training counts. Default: all rows alike.
            seed: of what is random.

        Raises:
            NotImplementedError: if this kind of table starts anew only.
        """
        raise NotImplementedError(
            f"{type(self).__name__} cannot start from a trained table."
        )

    def rows_to_store(
        self, table: np.ndarray, counts: np.ndarray | None
    ) -> np.ndarray:
        """The rows `[stored_rows, output_dim]` of a trained table.

        Raises:
            ValueError: if the shape differs or a value is not finite.
        """
        if np.shape(table) != (self.input_dim, self.output_dim):
            raise ValueError(
                f"`table` must be [{self.input_dim}, {self.output_dim}]. "
                f"Received shape {np.shape(table)}"
            )
        check_table(table)
        return stored_rows(table, counts, self.stored_rows)

    def frozen_state(self) -> dict[str, np.ndarray]:
        """What `freeze` needs of the present state: arrays by name."""
        return {
            name: raw(getattr(self, name)).numpy()
            for name in self.table_variables
            if hasattr(self, name)
        }

    def freeze(
        self, state: Mapping[str, np.ndarray] | None = None, **config: Any
    ) -> "TableLayer":
        """A built layer for inference that answers as this one does.

        Args:
            state: an earlier `frozen_state` to freeze instead of the present
                one.
            **config: other arguments of the layer, such as `dtype`.
        """
        state = self.frozen_state() if state is None else state
        with tf.init_scope():
            layer = type(self).from_config({**self.get_config(), **config})
            build_inner(layer)
            for name, array in state.items():
                variable = raw(getattr(layer, name))
                variable.assign(array.astype(variable.dtype.as_numpy_dtype))
        return layer

    def call(self, inputs: Any, training: bool = False) -> Any:
        if isinstance(inputs, tf.RaggedTensor):
            return tf.ragged.map_flat_values(
                lambda flat: self.call(flat, training=training), inputs
            )
        rows, valid, counted = self.rows_of(inputs)
        vectors = self.lookup(rows, bool(training), counted)
        vectors = tf.cast(vectors, self.compute_dtype)
        return vectors if valid is None else id_rules.zero_out(vectors, valid)

    def rows_of(
        self, ids: Any
    ) -> tuple[tf.Tensor, tf.Tensor | None, tf.Tensor | None]:
        """The stored rows of ids.

        Args:
            ids: integers of any shape.

        Returns:
            Rows; False where the answer is the zero vector; and False where
            the row takes no part in training. None where nothing is False.
        """
        ids = id_rules.to_integers(tf.convert_to_tensor(ids))
        ids, valid = id_rules.in_range(ids, self.input_dim, self.oov)
        rows = ids
        if self.stored_rows < self.input_dim:
            shared = ids >= tf.cast(self.stored_rows, ids.dtype)
            rows = tf.where(shared, tf.zeros_like(ids), ids)
        counted = valid
        if self.mask_zero:
            kept = tf.not_equal(ids, 0)
            counted = kept if valid is None else tf.logical_and(valid, kept)
        return rows, valid, counted

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        if not self.mask_zero:
            return None
        if KERAS_3:
            return tf.keras.ops.not_equal(inputs, 0)
        return tf.not_equal(inputs, tf.cast(0, inputs.dtype))

    def compute_output_shape(self, input_shape: Any) -> Any:
        shape = tuple(input_shape) + (self.output_dim,)
        return shape if KERAS_3 else tf.TensorShape(shape)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            input_dim=self.input_dim,
            output_dim=self.output_dim,
            additive_dim=self.additive_dim,
            private_rows=self.private_rows,
            mask_zero=self.mask_zero,
            oov=self.oov,
        )
        return config
