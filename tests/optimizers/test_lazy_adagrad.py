"""LazyAdagrad against Keras's Adagrad, whose numbers it gives."""

import numpy as np
import tensorflow as tf

from mec_tf.layers import TableEmbedding
from mec_tf.optimizers import LazyAdagrad


def test_takes_adagrads_steps():
    rng = np.random.default_rng(0)
    # Keras 3 adds up the squares of a repeated id, not its sum's.
    ids = np.concatenate([rng.permutation(40)[:32] for _ in range(4)])
    ids = ids.reshape(64, 2)
    targets = rng.normal(size=(64, 1))
    weights = []
    settings = {"initial_accumulator_value": 0.05, "epsilon": 1e-5}
    for kind in (LazyAdagrad, tf.keras.optimizers.Adagrad):
        tf.keras.utils.set_random_seed(1)
        model = tf.keras.Sequential(
            [
                tf.keras.Input((2,), dtype="int32"),
                TableEmbedding(50, 3),
                tf.keras.layers.Flatten(),
                tf.keras.layers.Dense(1),
            ]
        )
        jit_compile = kind is LazyAdagrad
        model.compile(kind(0.1, **settings), "mse", jit_compile=jit_compile)
        model.fit(
            ids, targets, epochs=3, batch_size=16, shuffle=False, verbose=0
        )
        weights.append(model.get_weights())
    for ours, adagrads in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, adagrads, atol=1e-6)
