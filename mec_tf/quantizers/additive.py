"""Per-code values whose sums fit a column."""

import numpy as np


def fit_additive(
    codes: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray | None,
    codebook_size: int,
    sweeps: int = 6,
) -> np.ndarray:
    """Per-code values whose sums fit `targets`, by coordinate descent.

    Args:
        codes: `[n, M]`.
        targets: float `[n, A]`.
        weights: `[n]` row weights; all alike if None or all zero.
        codebook_size: `K`.
        sweeps: passes over the sub-spaces.

    Returns:
        float32 `[M * K, A]`.
    """
    if weights is None or not weights.sum() > 0:
        weights = np.ones(len(codes))
    num_subspaces = codes.shape[1]
    values = np.zeros((num_subspaces, codebook_size, targets.shape[1]))
    rest = targets.astype(np.float64)
    mass = [
        np.maximum(np.bincount(part, weights, minlength=codebook_size), 1e-9)
        for part in codes.T
    ]
    for _ in range(sweeps):
        for part in range(num_subspaces):
            picked = codes[:, part]
            for column in range(targets.shape[1]):
                sums = np.bincount(
                    picked, weights * rest[:, column], codebook_size
                )
                step = sums / mass[part]
                values[part, :, column] += step
                rest[:, column] -= step[picked]
    return values.reshape(-1, targets.shape[1]).astype(np.float32)
