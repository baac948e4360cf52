"""The frozen, compressed table: packed codes and codebooks."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.layers import entries
from mec_tf.layers.ranks import check_rank
from mec_tf.layers.table_layer import TableLayer
from mec_tf.layers.trained_rows import check_table
from mec_tf.layers.variables import add_raw_weight, raw
from mec_tf.quantizers import (
    ProductQuantizer,
    Quantizer,
    ResidualQuantizer,
    fit_additive,
    fit_rotated,
    packing,
    product,
)
from mec_tf.quantizers.finite import check_finite

QUANTIZERS: dict[str, Callable[[int, int], Quantizer]] = {
    "product": ProductQuantizer,
    "rotated": ProductQuantizer,
    "residual": ResidualQuantizer,
}


@tf.keras.utils.register_keras_serializable("mec_tf")
class CodeLookupEmbedding(TableLayer):
    """A drop-in `tf.keras.layers.Embedding` of 1 to a few bytes a row.

    A row is `num_subspaces` codes; each code picks an entry of its
    sub-space's codebook, and the entries joined are the vector (summed, in
    residual quantization). A lookup is two gathers: codes, then codebook
    entries. Made by `ProductQuantizedEmbedding.freeze()` or
    `ResidualQuantizedEmbedding.freeze()`, `from_product_quantized`,
    `from_table`, or from a configuration plus saved weights.

    Weights: `codes`, uint8 or uint16 `[stored rows, num_subspaces]`, or uint8
    packed to the bit, never trained; `codebooks`, `[num_subspaces *
    codebook_size, entry width]` in `codebook_dtype`; where rows were rotated,
    `rotation`, in the same, `[width less additive_dim, rank]`.

    Args:
        input_dim: int, rows of the table.
        output_dim: int, width of a vector.
        num_subspaces: int, `M`, codes a row; divides `output_dim` less
            `additive_dim`. Default 4. An `additive_dim` of `output_dim` is
            residual quantization: all columns are sums.
        codebook_size: int, `K`, entries a codebook, up to 65,536. Default
            256 (one byte a code).
        trainable_codebooks: bool, whether the codebooks learn. Default
            False.
        codebook_dtype: "float32" (default) or "float16"; trainable
            codebooks must be float32.
        bit_packed: bool, whether codes take `log2 K` bits, rounded up, in
            place of whole integers. Default False.
        rotated: bool, whether the joined columns are rotated back after the
            lookup (optimized product quantization). Default False.
        rank: int, dimensions that codes stand for where rows are also
            projected: needs `rotated`. Default None: as many as are rotated.
        decode: how codes become entries: "gather"; "one_hot", a product of
            one-hot rows and codebooks, for hardware on which gathers are
            slow; or "auto" (default), "one_hot" where there is a TPU when a
            function is traced, else "gather". Both give the same vectors,
            but for what the hardware rounds in products.
        **kwargs: `additive_dim`, `private_rows`, `mask_zero`, `oov` as in
            `TableLayer`, and those of `tf.keras.layers.Layer`.

    Under `jit_compile` every new shape of ids is compiled anew, once. Where
    batches differ in size, pad them to a few sizes (`drop_remainder` or a
    filled-up last batch); `tf.function(reduce_retracing=True)` or an input
    signature saves the tracing but not XLA's compilation.

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

    table_variables = ("codes", "codebooks", "rotation")

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        num_subspaces: int = 4,
        codebook_size: int = 256,
        *,
        trainable_codebooks: bool = False,
        codebook_dtype: str = "float32",
        bit_packed: bool = False,
        rotated: bool = False,
        rank: int | None = None,
        decode: str = "auto",
        **kwargs: Any,
    ):
        super().__init__(input_dim, output_dim, **kwargs)
        check_rank(rank, rotated, self.output_dim - self.additive_dim)
        self.rank = rank
        quantizer = ProductQuantizer(num_subspaces, codebook_size)
        if self.additive_dim < self.output_dim:
            quantizer.check_dim(self.code_dim)
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
        if decode not in entries.DECODES:
            raise ValueError(
                f"`decode` must be one of {entries.DECODES}. "
                f"Received: decode={decode!r}"
            )
        self.num_subspaces = num_subspaces
        self.codebook_size = codebook_size
        self.trainable_codebooks = trainable_codebooks
        self.codebook_dtype = codebook_dtype
        self.bit_packed = bit_packed
        self.rotated = rotated
        self.decode = decode
        self._values: dict[str, Any] = {}

    @property
    def code_dim(self) -> int:
        """Columns that codebook entries share out among them."""
        return self.rank or self.output_dim - self.additive_dim

    @property
    def entry_dim(self) -> int:
        """Width of a codebook entry: its share of a vector + additives."""
        return self.code_dim // self.num_subspaces + self.additive_dim

    def build(self, input_shape: Any = None) -> None:
        self.codes = add_raw_weight(
            self,
            "codes",
            *self._codes_spec(),
            self._values.get("codes", "zeros"),
        )
        self.codebooks = add_raw_weight(
            self,
            "codebooks",
            (self.num_subspaces * self.codebook_size, self.entry_dim),
            self.codebook_dtype,
            self._values.get("codebooks", "uniform"),
            trainable=self.trainable_codebooks,
        )
        if self.rotated:
            split = self.output_dim - self.additive_dim
            self.rotation = add_raw_weight(
                self,
                "rotation",
                (split, self.code_dim),
                self.codebook_dtype,
                self._values.get("rotation", "identity"),
            )
        self._values = {}
        self.built = True

    def _codes_spec(self) -> tuple[tuple[int, int], str]:
        shape = (self.stored_rows, self.num_subspaces)
        if self.bit_packed:
            return packing.packed_shape(*shape, self.codebook_size), "uint8"
        return shape, packing.code_dtype(self.codebook_size).name

    def lookup(
        self, rows: tf.Tensor, training: bool, counted: tf.Tensor | None = None
    ) -> tf.Tensor:
        codes, books = self._codes_of(rows), raw(self.codebooks)
        if entries.decode_of(self.decode) == "one_hot":
            found = entries.multiplied(books, codes, self.codebook_size)
            vectors = product.decode(found, self.additive_dim)
        else:
            index = product.flat_index(codes, self.codebook_size)
            vectors = product.look_up(books, index, self.additive_dim)
        return self._turned_back(vectors)

    def sums(
        self,
        ids: tf.Tensor,
        weights: tf.Tensor | None,
        segments: tf.Tensor,
        num_segments: tf.Tensor,
    ) -> tf.Tensor:
        """Sums of the vectors of ids, without the vectors themselves.

        Only codes are read for each id: every column of codes adds entries
        up, and what entries become (joined, rotated back) is done to the
        sums. Not for XLA.

        Args:
            ids: integers `[n]`.
            weights: float32 `[n]`, or None for ones.
            segments: integers `[n]` that do not decrease: the sum that each
                id goes to.
            num_segments: scalar int32, how many sums there are.

        Returns:
            float32 `[num_segments, output_dim]`.
        """
        rows, valid, _ = self.rows_of(ids)
        if valid is not None:
            rows, segments = (
                tf.boolean_mask(part, valid) for part in (rows, segments)
            )
            if weights is not None:
                weights = tf.boolean_mask(weights, valid)
        shape = [self.num_subspaces, self.codebook_size, self.entry_dim]
        books = tf.reshape(tf.cast(raw(self.codebooks), tf.float32), shape)
        found = entries.summed(
            books, self._codes_of(rows), weights, segments, num_segments
        )
        return self._turned_back(product.decode(found, self.additive_dim))

    def _codes_of(self, rows: tf.Tensor) -> tf.Tensor:
        if self.bit_packed:
            return packing.gather_bits(
                raw(self.codes), rows, self.num_subspaces, self.codebook_size
            )
        return tf.gather(raw(self.codes), rows)

    def _turned_back(self, vectors: tf.Tensor) -> tf.Tensor:
        """Vectors, where they are coded in rotated axes."""
        if not self.rotated:
            return vectors
        back = tf.cast(raw(self.rotation), tf.float32)
        coded, rest = (
            vectors[..., : self.code_dim],
            vectors[..., self.code_dim :],
        )
        # One product of matrices. An einsum of "...d,ed" multiplies row by row,
        # and wrongly in TensorFlow 2.16 to 2.18 on CPUs with AVX-512.
        turned = tf.tensordot(coded, back, [[-1], [1]])
        return tf.concat([turned, rest], axis=-1)

    def row_codes(self) -> np.ndarray:
        """The codes as integers: uint8 or uint16 `[stored rows, M]`."""
        codes = raw(self.codes).numpy()
        if not self.bit_packed:
            return codes
        return packing.unpack_bits(
            codes, self.stored_rows, self.num_subspaces, self.codebook_size
        )

    @classmethod
    def from_codes(
        cls,
        codes: np.ndarray,
        codebooks: np.ndarray,
        rotation: np.ndarray | None = None,
        **config: Any,
    ) -> "CodeLookupEmbedding":
        """A built layer that holds these codes and codebooks.

        Args:
            codes: integers `[stored rows, M]`.
            codebooks: floats `[M, K, entry width]`.
            rotation: floats `[d, rank]`, `d` the width less the additive
                columns; the joined entries are multiplied by its transpose.
            **config: the constructor's other arguments; `input_dim` defaults
                to the number of codes, `output_dim` to what the codebooks
                give.

        Raises:
            ValueError: if shapes disagree, a code is out of range, or
                `codebook_dtype` cannot hold a number of the codebooks.
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
        split = num_subspaces * (width - additive)
        if rotation is not None:
            split, rank = np.shape(rotation)
            config["rank"] = rank if rank < split else None
        config.setdefault("output_dim", split + additive)
        layer = cls(
            num_subspaces=num_subspaces,
            codebook_size=size,
            rotated=rotation is not None,
            **config,
        )
        expected = (layer.stored_rows, layer.entry_dim)
        if (len(codes), width) != expected:
            raise ValueError(
                "`codes` and `codebooks` must hold (rows, entry width) = "
                f"{expected}. Received: {(len(codes), width)}"
            )
        check_finite("codebooks", codebooks, layer.codebook_dtype)
        store = packing.pack_bits if layer.bit_packed else packing.pack
        layer._values = {
            "codes": store(codes, size),
            "codebooks": codebooks.reshape(-1, width),
        }
        if rotation is not None:
            layer._values["rotation"] = np.asarray(rotation)
        layer.build()
        return layer

    @classmethod
    def from_product_quantized(
        cls, layer: tf.keras.layers.Layer, **config: Any
    ) -> "CodeLookupEmbedding":
        """Freezes a built `QuantizedEmbedding`; see its `freeze`."""
        return layer.freeze(**config)

    @classmethod
    def from_table(
        cls,
        table: np.ndarray,
        num_subspaces: int = 4,
        codebook_size: int = 256,
        *,
        counts: np.ndarray | None = None,
        quantizer: str = "product",
        rank: int | None = None,
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
            quantizer: "product"; "rotated", product quantization of rows
                that are rotated first; or "residual".
            rank: dimensions to which rows are projected first, for "rotated".
                Default: all.
            seed: of k-means.
            **config: the constructor's other arguments.

        Raises:
            ValueError: if the table is not `[N, D]` or not finite.
        """
        check_table(table)
        if quantizer not in QUANTIZERS:
            raise ValueError(
                f"`quantizer` must be one of {', '.join(QUANTIZERS)}. "
                f"Received: quantizer={quantizer!r}"
            )
        size = min(codebook_size, len(table))
        method = QUANTIZERS[quantizer](num_subspaces, size)
        split = table.shape[1] - config.get("additive_dim", 0)
        check_rank(rank, quantizer == "rotated", split)
        rows = table[:, :split]
        codebooks, rotation = fit_codebooks(
            rows, method, quantizer, counts=counts, rank=rank, seed=seed
        )
        codes = method.encode(rows, codebooks, rotation)
        if split < table.shape[1]:
            additive = fit_additive(codes, table[:, split:], counts, size)
            codebooks = np.concatenate(
                [codebooks, additive.reshape(*codebooks.shape[:2], -1)], -1
            )
        if quantizer == "residual":
            config["additive_dim"] = table.shape[1]
        return cls.from_codes(codes, codebooks, rotation, **config)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            num_subspaces=self.num_subspaces,
            codebook_size=self.codebook_size,
            trainable_codebooks=self.trainable_codebooks,
            codebook_dtype=self.codebook_dtype,
            bit_packed=self.bit_packed,
            rotated=self.rotated,
            rank=self.rank,
            decode=self.decode,
        )
        return config


def fit_codebooks(
    rows: np.ndarray,
    method: Quantizer,
    quantizer: str,
    *,
    counts: np.ndarray | None = None,
    rank: int | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Codebooks of a table, and the rotation where its rows are rotated.

    Args:
        rows: float `[N, D]`.
        method: the quantizer that `quantizer`, a key of `QUANTIZERS`, names.
        quantizer: its name.
        counts: `[N]` weights of the rows.
        rank: as of `from_table`.
        seed: of k-means.
    """
    if quantizer == "rotated":
        rotation, codebooks = fit_rotated(
            rows, method, counts, rank=rank, seed=seed
        )
        return codebooks, rotation
    return method.fit(rows, counts, seed=seed), None
