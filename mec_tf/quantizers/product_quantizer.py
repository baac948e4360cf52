"""Product quantization of a whole table."""

import dataclasses

import numpy as np
import tensorflow as tf

from mec_tf.quantizers import packing, product
from mec_tf.quantizers.kmeans import weighted_kmeans

CHUNK_ROWS = 65536


@dataclasses.dataclass(frozen=True)
class ProductQuantizer:
    """Splits vectors into sub-vectors, each replaced by its nearest code.

    Args:
        num_subspaces: `M`, the sub-vectors a vector is cut into; divides its
            width.
        codebook_size: `K`, codes in each sub-space's codebook, 1 to 65,536.

    Raises:
        ValueError: if either is out of range.

    Example:
        >>> quantizer = ProductQuantizer(num_subspaces=2, codebook_size=16)
        >>> table = np.random.default_rng(0).normal(size=(100, 8))
        >>> codebooks = quantizer.fit(table)
        >>> codes = quantizer.encode(table, codebooks)
        >>> codes.shape, codes.dtype
        ((100, 2), dtype('uint8'))

    Reference:
        Jégou, Douze and Schmid, "Product quantization for nearest neighbor
        search", PAMI 2011.
    """

    num_subspaces: int
    codebook_size: int

    def __post_init__(self):
        if self.num_subspaces < 1:
            raise ValueError(
                "`num_subspaces` must be positive. "
                f"Received: num_subspaces={self.num_subspaces}"
            )
        packing.code_dtype(self.codebook_size)

    def check_dim(self, dim: int) -> None:
        """Raises ValueError unless `num_subspaces` divides `dim`."""
        if dim < 1 or dim % self.num_subspaces:
            raise ValueError(
                "`num_subspaces` must divide `output_dim` (less its additive "
                f"columns). Received: num_subspaces={self.num_subspaces}, "
                f"width to divide={dim}"
            )

    def fit(
        self,
        table: np.ndarray,
        weights: np.ndarray | None = None,
        *,
        seed: int = 0,
    ) -> np.ndarray:
        """Codebooks by weighted k-means, one run a sub-space.

        Args:
            table: float `[N, D]`, finite (may be memory-mapped).
            weights: `[N]` row weights, by default all one.
            seed: of the k-means seeds.

        Returns:
            float32 `[M, K, D / M]`.
        """
        self.check_dim(table.shape[1])
        width = table.shape[1] // self.num_subspaces
        return np.stack(
            [
                weighted_kmeans(
                    table[:, part * width : (part + 1) * width],
                    self.codebook_size,
                    weights,
                    seed=seed + part,
                )
                for part in range(self.num_subspaces)
            ]
        )

    def encode(self, table: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
        """Nearest codes, packed: uint8 or uint16 `[N, M]`; in chunks."""
        self.check_dim(table.shape[1])
        codes = np.empty(
            (len(table), self.num_subspaces),
            packing.code_dtype(self.codebook_size),
        )
        books = tf.constant(codebooks, tf.float32)
        for start in range(0, len(table), CHUNK_ROWS):
            rows = np.asarray(table[start : start + CHUNK_ROWS], np.float32)
            parts = product.split(tf.constant(rows), self.num_subspaces)
            nearest = product.nearest(parts, books)
            codes[start : start + len(rows)] = nearest.numpy()
        return codes

    def decode(self, codes: np.ndarray, codebooks: np.ndarray) -> np.ndarray:
        """Vectors of `codes`: float32 `[n, D]`."""
        flat = np.concatenate(list(np.asarray(codebooks, np.float32)))
        offsets = np.arange(self.num_subspaces) * self.codebook_size
        return flat[codes.astype(np.int64) + offsets].reshape(len(codes), -1)
