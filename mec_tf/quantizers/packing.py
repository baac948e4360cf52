"""Storage of codes as few bits: whole integers, or packed to the bit.

Bit-packed rows take whole bytes, little end first; where a row takes 1, 2 or
4 bits, as many rows as fit share a byte.
"""

import numpy as np
import tensorflow as tf

MAX_CODEBOOK_SIZE = 2**16


def code_dtype(codebook_size: int) -> np.dtype:
    """uint8 for up to 256 codes, uint16 for up to 65,536.

    Args:
        codebook_size: entries that a code chooses from.

    Raises:
        ValueError: if `codebook_size` is outside `[1, 65536]`.
    """
    if not 1 <= codebook_size <= MAX_CODEBOOK_SIZE:
        raise ValueError(
            "`codebook_size` must be between 1 and 65536. "
            f"Received: codebook_size={codebook_size}"
        )
    return np.dtype(np.uint8 if codebook_size <= 256 else np.uint16)


def pack(codes: np.ndarray, codebook_size: int) -> np.ndarray:
    """Casts codes to `code_dtype(codebook_size)` after a range check.

    Args:
        codes: integers of any shape.
        codebook_size: entries that a code chooses from.

    Raises:
        ValueError: if a code is not in `[0, codebook_size)`.
    """
    codes = np.asarray(codes)
    if codes.size and not 0 <= codes.min() <= codes.max() < codebook_size:
        raise ValueError(
            f"`codes` must lie in [0, {codebook_size}). Received codes "
            f"between {codes.min()} and {codes.max()}"
        )
    return codes.astype(code_dtype(codebook_size))


def code_bits(codebook_size: int) -> int:
    """Bits that hold a code: 8 for 256 codes, 1 for one or two."""
    return max(1, (codebook_size - 1).bit_length())


def rows_per_byte(num_codes: int, codebook_size: int) -> int:
    """Bit-packed rows that share a byte: 8, 4, 2 or 1."""
    bits = num_codes * code_bits(codebook_size)
    return 8 // bits if bits in (1, 2, 4) else 1


def packed_shape(
    rows: int, num_codes: int, codebook_size: int
) -> tuple[int, int]:
    """Shape of the uint8 array of `pack_bits`."""
    shared = rows_per_byte(num_codes, codebook_size)
    width = -(-num_codes * code_bits(codebook_size) // 8)
    return -(-rows // shared), width


def codes_bytes(
    rows: int, num_codes: int, codebook_size: int, bit_packed: bool
) -> int:
    """Bytes that the codes of a table take."""
    if bit_packed:
        return int(np.prod(packed_shape(rows, num_codes, codebook_size)))
    return rows * num_codes * code_dtype(codebook_size).itemsize


def saves(num_codes: int, codebook_size: int) -> bool:
    """Whether bit-packing takes less than whole integers."""
    rows = 8
    return codes_bytes(rows, num_codes, codebook_size, True) < codes_bytes(
        rows, num_codes, codebook_size, False
    )


def pack_bits(codes: np.ndarray, codebook_size: int) -> np.ndarray:
    """Packs codes `[N, M]` to the bit.

    Returns:
        uint8 `packed_shape(N, M, codebook_size)`.

    Raises:
        ValueError: if a code is not in `[0, codebook_size)`.
    """
    codes = pack(codes, codebook_size)
    rows, num_codes = codes.shape
    bits = code_bits(codebook_size)
    shared = rows_per_byte(num_codes, codebook_size)
    blocks, width = packed_shape(rows, num_codes, codebook_size)
    packed = np.empty((blocks, width), np.uint8)
    step = 65536
    for start in range(0, blocks, step):
        chunk = codes[start * shared : (start + step) * shared]
        missing = -len(chunk) % shared
        chunk = np.pad(chunk, ((0, missing), (0, 0)))
        flags = (chunk[..., None] >> np.arange(bits, dtype=chunk.dtype)) & 1
        flags = flags.reshape(len(chunk) // shared, -1).astype(np.uint8)
        packed[start : start + step] = np.packbits(
            flags, axis=1, bitorder="little"
        )
    return packed


def gather_bits(
    packed: tf.Variable | tf.Tensor,
    rows: tf.Tensor,
    num_codes: int,
    codebook_size: int,
) -> tf.Tensor:
    """Codes of some rows: packed bytes are gathered, then unpacked.

    Args:
        packed: what `pack_bits` gave.
        rows: int32 or int64 row numbers, of any shape.
        num_codes: `M`.
        codebook_size: `K`.

    Returns:
        int32 `[..., M]`.
    """
    bits = code_bits(codebook_size)
    shared = rows_per_byte(num_codes, codebook_size)
    mask = 2**bits - 1
    if shared > 1:
        row_bits = num_codes * bits
        place = tf.cast(tf.math.floormod(rows, shared), tf.int32)
        block = tf.gather(packed, tf.math.floordiv(rows, shared))
        first = place[..., None] * row_bits
        shifts = first + tf.range(num_codes, dtype=tf.int32) * bits
        return tf.bitwise.right_shift(tf.cast(block, tf.int32), shifts) & mask
    block = tf.cast(tf.gather(packed, rows), tf.int32)
    starts = np.arange(num_codes) * bits
    last = block.shape[-1] - 1
    value = tf.zeros_like(tf.gather(block, starts // 8, axis=-1))
    # A code of up to 16 bits touches three bytes at most.
    for extra in range(3):
        touched = np.minimum(starts // 8 + extra, last)
        inside = (starts // 8 + extra <= last).astype(np.int32)
        part = tf.gather(block, touched, axis=-1) * inside
        value += tf.bitwise.left_shift(part, 8 * extra)
    return tf.bitwise.right_shift(value, starts % 8) & mask


def unpack_bits(
    packed: np.ndarray, rows: int, num_codes: int, codebook_size: int
) -> np.ndarray:
    """Undoes `pack_bits`: codes `[rows, M]` of `code_dtype`."""
    codes = np.empty((rows, num_codes), code_dtype(codebook_size))
    step = 65536
    table = tf.constant(packed)
    for start in range(0, rows, step):
        chunk = tf.range(start, min(start + step, rows))
        codes[start : start + step] = gather_bits(
            table, chunk, num_codes, codebook_size
        ).numpy()
    return codes
