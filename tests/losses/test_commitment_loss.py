import numpy as np
import tensorflow as tf

from mec_tf.losses import CommitmentLoss
from tests.losses.finite_differences import assert_gradients_match

RNG = np.random.default_rng(0)


def test_values():
    quantized, vectors = RNG.normal(size=(2, 3, 4, 5))
    rows = np.square(quantized - vectors).sum(-1)
    loss = CommitmentLoss()
    np.testing.assert_allclose(loss.call(quantized, vectors), rows)
    np.testing.assert_allclose(loss(quantized, vectors), rows.mean(), 1e-6)


def test_gradient_of_the_vectors():
    quantized, vectors = RNG.normal(size=(2, 4, 5))
    assert_gradients_match(
        lambda s: tf.reduce_mean(
            CommitmentLoss().call(tf.constant(quantized), s)
        ),
        [vectors],
    )


def test_codes_have_no_gradient():
    quantized, vectors = tf.ones([2, 3]), tf.zeros([2, 3])
    with tf.GradientTape() as tape:
        tape.watch(quantized)
        value = CommitmentLoss()(quantized, vectors)
    assert tape.gradient(value, quantized) is None


def test_config_round_trip():
    loss = CommitmentLoss(name="other", reduction="sum")
    twin = tf.keras.losses.deserialize(tf.keras.losses.serialize(loss))
    assert isinstance(twin, CommitmentLoss)
    assert twin.get_config() == loss.get_config()
    assert twin.name == "other"
    np.testing.assert_allclose(twin(tf.ones([2, 3]), tf.zeros([2, 3])), 6.0)
