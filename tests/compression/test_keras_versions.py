"""Models of the Keras that `tf.keras` is not: one clear error."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import mec_tf

KERAS_3 = hasattr(tf.keras, "ops")
OTHER = tf_keras if KERAS_3 else keras
IDS = np.arange(12).reshape(4, 3)
BATCHES = (IDS, np.zeros((4, 3, 1), np.float32))


class Mixed(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.ours = tf.keras.layers.Embedding(20, 4)
        self.theirs = {"item": OTHER.layers.Embedding(20, 4)}
        self.answer = tf.keras.layers.Dense(1)

    def call(self, ids):
        return self.answer(self.ours(ids))


def foreign_model():
    model = OTHER.Sequential(
        [OTHER.layers.Embedding(20, 4), OTHER.layers.Dense(1)]
    )
    model.compile("sgd", "mse")
    model(IDS)
    return model


@pytest.mark.parametrize(
    "use",
    [
        lambda model, _: mec_tf.compress(model, BATCHES),
        lambda model, _: mec_tf.plan(model, BATCHES),
        lambda model, _: mec_tf.apply_codes(model, None, BATCHES),
        lambda model, path: mec_tf.export.save(model, path),
        lambda model, _: mec_tf.compression.model_bytes(model),
    ],
    ids=["compress", "plan", "apply_codes", "export", "model_bytes"],
)
def test_a_model_of_the_other_keras_is_refused(use, tmp_path):
    number = 2 if KERAS_3 else 3
    with pytest.raises(
        TypeError, match=f"Sequential of Keras {number}.*TF_USE_LEGACY_KERAS=1"
    ):
        use(foreign_model(), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_layer_of_the_other_keras_is_found_in_a_model():
    model = Mixed()
    model.compile("sgd", "mse")
    model(IDS)
    with pytest.raises(
        TypeError, match="Embedding at theirs/item of Keras.*LEGACY_KERAS=1"
    ):
        mec_tf.plan(model, BATCHES)
