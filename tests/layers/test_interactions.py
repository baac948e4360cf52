"""Feature interactions and towers, against NumPy."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from mec_tf.layers import (
    MLP,
    CrossNetwork,
    DotInteraction,
    FactorizationMachine,
    GatedCrossNetwork,
    LowRankDense,
)
from mec_tf.layers.square_dense import SquareDense
from tests.harness import raw_variable, run_layer_test

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(2, 4, 3)).astype("float32")
ROWS = RNG.normal(size=(2, 4)).astype("float32")
# Keras 2 names it in the signature of a layer without a constructor.
NOT_IN_CONFIG = {"dynamic"}


def pairs(vectors):
    """Dot products of all pairs of fields: `[batch, pairs]`."""
    fields = range(vectors.shape[1])
    return np.stack(
        [
            (vectors[:, f] * vectors[:, g]).sum(axis=-1)
            for f, g in itertools.combinations(fields, 2)
        ],
        axis=1,
    )


def test_factorization_machine():
    layer = run_layer_test(
        FactorizationMachine,
        {},
        VECTORS,
        expected_output_shape=(2, 1),
        expected_num_trainable_weights=0,
        not_in_config=NOT_IN_CONFIG,
    )
    expected = pairs(VECTORS).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(layer(VECTORS), expected, rtol=1e-5)


def test_dot_interaction():
    layer = run_layer_test(
        DotInteraction,
        {},
        VECTORS,
        expected_output_shape=(2, 6),
        expected_num_trainable_weights=0,
        not_in_config=NOT_IN_CONFIG,
    )
    np.testing.assert_allclose(layer(VECTORS), pairs(VECTORS), rtol=1e-5)


def test_cross_network():
    layer = run_layer_test(
        CrossNetwork,
        {"num_layers": 2},
        ROWS,
        expected_output_shape=(2, 4),
        expected_num_trainable_weights=4,
    )
    for dense in layer.dense_layers:
        raw_variable(dense.bias).assign(RNG.normal(size=4))
    expected = ROWS
    for dense in layer.dense_layers:
        kernel, bias = dense.get_weights()
        expected = ROWS * (expected @ kernel + bias) + expected
    np.testing.assert_allclose(layer(ROWS), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", [CrossNetwork, GatedCrossNetwork])
def test_cross_layers_of_low_rank(kind):
    number = len(kind(2).dense_layers)
    held = [None, *(LowRankDense(4, rank=2) for _ in range(number - 1))]
    layer = kind(2, held)
    answers = layer(ROWS)
    copy = kind.from_config(layer.get_config())
    kinds = [type(each) for each in copy.dense_layers]
    assert kinds == [SquareDense] + [LowRankDense] * (number - 1)
    copy(ROWS)
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(copy(ROWS), answers)


def test_cross_layers_that_do_not_fit():
    with pytest.raises(ValueError, match="for each of 2. Received: 1"):
        CrossNetwork(2, [None])
    with pytest.raises(ValueError, match=r"input, 4. Received widths \[4, 3\]"):
        CrossNetwork(2, [None, LowRankDense(3, rank=2)])(ROWS)


def test_a_given_plain_layer_is_saved_as_it_is():
    given = tf.keras.layers.Dense(5, "tanh", use_bias=False)
    layer = MLP((5, 3), dense_layers=[given, None])
    first, second = MLP.from_config(layer.get_config()).dense_layers
    assert not first.use_bias and second.use_bias
    assert first.activation is given.activation


def test_mlp():
    layer = run_layer_test(
        MLP,
        {"units": (5, 3), "activation": "tanh", "dropout": 0.2},
        ROWS,
        expected_output_shape=(2, 3),
        expected_num_trainable_weights=4,
    )
    first, bias, second, other = layer.get_weights()
    expected = np.tanh(np.tanh(ROWS @ first + bias) @ second + other)
    np.testing.assert_allclose(layer(ROWS), expected, rtol=1e-5)


def test_mlp_drops_units_in_training_only():
    layer = MLP((1000,), dropout=0.3)
    ones = tf.ones([1, 8])
    kept = layer(ones).numpy()
    dropped = layer(ones, training=True).numpy()
    alive = kept != 0
    share = (dropped[alive] == 0).mean()
    assert 0.2 < share < 0.4
    survivors = alive & (dropped != 0)
    np.testing.assert_allclose(
        dropped[survivors], kept[survivors] / 0.7, rtol=1e-5
    )


def test_mlp_without_layers_is_the_identity():
    layer = MLP(())
    np.testing.assert_array_equal(layer(ROWS), ROWS)
    assert tuple(layer.compute_output_shape((None, 4))) == (None, 4)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: MLP((3, 0)), r"units=\(3, 0\)"),
        (lambda: MLP((3,), dropout=1.0), "dropout=1.0"),
        (lambda: CrossNetwork(0), "num_layers=0"),
    ],
    ids=["units", "dropout", "num_layers"],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
