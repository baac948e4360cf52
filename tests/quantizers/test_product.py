import numpy as np
import pytest
import tensorflow as tf

from mec_tf.quantizers import product


def test_split_cuts_vectors_in_order():
    vectors = tf.reshape(tf.range(12.0), [2, 6])
    expected = [[[0, 1], [6, 7]], [[2, 3], [8, 9]], [[4, 5], [10, 11]]]
    np.testing.assert_array_equal(product.split(vectors, 3), expected)


def test_distances_lack_only_the_rows_own_norm():
    rng = np.random.default_rng(0)
    parts, books = rng.normal(size=(2, 5, 3)), rng.normal(size=(2, 4, 3))
    full = np.square(parts[:, :, None] - books[:, None]).sum(-1)
    norms = np.square(parts).sum(-1)[..., None]
    actual = product.distances(tf.constant(parts), tf.constant(books))
    np.testing.assert_allclose(actual, full - norms, atol=1e-12)


def test_flat_index_of_packed_codes():
    codes = tf.constant([[255, 0], [3, 255]], tf.uint8)
    expected = [[255, 256], [3, 511]]
    np.testing.assert_array_equal(product.flat_index(codes, 256), expected)


@pytest.mark.parametrize(
    "width, additive", [(3, 0), (3, 2), (0, 4)], ids=["pq", "both", "sums"]
)
def test_decode_joins_and_sums(width, additive):
    entries = np.random.default_rng(0).normal(size=(2, 5, 4, width + additive))
    joined = entries[..., :width].reshape(2, 5, 4 * width)
    summed = entries[..., width:].sum(axis=-2)
    expected = np.concatenate([joined, summed], axis=-1)
    decode = tf.function(
        lambda x: product.decode(x, additive),
        input_signature=[
            tf.TensorSpec([None, None, 4, width + additive], tf.float64)
        ],
    )
    np.testing.assert_allclose(decode(entries), expected)
    assert decode.get_concrete_function().output_shapes[-1] == (
        4 * width + additive
    )


@pytest.mark.parametrize("additive", [0, 1, 5])
@pytest.mark.parametrize("codes", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_look_up_decodes_what_it_gathers(additive, codes, dtype):
    rng = np.random.default_rng(0)
    books = tf.Variable(rng.normal(size=(codes * 7, 5)), dtype=dtype)
    index = tf.constant(rng.integers(0, codes * 7, (4, 6, codes)))
    found = product.look_up(books, index, additive)
    expected = product.decode(tf.gather(books, index), additive)
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, expected)
