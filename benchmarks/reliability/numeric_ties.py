"""Codes that are equally near: the lowest wins in every way of running."""

from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf

from benchmarks.reliability.float64_reference import reference_codes
from mec_tf import layers
from mec_tf.layers.variables import raw
from mec_tf.quantizers import ProductQuantizer, nearest, product


def tie_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows `[n, M * d]` with equally near codes in books `[M, K, d]`."""
    rng = np.random.default_rng(seed)
    codes, size = int(rng.integers(1, 5)), int(rng.integers(1, 40))
    width, rows = int(rng.integers(1, 18)), int(rng.integers(1, 80))
    if rng.random() < 0.5:  # equal entries, here and there
        books = rng.normal(size=(codes, size, width))
        repeats = rng.integers(0, size, (3 if size < 30 else 2) * size)
        books = np.concatenate([books, books[:, repeats]], axis=1)
        table = rng.normal(size=(rows, codes * width))
    else:  # whole numbers: different entries at the same distance
        books = rng.integers(-2, 3, (codes, 3 * size, width))
        table = rng.integers(-2, 3, (rows, codes * width))
    again = rng.integers(0, rows, rows)  # equal rows, in other places
    table = np.concatenate([table, table[again]])
    scale = 2.0 ** rng.choice([-100, -10, 0, 0, 0, 10, 100])
    return (table * scale).astype(np.float32), (books * scale).astype(
        np.float32
    )


in_graph = tf.function(
    nearest.nearest, input_signature=[tf.TensorSpec([None] * 3)] * 2
)


def check_tie(seed: int, compiled: bool) -> tuple[int, int]:
    """Codes looked at in all ways of running, and how many are not right."""
    table, books = tie_case(seed)
    codes, size, width = books.shape
    quantizer = ProductQuantizer(codes, size)
    # Equal entries by their content, not by rounded distances.
    right = reference_codes(table, books, False)
    for place, book in enumerate(books):
        _, first, inverse = np.unique(
            book, axis=0, return_index=True, return_inverse=True
        )
        right[:, place] = first[inverse.ravel()][right[:, place]]
    found = [quantizer.encode(table, books)]
    for chunk in (13, 64):
        with mock.patch.object(nearest, "CHUNK_ROWS", chunk):
            found.append(quantizer.encode(table, books))
    parts = product.split(tf.constant(table), codes)
    found += [nearest.nearest(parts, books), in_graph(parts, books)]
    if compiled:
        found.append(
            tf.function(nearest.nearest, jit_compile=True)(parts, books)
        )
    wrong = sum(int((np.asarray(each) != right).sum()) for each in found)
    seen, off = layer_tie(table, books, right)
    return sum(np.size(each) for each in found) + seen, wrong + off


def layer_tie(
    table: np.ndarray, books: np.ndarray, right: np.ndarray
) -> tuple[int, int]:
    """A layer's forward pass and its frozen twin; first-order columns tell."""
    codes, size, width = books.shape
    layer = layers.ProductQuantizedEmbedding(
        len(table), codes * width + 1, codes, size, additive_dim=1
    )
    layer.build()
    raw(layer.embeddings).assign(table)
    raw(layer.codebooks).assign(books)
    # A number for each code, and sums that stand for one set of codes.
    numbers = np.arange(size)[None] * float(size) ** np.arange(codes)[:, None]
    if numbers.max() * codes >= 2**24:
        numbers = np.arange(size)[None] * np.ones((codes, 1))
    raw(layer.additive).assign(numbers.reshape(-1, 1))
    expected = numbers[np.arange(codes), right].sum(axis=1)
    ids = tf.range(len(table))
    frozen = layer.freeze()
    wrong = int((frozen.row_codes() != right).sum())
    for answer in (layer(ids), tf.function(layer)(ids), frozen(ids)):
        wrong += int((answer.numpy()[:, -1] != expected).sum())
    return right.size + 3 * len(table), wrong


def ties_row(count: int, seed: int) -> dict[str, Any]:
    looked = wrong = 0
    for case in range(count):
        # Each is compiled anew.
        seen, off = check_tie(seed + case, compiled=case % 10 == 0)
        looked, wrong = looked + seen, wrong + off
    return {"check": "ties", "cases": count, "codes": looked, "wrong": wrong}
