"""The trainable product-quantized table."""

from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.layers.quantized_embedding import QuantizedEmbedding
from mec_tf.layers.ranks import check_rank
from mec_tf.layers.variables import add_raw_weight, raw
from mec_tf.quantizers import ProductQuantizer, fit_rotated


@tf.keras.utils.register_keras_serializable("mec_tf")
class ProductQuantizedEmbedding(QuantizedEmbedding):
    """A drop-in trainable `Embedding` whose sub-vectors learn codes.

    A row is cut into `num_subspaces` sub-vectors, each answered by the
    nearest entry of its sub-space's codebook. `freeze()` then drops the rows
    and keeps codes and codebooks.

    Args:
        input_dim: int, rows of the table.
        output_dim: int, width of a vector.
        num_subspaces: int, `M`; divides `output_dim` less `additive_dim`.
            Default 4.
        codebook_size: int, `K`, up to 65,536. Default 256.
        rotated: bool, whether rows are rotated before they are cut, by a
            matrix that `warm_start` learns (optimized product quantization).
            It stays as it is in training and counts as bytes. Default False.
        rank: int, dimensions to which that matrix also projects rows: low
            rank before product quantization; `num_subspaces` divides it.
            Needs `rotated`. Default None: all.
        **kwargs: as in `QuantizedEmbedding`: the weights of the losses, how
            codebooks move, initializer, first-order columns, `mask_zero`, …

    Input shape: integer ids of any shape; ragged ids too.
    Output shape: the same with `output_dim` added, in `compute_dtype`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> layer = ProductQuantizedEmbedding(1000, 16, num_subspaces=2)
        >>> layer(tf.constant([[1, 2, 3]])).shape
        TensorShape([1, 3, 16])
        >>> frozen = layer.freeze()

    Reference:
        "MEC" (arXiv 2502.15355), stage 1; straight-through codes and moving
        averages as in VQ-VAE (arXiv 1711.00937); rotation as in "Optimized
        product quantization" (PAMI 2014).
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        num_subspaces: int = 4,
        codebook_size: int = 256,
        *,
        rotated: bool = False,
        rank: int | None = None,
        **kwargs: Any,
    ):
        self.num_codes = self.num_subspaces = num_subspaces
        self.codebook_size = codebook_size
        self.rank = rank
        super().__init__(input_dim, output_dim, **kwargs)
        check_rank(rank, rotated, self.split_dim)
        self.rotated = rotated

    @property
    def code_dim(self) -> int:
        return self.rank or self.split_dim

    def make_quantizer(self) -> ProductQuantizer:
        return ProductQuantizer(self.num_subspaces, self.codebook_size)

    def build(self, input_shape: Any = None) -> None:
        super().build(input_shape)
        if self.rotated:
            self.rotation = add_raw_weight(
                self,
                "rotation",
                (self.split_dim, self.code_dim),
                "float32",
                np.eye(self.split_dim, self.code_dim, dtype=np.float32),
            )

    def to_code_space(self, vectors: tf.Tensor) -> tf.Tensor:
        if not self.rotated:
            return vectors
        return tf.matmul(vectors, raw(self.rotation))

    def from_code_space(self, vectors: tf.Tensor) -> tf.Tensor:
        if not self.rotated:
            return vectors
        return tf.matmul(vectors, raw(self.rotation), transpose_b=True)

    def fit_codebooks(
        self, vectors: np.ndarray, weights: np.ndarray, seed: int
    ) -> np.ndarray:
        if not self.rotated:
            return super().fit_codebooks(vectors, weights, seed)
        rotation, codebooks = fit_rotated(
            vectors, self.quantizer, weights, rank=self.rank, seed=seed
        )
        raw(self.rotation).assign(rotation)
        return codebooks

    def encode(self) -> np.ndarray:
        rotation = raw(self.rotation).numpy() if self.rotated else None
        return self.quantizer.encode(
            raw(self.embeddings).numpy(), raw(self.codebooks).numpy(), rotation
        )

    def frozen_state(self) -> dict[str, np.ndarray]:
        state = super().frozen_state()
        if self.rotated:
            state["rotation"] = raw(self.rotation).numpy()
        return state

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.update(
            num_subspaces=self.num_subspaces,
            rotated=self.rotated,
            rank=self.rank,
        )
        return config
