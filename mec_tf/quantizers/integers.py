"""Rows as b-bit integers times a step size.

An integer of b bits lies in the two's-complement range `[-2^(b-1), q]` with
`q = 2^(b-1) - 1`. It is stored in offset binary, `integer + 2^(b-1)`, little
end first; a row takes whole bytes, so that it can be gathered and written
without its neighbours.
"""

import numpy as np
import tensorflow as tf

BITS = (8, 4, 2)
STEP_METHODS = ("max", "mse")
MIN_STEP = 1e-6
_CHUNK = 65536


def check_bits(bits: int) -> int:
    """Returns `bits`.

    Raises:
        ValueError: unless `bits` is 8, 4 or 2.
    """
    if bits not in BITS or isinstance(bits, bool):
        raise ValueError(f"`bits` must be 8, 4 or 2. Received: bits={bits!r}")
    return int(bits)


def integer_range(bits: int) -> tuple[int, int]:
    """The least and the greatest integer of that many bits."""
    return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1


def packed_width(dim: int, bits: int) -> int:
    """Bytes that a packed row of `dim` integers takes."""
    return -(-dim * bits // 8)


def table_bytes(
    rows: int,
    dim: int,
    bits: int,
    step_sizes: str = "row",
    step_dtype: str = "float32",
) -> int:
    """Bytes of a packed table with its step sizes."""
    steps = rows if step_sizes == "row" else 1
    return (
        rows * packed_width(dim, bits) + steps * np.dtype(step_dtype).itemsize
    )


def quantize(
    values: tf.Tensor,
    steps: tf.Tensor,
    bits: int,
    noise: tf.Tensor | float = 0.5,
) -> tf.Tensor:
    """`clip(floor(values / steps + noise))`.

    Args:
        values: float32 `[..., D]`.
        steps: float32 step sizes, broadcast against `values`.
        bits: 8, 4 or 2.
        noise: uniform in [0, 1), broadcast against `values`, rounds
            stochastically: right on average. Default 0.5: to the nearest
            integer.

    Returns:
        Whole numbers, float32 `[..., D]`.
    """
    low, high = integer_range(bits)
    return tf.clip_by_value(tf.floor(values / steps + noise), low, high)


def step_slope(values: tf.Tensor, steps: tf.Tensor, bits: int) -> tf.Tensor:
    """Derivative of `steps * quantize(values, steps, bits)` by the steps.

    `round(x) - x` with `x = values / steps`, rounding passed straight
    through; beyond the range, the least or the greatest integer (ALPT,
    equation 7, after LSQ).

    Returns:
        float32 `[..., D]`.
    """
    low, high = integer_range(bits)
    ratio = values / steps
    inside = tf.floor(ratio + 0.5) - ratio
    above = tf.where(ratio >= high, float(high), inside)
    return tf.where(ratio <= low, float(low), above)


def pack(integers: tf.Tensor, bits: int) -> tf.Tensor:
    """Packs whole numbers `[..., D]` to uint8 `[..., packed_width(D)]`."""
    low, _ = integer_range(bits)
    shifted = tf.cast(tf.cast(integers, tf.int32) - low, tf.uint8)
    shared = 8 // bits
    if shared == 1:
        return shifted
    missing = -shifted.shape[-1] % shared
    padding = [[0, 0]] * (len(shifted.shape) - 1) + [[0, missing]]
    shifted = tf.cast(tf.pad(shifted, padding), tf.int32)
    shape = tf.concat([tf.shape(shifted)[:-1], [-1, shared]], axis=0)
    places = 2 ** (bits * np.arange(shared, dtype=np.int32))
    return tf.cast(
        tf.reduce_sum(tf.reshape(shifted, shape) * places, axis=-1), tf.uint8
    )


def unpack(packed: tf.Tensor, dim: int, bits: int) -> tf.Tensor:
    """Undoes `pack`: whole numbers, float32 `[..., dim]`."""
    low, _ = integer_range(bits)
    shared = 8 // bits
    if shared > 1:
        shifts = np.arange(shared, dtype=np.uint8) * np.uint8(bits)
        parts = tf.bitwise.right_shift(packed[..., None], shifts)
        parts = tf.bitwise.bitwise_and(parts, np.uint8(2**bits - 1))
        shape = tf.concat(
            [tf.shape(packed)[:-1], [packed.shape[-1] * shared]], axis=0
        )
        packed = tf.reshape(parts, shape)[..., :dim]
    return tf.cast(packed, tf.float32) + float(low)


def dequantize(
    packed: tf.Tensor, steps: tf.Tensor, dim: int, bits: int
) -> tf.Tensor:
    """Vectors of packed rows.

    Args:
        packed: uint8 `[..., packed_width(dim)]`.
        steps: floats `[...]`, a step size for each row.
        dim: width of a vector.
        bits: 8, 4 or 2.

    Returns:
        float32 `[..., dim]`.
    """
    return unpack(packed, dim, bits) * tf.cast(steps, tf.float32)[..., None]


def step_sizes_of(
    table: np.ndarray, bits: int, method: str = "mse"
) -> np.ndarray:
    """A step size for each row of a table.

    Args:
        table: float `[N, D]`; may be memory-mapped.
        bits: 8, 4 or 2.
        method: "max", the largest magnitude over `q`: nothing is clipped;
            "mse" (default), of shares of that the one of least squared error.

    Returns:
        float32 `[N]`, at least `MIN_STEP`.

    Raises:
        ValueError: if `method` is not one of these.
    """
    if method not in STEP_METHODS:
        raise ValueError(
            f"`method` must be one of {', '.join(STEP_METHODS)}. "
            f"Received: method={method!r}"
        )
    steps = np.empty(len(table), np.float32)
    for start in range(0, len(table), _CHUNK):
        chunk = np.asarray(table[start : start + _CHUNK], np.float32)
        steps[start : start + _CHUNK] = _chunk_steps(chunk, bits, method)
    return np.maximum(steps, MIN_STEP)


def _chunk_steps(rows: np.ndarray, bits: int, method: str) -> np.ndarray:
    low, high = integer_range(bits)
    steps = np.abs(rows).max(axis=1) / high
    if method == "max":
        return steps
    best, least = steps, np.full(len(rows), np.inf, np.float32)
    for share in np.linspace(0.2, 1.0, 17, dtype=np.float32):
        tried = np.maximum(steps * share, MIN_STEP)[:, None]
        nearest = np.clip(np.floor(rows / tried + 0.5), low, high) * tried
        error = np.square(nearest - rows).sum(axis=1)
        better = error <= least
        best = np.where(better, tried[:, 0], best)
        least = np.where(better, error, least)
    return best


def pack_table(table: np.ndarray, steps: np.ndarray, bits: int) -> np.ndarray:
    """Rounds and packs a table, chunk by chunk.

    Args:
        table: float `[N, D]`; may be memory-mapped.
        steps: floats `[N]`, or `[1]` for all rows.
        bits: 8, 4 or 2.

    Returns:
        uint8 `[N, packed_width(D, bits)]`.
    """
    rows, dim = table.shape
    packed = np.empty((rows, packed_width(dim, bits)), np.uint8)
    steps = np.asarray(steps, np.float32)
    for start in range(0, rows, _CHUNK):
        chunk = tf.constant(table[start : start + _CHUNK], tf.float32)
        sizes = steps if len(steps) == 1 else steps[start : start + _CHUNK]
        integers = quantize(chunk, sizes[:, None], bits)
        packed[start : start + _CHUNK] = pack(integers, bits).numpy()
    return packed


def unpack_table(packed: np.ndarray, dim: int, bits: int) -> np.ndarray:
    """Undoes the packing of `pack_table`: int8 `[N, dim]`."""
    integers = np.empty((len(packed), dim), np.int8)
    for start in range(0, len(packed), _CHUNK):
        chunk = tf.constant(packed[start : start + _CHUNK])
        integers[start : start + _CHUNK] = unpack(chunk, dim, bits).numpy()
    return integers
