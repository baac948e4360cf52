"""Rows of a table by how popular they are."""

import numpy as np

TIERS = ("popular", "middle", "rare")


def popularity_tiers(counts: np.ndarray) -> np.ndarray:
    """The tier of each row; each tier answers a third of the lookups.

    Rows are taken from the most popular one on; a row belongs to the tier in
    which its lookups begin, so the most popular row is always "popular".

    Args:
        counts: `[rows]`, lookups in the training data.

    Returns:
        int8 `[rows]`, places in `TIERS`. Rows never looked up are "rare".
    """
    counts = np.asarray(counts, np.float64)
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    place = np.floor(before * len(TIERS) / max(1.0, counts.sum()))
    tiers = np.empty(len(counts), np.int8)
    tiers[order] = np.minimum(place, len(TIERS) - 1)
    tiers[counts == 0] = len(TIERS) - 1
    return tiers
