import numpy as np
import pytest
import tensorflow as tf

from mec_tf.losses import PopularityWeightedRegularization
from mec_tf.losses.popularity_weighted_regularization import popularity_weight
from mec_tf.quantizers import product
from tests.losses.finite_differences import assert_gradients_match

RNG = np.random.default_rng(0)


def reference(weights, gaps, temperature):
    """The formula, a sub-space at a time."""
    losses = []
    for subspace in gaps:
        soft = np.exp(-subspace / temperature)
        soft /= soft.sum(axis=1, keepdims=True)
        usage = (weights[:, None] * soft).sum(axis=0) / weights.sum()
        entropy = -(usage * np.log(usage)).sum()
        losses.append(np.log(gaps.shape[-1]) - entropy)
    return np.array(losses)


def squared_gaps(vectors, codebooks):
    parts = vectors.reshape(len(vectors), len(codebooks), -1).swapaxes(0, 1)
    return np.square(parts[:, :, None] - codebooks[:, None]).sum(-1)


@pytest.mark.parametrize("temperature", [None, 0.7])
def test_values_and_gradients(temperature):
    weights = RNG.integers(1, 6, size=7).astype(np.float64)
    gaps = RNG.uniform(0.1, 2.0, size=(2, 7, 3))
    fixed = temperature or gaps.min(axis=-1).mean()
    loss = PopularityWeightedRegularization(temperature)
    expected = reference(weights, gaps, fixed)
    np.testing.assert_allclose(loss.call(weights, gaps), expected)
    np.testing.assert_allclose(loss(weights, gaps), expected.mean())

    held = PopularityWeightedRegularization(float(fixed))
    assert_gradients_match(lambda x: held(tf.constant(weights), x), [gaps])
    gradients = []
    for one in (loss, held):
        with tf.GradientTape() as tape:
            x = tf.constant(gaps)
            tape.watch(x)
            value = one(tf.constant(weights), x)
        gradients.append(tape.gradient(value, x))
    np.testing.assert_allclose(*gradients, err_msg="T is held constant")


def test_gradients_reach_rows_and_codebooks():
    counts = tf.constant([1.0, 9.0, 100.0, 3.0, 30.0], tf.float64)
    vectors, codebooks = RNG.normal(size=(5, 4)), RNG.normal(size=(2, 3, 2))
    loss = PopularityWeightedRegularization(temperature=1.3)
    assert_gradients_match(
        lambda s, c: loss.of_batch(counts, product.split(s, 2), c),
        [vectors, codebooks],
    )


def test_zero_at_equal_usage_else_positive():
    codebooks = tf.constant([[[-1.0], [1.0]]])
    loss = PopularityWeightedRegularization(temperature=0.5)
    counts = tf.constant([1.0, 4.0, 2.0])
    # Weights / counts: 1, 2 / 4, 1 / 2.
    balanced = tf.constant([[[-1.0], [1.0], [1.0]]])
    np.testing.assert_allclose(
        loss.of_batch(counts, balanced, codebooks), 0.0, atol=1e-6
    )
    crowded = tf.constant([[[-1.0], [-1.0], [-0.9]]])
    with tf.GradientTape() as tape:
        tape.watch([crowded, codebooks])
        value = loss.of_batch(counts, crowded, codebooks)
    assert value > 0.1
    for gradient in tape.gradient(value, [crowded, codebooks]):
        assert np.abs(gradient).min() > 1e-4


def test_default_temperature_is_finite_where_rows_sit_on_codes():
    codebooks = tf.constant([[[-1.0], [1.0]]])
    value = PopularityWeightedRegularization().of_batch(
        tf.ones([2]), tf.constant([[[1.0], [1.0]]]), codebooks
    )
    np.testing.assert_allclose(value, np.log(2.0), rtol=1e-6)


def test_batches_by_popularity_estimate_the_whole_table():
    counts = np.array([1, 2, 3, 8, 40, 7])
    vectors, codebooks = RNG.normal(size=(6, 4)), RNG.normal(size=(2, 3, 2))
    loss = PopularityWeightedRegularization(temperature=0.8)
    weights = np.maximum(1, np.floor(np.log2(counts)))
    whole = loss(weights, squared_gaps(vectors, codebooks))

    def of_batch(rows):
        return loss.of_batch(
            tf.constant(counts[rows], tf.float64),
            product.split(tf.constant(vectors[rows]), 2),
            tf.constant(codebooks),
        )

    # Each row as often as expected: the estimate is the expectation.
    every = np.repeat(np.arange(6), counts)
    np.testing.assert_allclose(of_batch(every), whole, rtol=1e-10)
    drawn = RNG.choice(6, size=20000, p=counts / counts.sum())
    np.testing.assert_allclose(of_batch(drawn), whole, rtol=0.05)


def test_sample_weight_multiplies_the_weights():
    gaps = RNG.uniform(size=(1, 3, 2))
    loss = PopularityWeightedRegularization(1.0)
    np.testing.assert_allclose(
        loss(np.ones(3), gaps, sample_weight=np.array([2.0, 1.0, 5.0])),
        loss(np.array([2.0, 1.0, 5.0]), gaps),
    )


def test_popularity_weight():
    counts = tf.constant([0.0, 1.0, 2.0, 3.0, 4.0, 7.0, 8.0, 2.0**20])
    np.testing.assert_array_equal(
        popularity_weight(counts), [1, 1, 1, 1, 2, 2, 3, 20]
    )


def test_config_round_trip():
    loss = PopularityWeightedRegularization(temperature=0.3, name="other")
    twin = tf.keras.losses.deserialize(tf.keras.losses.serialize(loss))
    assert twin.get_config() == loss.get_config()
    assert twin.temperature == 0.3


def test_bad_temperature():
    with pytest.raises(ValueError, match="temperature=0"):
        PopularityWeightedRegularization(temperature=0)
