import numpy as np
import pytest
import tensorflow as tf

from mec_tf.quantizers import nearest


def test_lowest_index_wins_a_tie():
    books = tf.constant([[[1.0], [-1.0], [1.0]]])
    codes = nearest.nearest(tf.constant([[[0.0], [2.0]]]), books)
    np.testing.assert_array_equal(codes, [[0], [0]])
    assert codes.dtype == tf.int32


def test_nearest_is_the_same_in_eager_mode_and_in_a_graph():
    rng = np.random.default_rng(0)
    # Small integers: sums are exact, and many codes are equally near.
    parts = rng.integers(-2, 3, (3, 500, 2)).astype(np.float32)
    books = rng.integers(-2, 3, (3, 40, 2)).astype(np.float32)
    gaps = np.square(parts[:, :, None] - books[:, None]).sum(-1)
    expected = gaps.argmin(-1).T
    eager = nearest.nearest(tf.constant(parts), tf.constant(books))
    graph = tf.function(nearest.nearest)(parts, books)
    np.testing.assert_array_equal(eager, expected)
    np.testing.assert_array_equal(graph, expected)
    assert eager.dtype == graph.dtype == tf.int32


def test_by_float32_alone_the_code_is_nearly_as_near():
    rng = np.random.default_rng(0)
    # Fine codebooks far from the origin: float32 sums often do not decide.
    parts = 30.0 + rng.normal(size=(4, 300, 2)).astype(np.float32)
    books = 30.0 + rng.normal(size=(4, 256, 2)).astype(np.float32)
    gaps = np.square(parts[:, :, None].astype(np.float64) - books[:, None])
    gaps = gaps.sum(-1)
    found = nearest.nearly_nearest(tf.constant(parts), tf.constant(books))
    assert found.dtype == tf.int32
    picked = np.take_along_axis(gaps, found.numpy().T[..., None], -1)[..., 0]
    assert (picked <= gaps.min(-1) + 2e-3).all()
    exact = nearest.nearest(tf.constant(parts), tf.constant(books)).numpy()
    np.testing.assert_array_equal(exact, gaps.argmin(-1).T)
    assert (found.numpy() != exact).any()  # or there was nothing to see


def test_equal_entries_are_one():
    rng = np.random.default_rng(0)
    books = rng.normal(size=(2, 5, 3)).astype(np.float32)
    books[0, 4] = books[0, 1]
    books[1, 3] = books[1, 2] = books[1, 0]
    expected = [[0, 1, 2, 3, 1], [0, 1, 0, 0, 4]]
    for compiled in (None, True):
        run = tf.function(nearest.lowest_equal, jit_compile=compiled)
        np.testing.assert_array_equal(run(tf.constant(books)), expected)


@pytest.mark.parametrize("width", [1, 3, 10])
def test_far_from_zero_float64_decides(width):
    rng = np.random.default_rng(1)
    parts = (1000 + rng.normal(size=(1, 300, width))).astype(np.float32)
    books = parts[:, :200]
    for compiled in (None, True):
        run = tf.function(nearest.nearest, jit_compile=compiled)
        codes = np.asarray(run(tf.constant(parts), tf.constant(books)))[:, 0]
        goal, book = parts[0].astype(float), books[0].astype(float)
        gaps = np.square(goal[:, None] - book[None]).sum(-1)
        np.testing.assert_array_equal(codes, gaps.argmin(axis=1))
