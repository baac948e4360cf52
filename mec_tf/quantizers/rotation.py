"""The rotation that makes product quantization lose least."""

import numpy as np

from mec_tf.quantizers.kmeans import sample_points, to_unit_scale
from mec_tf.quantizers.quantizer import Quantizer


def fit_rotated(
    table: np.ndarray,
    quantizer: Quantizer,
    weights: np.ndarray | None = None,
    *,
    rank: int | None = None,
    iterations: int = 8,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """A matrix of orthonormal columns after which rows are coded best.

    Alternates between codebooks for the rotated rows and the rotation that
    brings rows nearest to their reconstructions (orthogonal Procrustes, by a
    singular value decomposition). With a `rank`, rows are first projected on
    the directions in which they are longest.

    Args:
        table: float `[N, D]`, finite.
        quantizer: the product quantizer that will code the rotated rows.
        weights: `[N]` row weights, by default all one.
        rank: columns of the matrix. Default: `D`.
        iterations: alternations.
        seed: of k-means.

    Returns:
        float32 `[D, rank]`, `R` (code `table @ R`, and undo by `@ R.T`), and
        the codebooks `[M, K, rank / M]` of the rotated rows.

    Reference:
        Ge, He, Ke and Sun, "Optimized product quantization", PAMI 2014, the
        non-parametric solution.
    """
    quantizer.check_dim(rank or table.shape[1])
    rows, weights = sample_points(
        table, weights, quantizer.codebook_size, seed=seed
    )
    rows, exponent = to_unit_scale(rows)
    basis = np.eye(rows.shape[1], dtype=np.float32)
    if rank is not None:
        moments = (rows * weights[:, None]).T @ rows
        basis = np.linalg.eigh(moments)[1][:, : -rank - 1 : -1]
        basis = np.asarray(basis, np.float32)
        rows = rows @ basis
    rotation = np.eye(rows.shape[1], dtype=np.float32)
    for _ in range(iterations):
        rotated = rows @ rotation
        books = quantizer.fit(rotated, weights, seed=seed)
        coded = quantizer.decode(quantizer.encode(rotated, books), books)
        left, _, right = np.linalg.svd(
            (rows * weights[:, None]).T @ coded, full_matrices=False
        )
        rotation = np.asarray(left @ right, np.float32)
    books = quantizer.fit(rows @ rotation, weights, seed=seed)
    return basis @ rotation, np.ldexp(books, exponent)
