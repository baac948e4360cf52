import numpy as np
import pytest
import tensorflow as tf

from mec_tf.losses import (
    ContrastiveQuantizationLoss,
    contrastive_quantization_loss,
)
from mec_tf.losses.contrastive_quantization_loss import hard_negative
from tests.losses.finite_differences import assert_gradients_match


def reference(candidates, anchors, temperature):
    """The formula, a row at a time."""
    losses = []
    for anchor, row in zip(anchors, candidates, strict=True):
        norms = np.linalg.norm(row, axis=-1) * np.linalg.norm(anchor)
        powers = np.exp(row @ anchor / norms / temperature)
        losses.append(-np.log(powers[0] / powers.sum()))
    return np.array(losses)


@pytest.mark.parametrize("negatives, temperature", [(1, 1.0), (3, 0.2)])
def test_values_and_gradients(negatives, temperature):
    rng = np.random.default_rng(0)
    candidates = rng.normal(size=(5, 1 + negatives, 6))
    anchors = rng.normal(size=(5, 6))
    loss = ContrastiveQuantizationLoss(negatives, temperature)
    expected = reference(candidates, anchors, temperature)
    np.testing.assert_allclose(loss.call(candidates, anchors), expected)
    np.testing.assert_allclose(
        loss(candidates, anchors), expected.mean(), rtol=1e-5
    )
    assert_gradients_match(
        lambda c, a: tf.reduce_mean(loss.call(c, a)), [candidates, anchors]
    )


def test_of_codes_with_fixed_negatives(monkeypatch):
    rng = np.random.default_rng(0)
    codes = tf.constant([[0, 1], [2, 2], [1, 0]])
    negative = tf.constant([[1, 1], [2, 0], [1, 1]])
    monkeypatch.setattr(
        contrastive_quantization_loss,
        "hard_negative",
        lambda codes, size, seed: negative,
    )
    vectors, codebooks = rng.normal(size=(3, 4)), rng.normal(size=(2, 3, 2))
    loss = ContrastiveQuantizationLoss(temperature=0.5)
    decoded = [
        [codebooks[np.arange(2), row].reshape(-1) for row in pair]
        for pair in zip(codes.numpy(), negative.numpy(), strict=True)
    ]
    expected = reference(np.array(decoded), vectors, 0.5)
    actual = loss.of_codes(codes, tf.constant(vectors), tf.constant(codebooks))
    np.testing.assert_allclose(actual, expected)
    assert_gradients_match(
        lambda s, c: tf.reduce_mean(loss.of_codes(codes, s, c)),
        [vectors, codebooks],
    )


def test_hard_negatives_differ_in_one_subspace():
    codes = tf.random.uniform([400, 4], 0, 5, tf.int32)
    moved = hard_negative(codes, 5, tf.constant([1, 2]))
    differs = moved.numpy() != codes.numpy()
    np.testing.assert_array_equal(differs.sum(axis=1), 1)
    # Each row has its own place, and the new code is any of the others.
    assert (differs.mean(axis=0) > 0.15).all()
    assert moved.numpy().min() == 0 and moved.numpy().max() == 4
    shifts = (moved - codes).numpy()[differs] % 5
    assert (np.bincount(shifts, minlength=5)[1:] > 50).all()


def test_one_code_has_no_negatives():
    loss = ContrastiveQuantizationLoss()
    value = loss.of_codes(
        tf.zeros([3, 2], tf.int32), tf.ones([3, 4]), tf.ones([2, 1, 2])
    )
    np.testing.assert_array_equal(value, [0.0, 0.0, 0.0])


def test_config_round_trip():
    loss = ContrastiveQuantizationLoss(3, 0.2, name="other")
    twin = tf.keras.losses.deserialize(tf.keras.losses.serialize(loss))
    assert twin.get_config() == loss.get_config()
    assert (twin.num_negatives, twin.temperature) == (3, 0.2)


@pytest.mark.parametrize("name", ["num_negatives", "temperature"])
def test_bad_arguments(name):
    with pytest.raises(ValueError, match=f"`{name}` must be positive"):
        ContrastiveQuantizationLoss(**{name: 0})
