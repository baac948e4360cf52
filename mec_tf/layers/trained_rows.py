"""The rows of a trained table that a layer starts from."""

import numpy as np

from mec_tf.quantizers.finite import check_finite


def check_table(table: np.ndarray) -> None:
    """Raises ValueError unless `table` is `[N, D]`, finite in float32."""
    check_shape(table)
    check_finite("table", table)


def check_shape(table: np.ndarray) -> None:
    """Raises ValueError unless `table` is `[N, D]`; its values are not read."""
    shape = np.shape(table)
    if len(shape) != 2 or 0 in shape:
        raise ValueError(
            f"`table` must be [rows, columns]. Received shape {shape}"
        )


def stored_rows(
    table: np.ndarray, counts: np.ndarray | None, stored: int
) -> np.ndarray:
    """The first `stored` rows; row 0 is the mean of those that share it.

    Args:
        table: float `[rows, columns]`.
        counts: `[rows]`, the rows' weights in the mean. Default: alike.
        stored: how many rows are kept.
    """
    if stored == len(table):
        return table
    kept = np.array(table[:stored], np.float32)
    sharing = np.concatenate([table[:1], table[stored:]])
    weights = None
    if counts is not None:
        weights = np.append(counts[:1], counts[stored:])
    if weights is not None and not weights.sum():
        weights = None
    kept[0] = np.average(sharing, axis=0, weights=weights)
    return kept
