"""Statistics of a model's dense layers are NumPy's of the same outputs."""

import numpy as np
import pytest
import tensorflow as tf

from mec_tf.compression import dense_layers, dense_statistics
from mec_tf.models import DLRM
from tests.harness import raw_variable

INPUTS = np.random.default_rng(0).normal(size=(100, 5)).astype("float32")
layers = tf.keras.layers


def functional():
    inputs = tf.keras.Input((5,))
    hidden = layers.Dense(7, "relu", name="hidden")(inputs)
    hidden = layers.Dropout(0.5)(hidden)
    return tf.keras.Model(inputs, layers.Dense(3, name="out")(hidden))


def expected(model):
    """Pre-activations of both layers, in float64."""
    values, found = INPUTS.astype("float64"), {}
    for name in ("hidden", "out"):
        kernel, bias = model.get_layer(name).get_weights()
        found[name] = values @ kernel + bias
        values = np.maximum(found[name], 0.0)
    return found


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_equal_to_numpy_in_any_batch_order(order):
    model = functional()
    before = model.get_weights()
    train = tf.data.Dataset.from_tensor_slices(
        (INPUTS[order], np.zeros(100))
    ).batch(33)
    statistics = dense_statistics(model, ["hidden", "out"], train)
    for name, outputs in expected(model).items():
        found = statistics[name]
        assert found.count == 100
        covariance = np.cov(outputs.T, bias=True)
        np.testing.assert_allclose(found.mean, outputs.mean(0), atol=1e-5)
        np.testing.assert_allclose(found.covariance, covariance, atol=1e-5)
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_position_and_every_call_counts():
    shared = layers.Dense(4, name="shared")
    one, other = tf.keras.Input((2, 5)), tf.keras.Input((5,))
    merged = layers.Concatenate()(
        [layers.Flatten()(shared(one)), shared(other)]
    )
    model = tf.keras.Model({"one": one, "other": other}, merged)
    inputs = {"one": INPUTS.reshape(50, 2, 5), "other": INPUTS[:50]}
    train = tf.data.Dataset.from_tensor_slices((inputs, np.zeros(50))).batch(20)
    statistics = dense_statistics(model, ["shared"], train)["shared"]
    seen = np.concatenate([INPUTS, INPUTS[:50]])
    kernel = raw_variable(shared.kernel).numpy()
    assert statistics.count == 150
    np.testing.assert_allclose(
        statistics.mean, (seen @ kernel).mean(0), atol=1e-5
    )


def test_finds_the_layers_of_towers():
    model = DLRM(
        {"a": 5, "b": 4},
        {"n": (0.0, 1.0)},
        embedding_dim=3,
        bottom_units=(6,),
        hidden_units=(8, 8),
    )
    found = list(dense_layers(model))
    assert found == [
        "bottom/dense_layers/0",
        "bottom/dense_layers/1",
        "tower/dense_layers/0",
        "tower/dense_layers/1",
        "head",
    ]


def test_a_layer_with_a_call_of_its_own_is_something_else():
    class Gated(layers.Dense):
        def call(self, inputs):
            return 2.0 * super().call(inputs)

    model = tf.keras.Sequential([Gated(3), layers.Dense(2, name="plain")])
    model(INPUTS)
    assert list(dense_layers(model)) == ["plain"]


def test_bad_arguments():
    model = functional()
    with pytest.raises(ValueError, match="`paths` must name .*'other'"):
        dense_statistics(model, ["other"], (INPUTS, np.zeros(100)))
    empty = tf.data.Dataset.from_tensor_slices((INPUTS[:0], [])).batch(2)
    with pytest.raises(ValueError, match="`train` must hold a batch"):
        dense_statistics(model, ["out"], empty)
    endless = tf.data.Dataset.from_tensors((INPUTS, np.zeros(100))).repeat()
    with pytest.raises(ValueError, match="`train` must end"):
        dense_statistics(model, ["out"], endless)
