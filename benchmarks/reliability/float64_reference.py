"""Rows of every magnitude, and what float64 makes of them."""

import numpy as np


def flushed(values: np.ndarray) -> np.ndarray:
    """float64; what float32 holds as a subnormal number is zero."""
    values = values.astype(np.float64)
    return np.where(np.abs(values) < np.finfo(np.float32).tiny, 0.0, values)


def reference_codes(
    rows: np.ndarray, books: np.ndarray, residual: bool
) -> np.ndarray:
    """The nearest codes `[n, M]` in float64; the lowest of equal ones."""
    rest, books = flushed(rows), flushed(books)
    codes = np.empty((len(rows), len(books)), np.int64)
    for start in range(0, len(rows), 8192):
        part = slice(start, start + 8192)
        left = rest[part]
        for place, book in enumerate(books):
            width = book.shape[1]
            goal = left if residual else left[:, place * width :][:, :width]
            gaps = goal @ (-2 * book.T) + np.square(book).sum(axis=1)
            codes[part, place] = gaps.argmin(axis=1)
            if residual:
                left = flushed(left - book[codes[part, place]])
    return codes


def reference_vectors(
    codes: np.ndarray, books: np.ndarray, residual: bool
) -> np.ndarray:
    places = np.arange(len(books))
    entries = flushed(books)[places, codes.astype(np.int64)]
    if residual:
        return entries.sum(axis=1)
    return entries.reshape(len(codes), -1)


def distortion(rows: np.ndarray, vectors: np.ndarray) -> float:
    """Mean squared error, float64."""
    return float(np.square(flushed(rows) - vectors).sum(1).mean())


def random_rows(kind: str, rows: int, dim: int, seed: int) -> np.ndarray:
    """float32 `[rows, dim]`."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, dim))
    if kind == "grid":
        values = np.round(values, 1)
    elif kind == "offset":
        values += 1000.0
    elif kind == "clusters":  # tight ones, far apart
        values = 0.001 * values + rng.integers(-100, 100, (rows, 1))
    elif kind == "magnitudes":
        values *= 10.0 ** rng.uniform(-20, 20, (rows, 1))
    elif kind == "largest":
        values *= 3e38 / np.abs(values).max()
    elif kind != "normal":
        values *= float(kind)
    return values.astype(np.float32)
