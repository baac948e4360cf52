"""Storage of codes as the smallest unsigned integers that hold them."""

import numpy as np

MAX_CODEBOOK_SIZE = 2**16


def code_dtype(codebook_size: int) -> np.dtype:
    """uint8 for up to 256 codes, uint16 for up to 65,536.

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
