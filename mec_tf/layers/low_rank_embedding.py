"""A table whose rows lie in a subspace of few dimensions."""

from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.layers.nesting import build_inner
from mec_tf.layers.table_layer import TableLayer
from mec_tf.layers.trained_rows import check_table
from mec_tf.layers.variables import add_raw_weight, raw
from mec_tf.quantizers import OutputStatistics
from mec_tf.quantizers.finite import check_finite
from mec_tf.quantizers.output_statistics import CHUNK

ROW_DTYPES = ("float32", "float16")


@tf.keras.utils.register_keras_serializable("mec_tf")
class LowRankEmbedding(TableLayer):
    """A drop-in `tf.keras.layers.Embedding` that stores `rank` floats a row.

    A vector is `row @ basis + mean`. First-order weights, the last
    `additive_dim` columns, are no part of that: they go straight into the
    logit, where an error of a subspace chosen for the other columns would hurt
    most, so they are stored beside the row as they are (and take their bytes:
    a row is `rank + additive_dim` floats).

    Weights: `rows` `[stored rows, rank + additive_dim]` in `row_dtype`,
    `basis` float32 `[rank, output_dim - additive_dim]`, `mean` float32
    `[output_dim - additive_dim]`. All are trained, but for float16 rows.

    Args:
        input_dim: int, rows of the table.
        output_dim: int, width of a vector.
        rank: int, between 1 and `output_dim` less `additive_dim`.
        row_dtype: "float32" (default), or "float16" for rows at half the
            bytes that are not trained any more.
        embeddings_initializer: Keras initializer of the rows. Default
            "uniform".
        **kwargs: `additive_dim`, `private_rows`, `mask_zero`, `oov` as in
            `TableLayer`, and those of `tf.keras.layers.Layer`.

    Input shape: integer ids of any shape; ragged ids too.
    Output shape: the same with `output_dim` added, in `compute_dtype`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> table = np.random.default_rng(0).normal(size=(1000, 16))
        >>> layer = LowRankEmbedding.from_table(table, rank=4)
        >>> layer(tf.constant([[1, 2, 3]])).shape
        TensorShape([1, 3, 16])

    Reference:
        "Unified low-rank compression framework for click-through rate
        prediction" (arXiv 2405.18146).
    """

    table_variables = ("rows", "basis", "mean")

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        rank: int,
        *,
        row_dtype: str = "float32",
        embeddings_initializer: Any = "uniform",
        **kwargs: Any,
    ):
        super().__init__(input_dim, output_dim, **kwargs)
        if int(rank) != rank or not 1 <= rank <= self.split_dim:
            raise ValueError(
                "`rank` must be an integer between 1 and `output_dim` less "
                f"`additive_dim`, {self.split_dim}. Received: rank={rank!r}"
            )
        if row_dtype not in ROW_DTYPES:
            raise ValueError(
                f"`row_dtype` must be one of {', '.join(ROW_DTYPES)}. "
                f"Received: row_dtype={row_dtype!r}"
            )
        self.rank = int(rank)
        self.row_dtype = row_dtype
        self.embeddings_initializer = tf.keras.initializers.get(
            embeddings_initializer
        )

    @property
    def split_dim(self) -> int:
        """Columns that are decomposed: `output_dim` less `additive_dim`."""
        return self.output_dim - self.additive_dim

    def build(self, input_shape: Any = None) -> None:
        self.rows = add_raw_weight(
            self,
            "rows",
            (self.stored_rows, self.rank + self.additive_dim),
            self.row_dtype,
            self.embeddings_initializer,
            trainable=self.row_dtype == "float32",
        )
        self.basis = add_raw_weight(
            self,
            "basis",
            (self.rank, self.split_dim),
            "float32",
            "orthogonal",
            trainable=True,
        )
        self.mean = add_raw_weight(
            self, "mean", (self.split_dim,), "float32", "zeros", trainable=True
        )
        self.built = True

    def lookup(
        self, rows: tf.Tensor, training: bool, counted: tf.Tensor | None = None
    ) -> tf.Tensor:
        found = tf.cast(tf.gather(raw(self.rows), rows), tf.float32)
        basis, mean = raw(self.basis), raw(self.mean)
        if self.additive_dim:
            # Columns that pass through: one product is faster than a slice
            # and a concatenation beside it.
            extra = [0, self.additive_dim]
            through = np.eye(self.additive_dim, dtype=np.float32)
            through = np.pad(through, [[self.rank, 0], [self.split_dim, 0]])
            basis = tf.pad(basis, [extra, extra]) + through
            mean = tf.pad(mean, [extra])
        return tf.tensordot(found, basis, 1) + mean

    def warm_start(
        self,
        table: np.ndarray,
        counts: np.ndarray | None = None,
        *,
        seed: int = 0,
    ) -> None:
        """Starts from the nearest table of this rank.

        Rows weigh as often as they are looked up: the squared error is the
        least over the lookups of the training data. Rows that share row 0
        enter by their mean.

        Args:
            table: float `[input_dim, output_dim]`.
            counts: `[input_dim]` training counts. Default: all rows alike.
            seed: without effect: nothing here is random.

        Raises:
            ValueError: if a shape differs or a value is not finite.
        """
        if counts is not None and np.shape(counts) != (self.input_dim,):
            raise ValueError(
                f"`counts` must have shape ({self.input_dim},). "
                f"Received shape {np.shape(counts)}"
            )
        table = self.rows_to_store(table, counts)
        if counts is not None:
            weights = np.array(counts[: self.stored_rows], np.float64)
            weights[0] += counts[self.stored_rows :].sum()
            counts = weights
        if not self.built:
            build_inner(self)
        split = table[:, : self.split_dim]
        statistics = OutputStatistics.of_table(split, counts)
        mean, basis, _ = statistics.principal(self.rank)
        rows = np.empty(tuple(self.rows.shape), self.row_dtype)
        for start in range(0, len(table), CHUNK):
            part = slice(start, start + CHUNK)
            rows[part, : self.rank] = (split[part] - mean) @ basis
        rows[:, self.rank :] = table[:, self.split_dim :]
        check_finite("rows", rows, self.row_dtype)
        raw(self.rows).assign(rows)
        raw(self.basis).assign(basis.T)
        raw(self.mean).assign(mean)

    @classmethod
    def from_table(
        cls,
        table: np.ndarray,
        rank: int,
        counts: np.ndarray | None = None,
        **config: Any,
    ) -> "LowRankEmbedding":
        """Decomposes a trained table, without training.

        Args:
            table: float `[N, D]`; may be memory-mapped.
            rank: floats a row.
            counts: `[N]` times each row occurs in the training data; popular
                rows are then kept more exactly.
            **config: the constructor's other arguments.

        Raises:
            ValueError: if the table is not `[N, D]` or not finite.
        """
        check_table(table)
        input_dim, output_dim = table.shape
        layer = cls(input_dim, output_dim, rank, **config)
        layer.warm_start(table, counts)
        return layer

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            rank=self.rank,
            row_dtype=self.row_dtype,
            embeddings_initializer=tf.keras.initializers.serialize(
                self.embeddings_initializer
            ),
        )
        return config
