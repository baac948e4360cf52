"""The optimizers that `compress` gives to copies of a model."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf.compression.objective import compile_like, optimizer_like
from mec_tf.optimizers import LazyAdagrad, LazyAdam

ADAM, ADAGRAD = tf.keras.optimizers.Adam, tf.keras.optimizers.Adagrad


def make_model(optimizer):
    model = tf.keras.Sequential(
        [
            tf.keras.Input((2,), dtype="int32"),
            tf.keras.layers.Embedding(40, 4),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(1),
        ]
    )
    model.compile(optimizer, "mse")
    return model


@pytest.mark.parametrize(
    "optimizer, kind",
    [
        (ADAM(0.02, beta_1=0.8), LazyAdam),
        (ADAGRAD(0.02, epsilon=1e-5), LazyAdagrad),
        (ADAM(0.02, amsgrad=True), ADAM),
        (ADAGRAD(0.02, use_ema=True), ADAGRAD),
        (tf.keras.optimizers.SGD(0.02), tf.keras.optimizers.SGD),
    ],
    ids=["adam", "adagrad", "amsgrad", "ema", "sgd"],
)
def test_optimizer_of_the_models_kind(optimizer, kind):
    made = optimizer_like(make_model(optimizer))
    assert type(made) is kind
    assert made is not optimizer
    np.testing.assert_allclose(made.learning_rate, 0.02, rtol=1e-6)
    for name in ("beta_1", "epsilon", "amsgrad", "use_ema"):
        assert getattr(made, name, 0) == getattr(optimizer, name, 0)


def test_a_rate_that_is_a_number_is_slowed_down():
    made = optimizer_like(make_model(ADAM(0.02)), 0.1)
    np.testing.assert_allclose(made.learning_rate, 0.002, rtol=1e-6)
    schedule = tf.keras.optimizers.schedules.ExponentialDecay(0.02, 10, 0.9)
    made = optimizer_like(make_model(tf.keras.optimizers.SGD(schedule)), 0.1)
    np.testing.assert_allclose(made.learning_rate, 0.02, rtol=1e-6)
    # Keras puts one around the optimizer under mixed precision.
    scaled = tf.keras.mixed_precision.LossScaleOptimizer(ADAM(0.02))
    for rate in (1.0, 0.1):
        made = optimizer_like(make_model(scaled), rate)
        np.testing.assert_allclose(
            made.inner_optimizer.learning_rate, 0.02 * rate, rtol=1e-6
        )


def test_saved_untrained_models_load_their_optimizer(tmp_path, caplog):
    data = np.arange(40).reshape(20, 2), np.ones((20, 1))
    result = mec_tf.compress(
        make_model("adam"),
        data,
        policy=mec_tf.CompressionPolicy(max_bytes=400),
        epochs=0,
        verbose=0,
    )
    path = str(tmp_path / "model.keras")
    result.model.save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = tf.keras.models.load_model(path)
    assert "Skipping variable loading" not in caplog.text  # as Keras 2 says it
    assert isinstance(loaded.optimizer, LazyAdam)
    count = len(result.model.optimizer.variables)
    assert len(loaded.optimizer.variables) == count > 4
    loaded.fit(*data, verbose=0)


@pytest.mark.keras2_only
def test_legacy_optimizers_are_taken_as_they_are():
    model = make_model("adam")
    compile_like(model, model, tf.keras.optimizers.legacy.SGD(0.1))
    model.fit(np.zeros((4, 2)), np.zeros((4, 1)), verbose=0)
