"""LazyAdam against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from mec_tf.layers import TableEmbedding
from mec_tf.optimizers import LazyAdam

ROWS, DIM, RATE = 20, 3, 0.1


def model_of(layer):
    ids = tf.keras.Input((2,), dtype="int32")
    pooled = tf.keras.layers.GlobalAveragePooling1D()(layer(ids))
    return tf.keras.Model(ids, tf.keras.layers.Dense(1)(pooled))


def reference(table, batches, gradients):
    """Adam whose moments move for the rows of a batch only."""
    table = table.astype(np.float64)
    m, v = np.zeros_like(table), np.zeros_like(table)
    for step, (rows, gradient) in enumerate(
        zip(batches, gradients, strict=True), 1
    ):
        m[rows] = 0.9 * m[rows] + 0.1 * gradient[rows]
        v[rows] = 0.999 * v[rows] + 0.001 * gradient[rows] ** 2
        rate = RATE * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        table[rows] -= rate * m[rows] / (np.sqrt(v[rows]) + 1e-7)
    return table


@pytest.mark.parametrize("kind", [TableEmbedding, tf.keras.layers.Embedding])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_equals_numpy_and_leaves_other_rows_alone(kind, jit_compile):
    rng = np.random.default_rng(0)
    layer = kind(ROWS, DIM)
    model = model_of(layer)
    model.compile(LazyAdam(RATE), "mse", jit_compile=jit_compile)
    table = np.array(layer.get_weights()[0])
    start = table.copy()
    dense = model.layers[-1]
    batches, gradients = [], []
    for _ in range(5):
        ids = rng.integers(0, ROWS // 2, (8, 2))
        target = rng.normal(size=(8, 1)).astype(np.float32)
        now = layer.get_weights()[0].astype(np.float64)
        kernel, bias = (np.float64(w) for w in dense.get_weights())
        error = now[ids].mean(axis=1) @ kernel + bias - target
        each = 2 * error / len(ids) @ kernel.T / 2
        gradient = np.zeros((ROWS, DIM))
        for place in range(2):
            np.add.at(gradient, ids[:, place], each)
        batches.append(np.unique(ids))
        gradients.append(gradient)
        model.train_on_batch(ids, target)
    after = layer.get_weights()[0]
    expected = reference(table, batches, gradients)
    np.testing.assert_allclose(after, expected, atol=2e-5)
    np.testing.assert_array_equal(after[ROWS // 2 :], start[ROWS // 2 :])


def test_dense_weights_take_adams_steps():
    weights = []
    for optimizer in (LazyAdam(0.01), tf.keras.optimizers.Adam(0.01)):
        tf.keras.utils.set_random_seed(1)
        model = tf.keras.Sequential(
            [tf.keras.Input((4,)), tf.keras.layers.Dense(3)]
        )
        model.compile(optimizer, "mse")
        data = np.random.default_rng(0).normal(size=(32, 7))
        model.fit(data[:, :4], data[:, 4:], epochs=3, verbose=0)
        weights.append(model.get_weights())
    for ours, adams in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, adams, atol=1e-6)


def test_config_round_trip_and_errors():
    optimizer = LazyAdam(0.02, beta_1=0.8)
    again = LazyAdam.from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()
    with pytest.raises(ValueError, match="`amsgrad` must be left at"):
        LazyAdam(amsgrad=True)
