"""Refusal of numbers that a dtype cannot hold."""

import numpy as np

_CHUNK = 65536


def check_finite(
    name: str, values: np.ndarray, dtype: str = "float32", first_row: int = 0
) -> None:
    """Raises ValueError if a value is not finite in `dtype`.

    Args:
        name: of the argument, for the message.
        values: numbers of any shape, `[rows, ...]`; may be memory-mapped.
        dtype: that they will be stored or computed in. Default "float32".
        first_row: the number of the first row, for the message.
    """
    greatest = np.finfo(dtype).max
    for start in range(0, len(values), _CHUNK):
        rows = np.asarray(values[start : start + _CHUNK])
        # Not so for NaN, which both of them then are.
        if not rows.size or -greatest <= rows.min() <= rows.max() <= greatest:
            continue
        fits = np.abs(rows.reshape(len(rows), -1)) <= greatest
        if not fits.all():
            row = first_row + start + int(np.argmin(fits.all(axis=1)))
            raise ValueError(
                f"`{name}` must be finite in {np.dtype(dtype).name}, which "
                f"ends at {greatest:g}. Received a greater magnitude, NaN or "
                f"infinity in row {row}"
            )
