"""How far the rows of compressed tables are from those they came from."""

import numpy as np
import tensorflow as tf

from mec_tf.layers.variables import raw
from mec_tf.training.popularity_tiers import TIERS, popularity_tiers

# Rows at a time: 10 MiB of float32 at D = 40.
CHUNK = 65_536


def row_distortion(
    full: tf.keras.layers.Layer,
    small: tf.keras.layers.Layer,
    counts: np.ndarray,
) -> dict[str, float]:
    """Distance of a table from the one it came from, by popularity.

    Squared distances of the rows over their squared lengths at full
    precision, both summed over the lookups of a tier: 0 where nothing has
    moved, 1 where zeros would be as near. What training has moved since is
    part of it, not only the rounding to codes.

    Args:
        full: a built table with its rows in `embeddings`.
        small: a built table of the same shape.
        counts: `[rows]`, lookups in the training data.

    Returns:
        A value for each tier by name; tiers that are never looked up, or are
        zero at full precision, are left out.
    """
    tiers = popularity_tiers(counts)
    moved, length = np.zeros((2, len(TIERS)))
    looked_up = np.flatnonzero(counts)
    for start in range(0, len(looked_up), CHUNK):
        ids = looked_up[start : start + CHUNK]
        rows = tf.cast(tf.gather(raw(full.embeddings), ids), tf.float32)
        gaps = tf.cast(small(ids), tf.float32) - rows
        for total, vectors in ((moved, gaps), (length, rows)):
            squares = tf.reduce_sum(tf.square(vectors), axis=-1).numpy()
            total += np.bincount(tiers[ids], counts[ids] * squares, len(TIERS))
    return {
        name: float(moved[tier] / length[tier])
        for tier, name in enumerate(TIERS)
        if length[tier]
    }
