import numpy as np
import pytest
import tensorflow as tf

from mec_tf.compression import layer_bytes
from mec_tf.layers import HashedEmbedding
from mec_tf.layers.hashed_embedding import PRIME, hashed
from tests.harness import raw_variable, run_layer_test

IDS = np.array([[1, 2, 0], [4, 97, 3]], "int32")


def test_contract():
    layer = run_layer_test(
        HashedEmbedding,
        {
            "input_dim": 100,
            "output_dim": 4,
            "num_rows": 7,
            "num_hashes": 2,
            "additive_dim": 1,
            "private_rows": 90,
            "mask_zero": True,
            "oov": 2,
            "embeddings_initializer": "glorot_uniform",
        },
        IDS,
        expected_output_shape=(2, 3, 4),
        expected_mask=IDS != 0,
        expected_num_trainable_weights=1,
        expected_num_non_trainable_weights=0,
        supports_ragged=True,
    )
    assert layer_bytes(layer) == 7 * 4 * 4


@pytest.mark.parametrize("num_hashes", [1, 3])
def test_a_vector_is_the_sum_of_the_rows_of_its_hashes(num_hashes):
    layer = HashedEmbedding(1000, 3, 50, num_hashes)
    ids = tf.range(1000)
    vectors = layer(ids)
    table = raw_variable(layer.embeddings).numpy()
    rows = [hashed(ids, 50, which).numpy() for which in range(num_hashes)]
    np.testing.assert_allclose(vectors, sum(table[r] for r in rows), rtol=1e-5)


def test_the_hash_is_the_arithmetic_of_its_formula_and_never_changes():
    ids = np.array([0, 1, 2, 1000, 2**31 - 2, 2**31 - 1, 2**40 + 3])
    for which in (0, 1, 5):
        first, offset, second = (
            1 + 0x9E3779B97F4A7C15 * (3 * which + i) % (PRIME - 1)
            for i in (1, 2, 3)
        )
        keys = [(int(i) * first + offset) % PRIME for i in ids]
        expected = [(k ^ k >> 15) * second % PRIME % 97 for k in keys]
        for run in (hashed, tf.function(hashed, jit_compile=True)):
            rows = run(tf.constant(ids, tf.int64), 97, which)
            np.testing.assert_array_equal(rows, expected)
    rows = hashed(tf.range(5), 1000)
    np.testing.assert_array_equal(rows, [427, 566, 874, 25, 282])


def test_the_hash_spreads_ids_evenly():
    for which in range(3):
        loads = np.bincount(
            hashed(tf.range(100_000), 100, which), minlength=100
        )
        assert 800 < loads.min() and loads.max() < 1200


def test_ids_that_share_one_row_seldom_share_two():
    first = hashed(tf.range(2000), 100, 0).numpy()
    second = hashed(tf.range(2000), 100, 1).numpy()
    assert len(set(zip(first, second, strict=True))) > 1750


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_rows": 0}, "`num_rows` must be .* num_rows=0"),
        ({"num_rows": 2.5}, "`num_rows` must be .* num_rows=2.5"),
        ({"num_hashes": 0}, "`num_hashes` must be .* num_hashes=0"),
    ],
)
def test_bad_arguments(arguments, message):
    given = {"input_dim": 6, "output_dim": 4, "num_rows": 3, **arguments}
    with pytest.raises(ValueError, match=message):
        HashedEmbedding(**given)
