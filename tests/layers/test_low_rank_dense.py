import numpy as np
import pytest
import tensorflow as tf

from mec_tf.layers import LowRankDense
from mec_tf.quantizers import OutputStatistics
from tests.harness import run_layer_test

INPUTS = np.random.default_rng(0).normal(size=(64, 5)).astype("float32")


def trained(units=7, **kwargs):
    dense = tf.keras.layers.Dense(
        units, bias_initializer="normal", name="dense", **kwargs
    )
    dense(INPUTS)
    return dense


def statistics_of(dense):
    outputs = INPUTS @ dense.get_weights()[0]
    if dense.use_bias:
        outputs += dense.get_weights()[1]
    statistics = OutputStatistics(dense.units)
    statistics.update(outputs)
    return statistics


def test_contract():
    run_layer_test(
        LowRankDense,
        {
            "units": 6,
            "rank": 2,
            "activation": "tanh",
            "inner_activation": "relu",
        },
        INPUTS[:4],
        expected_output_shape=(4, 6),
        expected_num_trainable_weights=4,
        expected_num_non_trainable_weights=0,
    )


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_full_rank_is_the_dense_layer(activation, use_bias):
    dense = trained(activation=activation, use_bias=use_bias)
    layer = LowRankDense.from_dense(dense, statistics_of(dense), dense.units)
    assert layer.name == "dense"
    np.testing.assert_allclose(layer(INPUTS), dense(INPUTS), atol=1e-5)
    deep = INPUTS.reshape(4, 16, 5)
    np.testing.assert_allclose(layer(deep), dense(deep), atol=1e-5)


def test_keeps_the_projection_of_the_outputs():
    dense = trained()
    statistics = statistics_of(dense)
    layer = LowRankDense.from_dense(dense, statistics, 3)
    mean, basis, _ = statistics.principal(3)
    expected = (dense(INPUTS) - mean) @ basis @ basis.T + mean
    np.testing.assert_allclose(layer(INPUTS), expected, atol=1e-5)
    error = np.square(layer(INPUTS) - dense(INPUTS)).sum(axis=1).mean()
    assert error == pytest.approx(statistics.eigenvalues[3:].sum(), rel=1e-3)


def test_an_activation_stands_between_the_factors():
    dense = trained()
    linear = LowRankDense.from_dense(dense, statistics_of(dense), 3)
    layer = LowRankDense.from_dense(
        dense, statistics_of(dense), 3, inner_activation="relu", name="other"
    )
    first, second, first_bias, second_bias = linear.get_weights()
    inner = np.maximum(INPUTS @ first + first_bias, 0.0)
    assert layer.name == "other"
    np.testing.assert_allclose(
        layer(INPUTS), inner @ second + second_bias, atol=1e-5
    )


def test_without_biases():
    layer = LowRankDense(3, 2, use_bias=False)
    first, second = (layer(INPUTS), layer.get_weights())[1]
    np.testing.assert_allclose(
        layer(INPUTS), INPUTS @ first @ second, atol=1e-6
    )
    assert layer.get_config()["use_bias"] is False


def test_bad_arguments():
    with pytest.raises(ValueError, match="`units` must be .* units=0"):
        LowRankDense(0, 1)
    with pytest.raises(ValueError, match="`rank` must be .* rank=1.5"):
        LowRankDense(2, 1.5)
    dense = trained()
    with pytest.raises(ValueError, match="`rank` must be .* rank=8"):
        LowRankDense.from_dense(dense, statistics_of(dense), 8)
    with pytest.raises(ValueError, match="`statistics` must be of 7"):
        LowRankDense.from_dense(dense, OutputStatistics(3), 2)
    with pytest.raises(ValueError, match="`dense` must be built"):
        LowRankDense.from_dense(
            tf.keras.layers.Dense(7), OutputStatistics(7), 2
        )
