import numpy as np
import pytest
import tensorflow as tf

from mec_tf.layers import TargetAttention
from tests.harness import run_layer_test

RNG = np.random.default_rng(0)
QUERY = RNG.normal(size=(3, 4)).astype("float32")
KEYS = RNG.normal(size=(3, 5, 4)).astype("float32")
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]], bool)


def expected(layer):
    """The weighted sums, by NumPy, and the weights."""
    query = np.broadcast_to(QUERY[:, None], KEYS.shape)
    flat = np.concatenate([query, KEYS, query - KEYS, query * KEYS], axis=-1)
    kernel, bias = layer.tower.get_weights()
    hidden = 1 / (1 + np.exp(-(flat @ kernel + bias)))
    kernel, bias = layer.head.get_weights()
    weights = (hidden @ kernel + bias)[..., 0]
    if layer.softmax:
        weights = np.exp(weights) * MASK
        weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
    weights = weights * MASK
    return (weights[..., None] * KEYS).sum(axis=1), weights


@pytest.mark.parametrize("softmax", [False, True])
def test_follows_the_formula(softmax):
    layer = TargetAttention((6,), softmax=softmax)
    found = layer([tf.constant(QUERY), tf.constant(KEYS)], mask=MASK)
    sums, weights = expected(layer)
    np.testing.assert_allclose(found, sums, rtol=1e-5, atol=1e-6)
    assert len(np.unique(weights[1])) == 5
    assert not found[2].numpy().any()


@pytest.mark.parametrize("softmax", [False, True])
def test_padding_is_not_seen(softmax):
    layer = TargetAttention((6,), softmax=softmax)
    query = tf.constant(QUERY[:1])
    mask = tf.constant(MASK[:1])
    with tf.GradientTape() as tape:
        keys = tf.constant(KEYS[:1])
        tape.watch(keys)
        found = layer([query, keys], mask=mask)
    gradient = tape.gradient(found, keys).numpy()
    assert gradient[0, :3].all() and not gradient[0, 3:].any()
    short = layer([query, tf.constant(KEYS[:1, :3])])
    np.testing.assert_allclose(found, short, rtol=1e-5)


def test_contract_of_a_layer():
    run_layer_test(
        TargetAttention,
        {"units": (6, 3), "activation": "relu", "softmax": True},
        [QUERY, KEYS],
        expected_output_shape=(3, 4),
        expected_num_trainable_weights=6,
    )
