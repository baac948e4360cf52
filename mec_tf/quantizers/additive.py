"""Codes of vectors some of whose columns are sums of per-code values."""

import numpy as np
import tensorflow as tf

from mec_tf.quantizers import product
from mec_tf.quantizers.nearest import nearest


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


def nearest_additive(
    vectors: tf.Tensor,
    codebooks: tf.Tensor,
    additive_dim: int = 0,
    sweeps: int = 3,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Codes of vectors in given codebooks, summed columns included.

    Codes are chosen one after the other, each for the least squared error of
    all columns given the others, a few times over. Without summed columns
    that is product quantization; where all are summed, the first sweep is
    residual quantization and the next ones only better it.

    Args:
        vectors: float32 `[n, M * d + A]`.
        codebooks: float32 `[M, K, d + A]`.
        additive_dim: `A`, the last columns.
        sweeps: passes over the code columns, where there are summed columns.

    Returns:
        int32 codes `[n, M]`, and the vectors `[n, M * d + A]` they stand for.
    """
    books = tf.unstack(codebooks)
    width = codebooks.shape[-1] - additive_dim
    parts = tf.split(vectors[:, : len(books) * width], len(books), axis=1)
    rest = vectors[:, len(books) * width :]
    codes: list[tf.Tensor] = [None] * len(books)
    for sweep in range(sweeps if additive_dim else 1):
        for place, book in enumerate(books):
            if sweep:
                rest += tf.gather(book, codes[place])[:, width:]
            goal = tf.concat([parts[place], rest], axis=1)
            codes[place] = nearest(goal[None], book[None])[:, 0]
            rest -= tf.gather(book, codes[place])[:, width:]
    entries = [
        tf.gather(book, code) for book, code in zip(books, codes, strict=True)
    ]
    joined = product.decode(tf.stack(entries, axis=1), additive_dim)
    return tf.stack(codes, axis=1), joined


def encode_additive(
    vectors: np.ndarray,
    codebooks: np.ndarray,
    additive_dim: int = 0,
    sweeps: int = 3,
) -> np.ndarray:
    """Codes int32 `[n, M]` as of `nearest_additive`, in chunks.

    Args:
        vectors: float `[n, D]`.
        codebooks: as of `nearest_additive`.
        additive_dim: last columns that are sums over the codes. Default 0.
        sweeps: passes over the `M` codes of a row. Default 3.
    """
    books = tf.constant(codebooks, tf.float32)
    codes = np.empty((len(vectors), books.shape[0]), np.int32)
    # 16 MiB of distances at once.
    step = max(1, (1 << 22) // books.shape[1])
    for start in range(0, len(vectors), step):
        rows = tf.constant(vectors[start : start + step], tf.float32)
        found, _ = nearest_additive(rows, books, additive_dim, sweeps)
        codes[start : start + step] = found.numpy()
    return codes
