import numpy as np
import pytest
import tensorflow as tf

from mec_tf.layers import MaskedPooling, TableEmbedding
from tests.harness import run_layer_test

VECTORS = np.random.default_rng(0).normal(size=(3, 4, 2)).astype("float32")
MASK = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]], bool)


@pytest.mark.parametrize(
    ("mode", "divisors"),
    [("sum", [1, 1, 1]), ("mean", [3, 1, 1]), ("sqrtn", [3**0.5, 1, 1])],
)
def test_pools_what_the_mask_keeps(mode, divisors):
    vectors = np.where(MASK[..., None], VECTORS, np.nan)
    pooled = MaskedPooling(mode)(tf.constant(vectors), mask=tf.constant(MASK))
    expected = np.nansum(vectors, axis=1) / np.array(divisors)[:, None]
    np.testing.assert_allclose(pooled, expected, rtol=1e-5)
    assert not pooled[1].numpy().any()


def test_contract_of_a_layer():
    layer = run_layer_test(
        MaskedPooling,
        {"mode": "sqrtn"},
        VECTORS,
        expected_output_shape=(3, 2),
        expected_num_trainable_weights=0,
    )
    # Without a mask all positions count.
    np.testing.assert_allclose(layer(VECTORS), VECTORS.sum(1) / 2, rtol=1e-5)


def test_takes_the_mask_of_an_embedding():
    table = TableEmbedding(9, 3, mask_zero=True)
    inputs = tf.keras.Input((None,), dtype="int32")
    model = tf.keras.Model(inputs, MaskedPooling()(table(inputs)))
    ids = tf.constant([[5, 7, 0, 0], [0, 0, 0, 0]])
    expected = (table(tf.constant(5)) + table(tf.constant(7))) / 2
    np.testing.assert_allclose(model(ids), [expected, [0, 0, 0]], rtol=1e-5)


def test_refuses_other_modes():
    with pytest.raises(ValueError, match="mode='max'"):
        MaskedPooling("max")
