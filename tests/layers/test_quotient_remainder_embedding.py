import numpy as np
import pytest
import tensorflow as tf

from mec_tf.compression import layer_bytes
from mec_tf.layers import QuotientRemainderEmbedding
from tests.harness import raw_variable, run_layer_test

IDS = np.array([[1, 2, 0], [4, 97, 3]], "int32")


@pytest.mark.parametrize("combine", ["multiply", "add"])
def test_contract(combine):
    layer = run_layer_test(
        QuotientRemainderEmbedding,
        {
            "input_dim": 100,
            "output_dim": 4,
            "num_remainders": 12,
            "combine": combine,
            "additive_dim": 1,
            "private_rows": 90,
            "mask_zero": True,
            "oov": 2,
            "embeddings_initializer": "glorot_uniform",
            "quotient_initializer": "uniform",
        },
        IDS,
        expected_output_shape=(2, 3, 4),
        expected_mask=IDS != 0,
        expected_num_trainable_weights=2,
        expected_num_non_trainable_weights=0,
        supports_ragged=True,
    )
    assert layer_bytes(layer) == (12 + 8) * 4 * 4


@pytest.mark.parametrize(
    "combine, join", [("multiply", np.multiply), ("add", np.add)]
)
def test_a_vector_joins_a_remainder_and_a_quotient(combine, join):
    layer = QuotientRemainderEmbedding(
        10, 3, 4, combine=combine, quotient_initializer="uniform"
    )
    vectors = layer(tf.range(10)).numpy()
    remainders = raw_variable(layer.embeddings).numpy()
    quotients = raw_variable(layer.quotient_embeddings).numpy()
    assert quotients.shape == (3, 3)
    ids = np.arange(10)
    expected = join(remainders[ids % 4], quotients[ids // 4])
    np.testing.assert_allclose(vectors, expected, rtol=1e-6)
    assert len(np.unique(vectors, axis=0)) == 10


@pytest.mark.parametrize("combine", ["multiply", "add"])
def test_starts_as_the_remainders(combine):
    layer = QuotientRemainderEmbedding(10, 3, 4, combine=combine)
    vectors = layer(tf.range(10)).numpy()
    np.testing.assert_array_equal(vectors[4:8], vectors[:4])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_remainders": 0}, "`num_remainders` .* num_remainders=0"),
        ({"num_remainders": 7}, "`num_remainders` .* num_remainders=7"),
        ({"num_remainders": 1.5}, "`num_remainders` .* num_remainders=1.5"),
        ({"combine": "concat"}, "`combine` must be .* combine='concat'"),
    ],
)
def test_bad_arguments(arguments, message):
    given = {"input_dim": 6, "output_dim": 4, "num_remainders": 3, **arguments}
    with pytest.raises(ValueError, match=message):
        QuotientRemainderEmbedding(**given)
