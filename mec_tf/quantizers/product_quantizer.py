"""Product quantization of a whole table."""

import dataclasses

import numpy as np
import tensorflow as tf

from mec_tf.quantizers import packing, product
from mec_tf.quantizers.kmeans import weighted_kmeans
from mec_tf.quantizers.nearest import nearest, nearly_nearest
from mec_tf.quantizers.quantizer import Quantizer


@dataclasses.dataclass(frozen=True)
class ProductQuantizer(Quantizer):
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

    @property
    def num_codes(self) -> int:
        return self.num_subspaces

    def check_dim(self, dim: int) -> None:
        """Raises ValueError unless `num_subspaces` divides `dim`."""
        if dim < 1 or dim % self.num_subspaces:
            raise ValueError(
                "`num_subspaces` must divide `output_dim` (less its additive "
                f"columns). Received: num_subspaces={self.num_subspaces}, "
                f"width to divide={dim}"
            )

    def entry_dim(self, dim: int) -> int:
        return dim // self.num_subspaces

    def assign(
        self, vectors: tf.Tensor, codebooks: tf.Tensor, exact: bool = True
    ) -> tuple[tf.Tensor, tf.Tensor]:
        parts = product.split(vectors, self.num_subspaces)
        find = nearest if exact else nearly_nearest
        return find(tf.stop_gradient(parts), codebooks), parts

    def join(self, entries: tf.Tensor) -> tf.Tensor:
        return product.decode(entries)

    def fit(
        self,
        table: np.ndarray,
        weights: np.ndarray | None = None,
        *,
        seed: int = 0,
    ) -> np.ndarray:
        self.check_dim(table.shape[1])
        width = self.entry_dim(table.shape[1])
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
