"""The commitment weight that `compress` measures."""

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf.compression import matched_commitment
from mec_tf.layers import ProductQuantizedEmbedding

ROWS, DIM = 64, 4
SETTINGS = {"*": mec_tf.TableSettings(2, 4, codebook_dtype="float32")}


def rows(seed=0):
    values = np.random.default_rng(seed).normal(size=(ROWS, DIM))
    return values.astype(np.float32)


def answering(table, scale=1.0):
    """A model that answers `scale` times a row, and ids with those rows."""
    embedding = tf.keras.layers.Embedding(ROWS, DIM)
    ids = tf.keras.Input((), dtype="int32")
    model = tf.keras.Model(
        ids, tf.keras.layers.Rescaling(scale)(embedding(ids))
    )
    embedding.set_weights([table])
    model.compile("sgd", "mse")
    ids = np.arange(ROWS, dtype=np.int32)
    return model, tf.data.Dataset.from_tensor_slices(
        (ids, scale * table[ids])
    ).batch(16)


class Watch(tf.keras.callbacks.Callback):
    """Notes the commitment weight of the tables in training."""

    def on_train_begin(self, logs=None):
        found = mec_tf.training.table_health.quantized_tables(self.model)
        self.weights = [layer.commitment_weight for _, layer in found]


def trained_with(model, data, **policy):
    watch = Watch()
    result = mec_tf.compress(
        model,
        data,
        policy=mec_tf.CompressionPolicy(ratio=1.5, tables=SETTINGS, **policy),
        epochs=1,
        callbacks=[watch],
        verbose=0,
    )
    assert watch.weights == [result.report.commitment_weight]
    return watch.weights[0]


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_weight_is_the_curvature_of_the_loss(scale):
    # The loss of an answer is scale² ||z - s||² / DIM.
    weight = trained_with(*answering(rows(), scale))
    np.testing.assert_allclose(weight, scale**2 / DIM, rtol=1e-3)


def test_weight_is_at_least_a_tenth():
    assert trained_with(*answering(rows(), 1e-3)) == 0.1


def test_given_weight_wins():
    model, data = answering(rows())
    assert trained_with(model, data, commitment_weight=0.7) == 0.7


def test_nothing_is_measured_without_training():
    model, data = answering(rows())
    result = mec_tf.compress(
        model,
        data,
        policy=mec_tf.CompressionPolicy(ratio=1.5, tables=SETTINGS),
        epochs=0,
        verbose=0,
    )
    assert result.report.commitment_weight is None


def test_every_tier_has_it():
    table = mec_tf.TableSettings(
        1, 4, heads=((16, mec_tf.TableSettings(2, 8)),)
    )
    model, data = answering(rows(), 2.0)
    watch = Watch()
    result = mec_tf.compress(
        model,
        data,
        policy=mec_tf.CompressionPolicy(ratio=1.5, tables={"*": table}),
        epochs=1,
        callbacks=[watch],
        verbose=0,
    )
    assert watch.weights == [result.report.commitment_weight] * 2
    assert watch.weights[0] > 0.1


def test_a_train_step_without_its_test_step_measures_nothing():
    class Own(tf.keras.Sequential):
        def train_step(self, data):
            return super().train_step(data)

    model = Own([tf.keras.layers.Embedding(ROWS, DIM)])
    model.compile("sgd", "mse")
    ids = np.arange(ROWS, dtype=np.int32)
    model(ids)
    model.layers[0].set_weights([rows()])
    data = tf.data.Dataset.from_tensor_slices((ids, 9 * rows())).batch(16)
    quantized = tf.keras.Sequential(
        [ProductQuantizedEmbedding(ROWS, DIM, 2, 4)]
    )
    quantized.compile("sgd", "mse")
    quantized.layers[0].warm_start(rows())
    quantized(ids)
    assert matched_commitment(model, quantized, data) == 0.1


def test_a_test_step_without_a_loss_measures_nothing():
    class Own(tf.keras.Sequential):
        def test_step(self, data):
            return {"found": tf.constant(1.0)}

    ids = np.arange(ROWS, dtype=np.int32)
    models = [
        Own([tf.keras.layers.Embedding(ROWS, DIM)]),
        Own([ProductQuantizedEmbedding(ROWS, DIM, 2, 4)]),
    ]
    for model in models:
        model.compile("sgd", "mse")
        model(ids)
    models[1].layers[0].warm_start(rows())
    data = tf.data.Dataset.from_tensor_slices((ids, 9 * rows())).batch(16)
    assert matched_commitment(*models, data) == 0.1
