"""The rotation that makes product quantization lose least."""

import numpy as np

from mec_tf.quantizers.kmeans import sample_points
from mec_tf.quantizers.quantizer import Quantizer


def fit_rotated(
    table: np.ndarray,
    quantizer: Quantizer,
    weights: np.ndarray | None = None,
    *,
    iterations: int = 8,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """An orthogonal matrix after which sub-vectors are coded best.

    Alternates between codebooks for the rotated rows and the rotation that
    brings rows nearest to their reconstructions (orthogonal Procrustes, by a
    singular value decomposition).

    Args:
        table: float `[N, D]`, finite.
        quantizer: the product quantizer that will code the rotated rows.
        weights: `[N]` row weights, by default all one.
        iterations: alternations.
        seed: of k-means.

    Returns:
        float32 `[D, D]`, `R` (code `table @ R`, and undo by `@ R.T`), and the
        codebooks `[M, K, D / M]` of the rotated rows.

    Reference:
        Ge, He, Ke and Sun, "Optimized product quantization", PAMI 2014, the
        non-parametric solution.
    """
    quantizer.check_dim(table.shape[1])
    rows, weights = sample_points(
        table, weights, quantizer.codebook_size, seed=seed
    )
    rotation = np.eye(rows.shape[1], dtype=np.float32)
    for _ in range(iterations):
        rotated = rows @ rotation
        books = quantizer.fit(rotated, weights, seed=seed)
        coded = quantizer.decode(quantizer.encode(rotated, books), books)
        left, _, right = np.linalg.svd(
            (rows * weights[:, None]).T @ coded, full_matrices=False
        )
        rotation = np.asarray(left @ right, np.float32)
    return rotation, quantizer.fit(rows @ rotation, weights, seed=seed)
