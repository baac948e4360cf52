"""The frozen, compressed table: packed codes and codebooks."""

from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.layers.table_layer import TableLayer
from mec_tf.layers.variables import add_raw_weight, raw
from mec_tf.quantizers import (
    ProductQuantizer,
    fit_additive,
    packing,
    product,
)


@tf.keras.utils.register_keras_serializable("mec_tf")
class CodeLookupEmbedding(TableLayer):
    """A drop-in `tf.keras.layers.Embedding` of 1 to a few bytes a row.

    A row is `num_subspaces` codes; each code picks an entry of its
    sub-space's codebook, and the entries joined are the vector. A lookup is
    two gathers: codes, then codebook entries. Made by
    `ProductQuantizedEmbedding.freeze()`, `from_product_quantized`,
    `from_table`, or from a configuration plus saved weights.

    Weights: `codes`, uint8 or uint16 `[stored rows, num_subspaces]`, never
    trained; `codebooks`, `[num_subspaces * codebook_size, entry width]` in
    `codebook_dtype`.

    Args:
        input_dim: int, rows of the table.
        output_dim: int, width of a vector.
        num_subspaces: int, `M`, codes a row; divides `output_dim` less
            `additive_dim`. Default 4.
        codebook_size: int, `K`, entries a codebook, up to 65,536. Default
            256 (one byte a code).
        trainable_codebooks: bool, whether the codebooks learn. Default
            False.
        codebook_dtype: "float32" (default) or "float16"; trainable
            codebooks must be float32.
        **kwargs: `additive_dim`, `private_rows`, `mask_zero`, `oov` as in
            `TableLayer`, and those of `tf.keras.layers.Layer`.

    Input shape: integer ids of any shape; ragged ids too.
    Output shape: the same with `output_dim` added, in `compute_dtype`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> table = np.random.default_rng(0).normal(size=(1000, 16))
        >>> layer = CodeLookupEmbedding.from_table(table, num_subspaces=2)
        >>> layer(tf.constant([[1, 2, 3]])).shape
        TensorShape([1, 3, 16])

    Reference:
        "MEC" (arXiv 2502.15355), stage 2.
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        num_subspaces: int = 4,
        codebook_size: int = 256,
        *,
        trainable_codebooks: bool = False,
        codebook_dtype: str = "float32",
        **kwargs: Any,
    ):
        super().__init__(input_dim, output_dim, **kwargs)
        quantizer = ProductQuantizer(num_subspaces, codebook_size)
        quantizer.check_dim(self.output_dim - self.additive_dim)
        if codebook_dtype not in ("float32", "float16"):
            raise ValueError(
                '`codebook_dtype` must be "float32" or "float16". '
                f"Received: codebook_dtype={codebook_dtype!r}"
            )
        if trainable_codebooks and codebook_dtype != "float32":
            raise ValueError(
                '`codebook_dtype` must be "float32" where '
                "`trainable_codebooks` is True. "
                f"Received: codebook_dtype={codebook_dtype!r}"
            )
        self.num_subspaces = num_subspaces
        self.codebook_size = codebook_size
        self.trainable_codebooks = trainable_codebooks
        self.codebook_dtype = codebook_dtype
        self._codes_value: Any = "zeros"
        self._codebooks_value: Any = "uniform"

    @property
    def entry_dim(self) -> int:
        """Width of a codebook entry: its share of a vector + additives."""
        split = self.output_dim - self.additive_dim
        return split // self.num_subspaces + self.additive_dim

    def build(self, input_shape: Any = None) -> None:
        self.codes = add_raw_weight(
            self,
            "codes",
            (self.stored_rows, self.num_subspaces),
            packing.code_dtype(self.codebook_size).name,
            self._codes_value,
        )
        self.codebooks = add_raw_weight(
            self,
            "codebooks",
            (self.num_subspaces * self.codebook_size, self.entry_dim),
            self.codebook_dtype,
            self._codebooks_value,
            trainable=self.trainable_codebooks,
        )
        self._codes_value, self._codebooks_value = "zeros", "uniform"
        self.built = True

    def lookup(self, rows: tf.Tensor, training: bool) -> tf.Tensor:
        codes = tf.gather(raw(self.codes), rows)
        flat = product.flat_index(codes, self.codebook_size)
        entries = tf.gather(raw(self.codebooks), flat)
        return product.decode(tf.cast(entries, tf.float32), self.additive_dim)

    @classmethod
    def from_codes(
        cls, codes: np.ndarray, codebooks: np.ndarray, **config: Any
    ) -> "CodeLookupEmbedding":
        """A built layer that holds these codes and codebooks.

        Args:
            codes: integers `[stored rows, M]`.
            codebooks: floats `[M, K, entry width]`.
            **config: the constructor's other arguments; `input_dim` defaults
                to the number of codes, `output_dim` to what the codebooks
                give.

        Raises:
            ValueError: if shapes disagree or a code is out of range.
        """
        codes, codebooks = np.asarray(codes), np.asarray(codebooks)
        if (
            codes.ndim != 2
            or codebooks.ndim != 3
            or codes.shape[1] != codebooks.shape[0]
        ):
            raise ValueError(
                "`codes` must be [rows, M] and `codebooks` [M, K, width]. "
                f"Received shapes {codes.shape} and {codebooks.shape}"
            )
        num_subspaces, size, width = codebooks.shape
        additive = config.get("additive_dim", 0)
        config.setdefault("input_dim", len(codes))
        config.setdefault(
            "output_dim", num_subspaces * (width - additive) + additive
        )
        layer = cls(num_subspaces=num_subspaces, codebook_size=size, **config)
        expected = (layer.stored_rows, layer.entry_dim)
        if (len(codes), width) != expected:
            raise ValueError(
                "`codes` and `codebooks` must hold (rows, entry width) = "
                f"{expected}. Received: {(len(codes), width)}"
            )
        layer._codes_value = packing.pack(codes, size)
        layer._codebooks_value = codebooks.reshape(-1, width)
        layer.build()
        return layer

    @classmethod
    def from_product_quantized(
        cls, layer: tf.keras.layers.Layer, **config: Any
    ) -> "CodeLookupEmbedding":
        """Freezes a built `ProductQuantizedEmbedding`; see its `freeze`."""
        return layer.freeze(**config)

    @classmethod
    def from_table(
        cls,
        table: np.ndarray,
        num_subspaces: int = 4,
        codebook_size: int = 256,
        *,
        counts: np.ndarray | None = None,
        seed: int = 0,
        **config: Any,
    ) -> "CodeLookupEmbedding":
        """Quantizes a trained table by weighted k-means, without training.

        Args:
            table: float `[N, D]`; may be memory-mapped.
            num_subspaces: `M`.
            codebook_size: `K`; more than `N` is cut to `N`.
            counts: `[N]` times each row occurs in the training data; popular
                rows are then kept more exactly.
            seed: of k-means.
            **config: the constructor's other arguments.

        Raises:
            ValueError: if the table is not `[N, D]` or not finite.
        """
        check_table(table)
        quantizer = ProductQuantizer(
            num_subspaces, min(codebook_size, len(table))
        )
        split = table.shape[1] - config.get("additive_dim", 0)
        codebooks = quantizer.fit(table[:, :split], counts, seed=seed)
        codes = quantizer.encode(table[:, :split], codebooks)
        if split < table.shape[1]:
            additive = fit_additive(
                codes, table[:, split:], counts, quantizer.codebook_size
            )
            codebooks = np.concatenate(
                [codebooks, additive.reshape(*codebooks.shape[:2], -1)], -1
            )
        return cls.from_codes(codes, codebooks, **config)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            num_subspaces=self.num_subspaces,
            codebook_size=self.codebook_size,
            trainable_codebooks=self.trainable_codebooks,
            codebook_dtype=self.codebook_dtype,
        )
        return config


def check_table(table: np.ndarray) -> None:
    """Raises ValueError unless `table` is a finite `[N, D]` of floats."""
    shape = np.shape(table)
    if len(shape) != 2 or 0 in shape:
        raise ValueError(
            f"`table` must be [rows, columns]. Received shape {shape}"
        )
    for start in range(0, shape[0], 65536):
        finite = np.isfinite(table[start : start + 65536]).all(axis=1)
        if not finite.all():
            row = start + int(np.argmin(finite))
            raise ValueError(
                f"`table` must be finite. Received NaN or infinity in row {row}"
            )
