"""Residual quantization of a whole table."""

import dataclasses

import numpy as np
import tensorflow as tf

from mec_tf.quantizers import packing
from mec_tf.quantizers.kmeans import sample_points, weighted_kmeans
from mec_tf.quantizers.nearest import nearest, nearest_rows, nearly_nearest
from mec_tf.quantizers.quantizer import Quantizer


@dataclasses.dataclass(frozen=True)
class ResidualQuantizer(Quantizer):
    """A sum of entries; each stage quantizes what those before left over.

    Args:
        num_stages: `M`, entries that are summed.
        codebook_size: `K`, codes in each stage's codebook, 1 to 65,536.

    Raises:
        ValueError: if either is out of range.

    Example:
        >>> quantizer = ResidualQuantizer(num_stages=2, codebook_size=16)
        >>> table = np.random.default_rng(0).normal(size=(100, 7))
        >>> quantizer.fit(table).shape
        (2, 16, 7)

    Reference:
        Chen, Guan and Wang, "Approximate nearest neighbor search by residual
        vector quantization", Sensors 2010.
    """

    num_stages: int
    codebook_size: int

    def __post_init__(self):
        if self.num_stages < 1:
            raise ValueError(
                "`num_stages` must be positive. "
                f"Received: num_stages={self.num_stages}"
            )
        packing.code_dtype(self.codebook_size)

    @property
    def num_codes(self) -> int:
        return self.num_stages

    def check_dim(self, dim: int) -> None:
        if dim < 1:
            raise ValueError(
                "`output_dim` (less its additive columns) must be positive. "
                f"Received width: {dim}"
            )

    def entry_dim(self, dim: int) -> int:
        return dim

    def assign(
        self, vectors: tf.Tensor, codebooks: tf.Tensor, exact: bool = True
    ) -> tuple[tf.Tensor, tf.Tensor]:
        find = nearest if exact else nearly_nearest
        codes, parts, rest = [], [], vectors
        for stage in range(self.num_stages):
            book = codebooks[stage]
            code = find(tf.stop_gradient(rest)[None], book[None])  # [n, 1]
            codes.append(code)
            parts.append(rest)
            rest = rest - tf.gather(book, code[:, 0])
        return tf.concat(codes, axis=1), tf.stack(parts)

    def join(self, entries: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(entries, axis=-2)

    def fit(
        self,
        table: np.ndarray,
        weights: np.ndarray | None = None,
        *,
        seed: int = 0,
    ) -> np.ndarray:
        self.check_dim(table.shape[1])
        # Residuals are a copy of the rows; k-means looks at a sample anyway.
        rest, weights = sample_points(
            table, weights, self.codebook_size, seed=seed
        )
        books = []
        for stage in range(self.num_stages):
            book = weighted_kmeans(
                rest, self.codebook_size, weights, seed=seed + stage
            )
            rest = rest - book[nearest_rows(rest, book)]
            books.append(book)
        return np.stack(books)
