"""The rows of a trained table that a layer starts from."""

import numpy as np


def check_table(table: np.ndarray) -> None:
    """Raises ValueError unless `table` is a finite `[N, D]` of floats."""
    shape = np.shape(table)
    if len(shape) != 2 or 0 in shape:
        raise ValueError(
            f"`table` must be [rows, columns]. Received shape {shape}"
        )
    for start in range(0, shape[0], 65536):
        finite = np.isfinite(table[start : start + 65536]).all(axis=1)
        if not finite.all():
            row = start + int(np.argmin(finite))
            raise ValueError(
                f"`table` must be finite. Received NaN or infinity in row {row}"
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
