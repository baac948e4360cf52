"""Models of keras-rs layers through `compress` and export; Keras 3 only."""

import keras_rs
import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf.layers import CodeLookupEmbedding, ProductQuantizedEmbedding

ROWS = {"user": 300, "item": 200}
DIM = 16


class DCN(tf.keras.Model):
    """Cross layers over embeddings, as the keras-rs examples write it."""

    def __init__(self):
        super().__init__()
        self.tables = {
            name: tf.keras.layers.Embedding(rows, DIM)
            for name, rows in ROWS.items()
        }
        self.crosses = [
            keras_rs.layers.FeatureCross(projection_dim=8) for _ in range(2)
        ]
        self.hidden = tf.keras.layers.Dense(32, "relu")
        self.answer = tf.keras.layers.Dense(1)

    def call(self, features):
        x0 = tf.keras.ops.concatenate(
            [self.tables[name](features[name]) for name in ROWS], axis=-1
        )
        x = x0
        for cross in self.crosses:
            x = cross(x0, x)
        return self.answer(self.hidden(x))


def dlrm(table=tf.keras.layers.Embedding):
    """A functional model with dot products of all pairs of vectors."""
    inputs = {n: tf.keras.Input((), dtype="int32", name=n) for n in ROWS}
    vectors = [table(rows, DIM)(inputs[name]) for name, rows in ROWS.items()]
    pairs = keras_rs.layers.DotInteraction()(vectors)
    both = tf.keras.layers.Concatenate()([*vectors, pairs])
    hidden = tf.keras.layers.Dense(32, "relu")(both)
    return tf.keras.Model(inputs, tf.keras.layers.Dense(1)(hidden))


@pytest.fixture(scope="module")
def batches():
    rng = np.random.default_rng(0)
    ids = {
        name: rng.integers(0, rows, 4000).astype(np.int32)
        for name, rows in ROWS.items()
    }
    liked = (ids["user"] % 4 == ids["item"] % 4).astype(np.float32)[:, None]
    return tf.data.Dataset.from_tensor_slices((ids, liked)).batch(250)


def fitted(model, batches):
    model.compile(
        tf.keras.optimizers.Adam(0.02),
        tf.keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[tf.keras.metrics.AUC(from_logits=True, name="auc")],
    )
    model.fit(batches, epochs=6, verbose=0)
    return model


@pytest.mark.parametrize("make", [DCN, dlrm], ids=["cross", "dot"])
def test_models_are_compressed_saved_and_exported(make, batches, tmp_path):
    model = fitted(make(), batches)
    result = mec_tf.compress(
        model,
        batches,
        validation_data=batches,
        policy=mec_tf.CompressionPolicy(ratio=8),
        monitor="val_auc",
        epochs=3,
        verbose=0,
    )
    assert result.report.ratio >= 8
    assert result.report.score[2] > 0.85
    features = {n: x[:9] for n, x in next(iter(batches))[0].items()}
    path = str(tmp_path / "model.keras")
    result.model.save(path)
    loaded = tf.keras.models.load_model(path)
    np.testing.assert_array_equal(loaded(features), result.model(features))
    report = mec_tf.export.save(result.model, tmp_path / "1", example=features)
    assert report.bytes_on_disk == result.report.bytes_after
    served = tf.saved_model.load(str(tmp_path / "1"))
    answer = served.signatures["ids"](**features)["logits"]
    np.testing.assert_allclose(
        answer, result.model(features), rtol=1e-5, atol=1e-5
    )


def test_quantized_tables_train_below_keras_rs_layers(batches):
    model = fitted(
        dlrm(lambda *shape: ProductQuantizedEmbedding(*shape, num_subspaces=2)),
        batches,
    )
    scores = model.evaluate(batches, verbose=0, return_dict=True)
    assert scores["auc"] > 0.65
    tables = [
        layer
        for layer in model.layers
        if isinstance(layer, ProductQuantizedEmbedding)
    ]
    for table in tables:
        assert np.ptp(table.moving.numpy()[..., -1]) > 0
        assert isinstance(table.freeze(), CodeLookupEmbedding)


def test_retrieval_layer_takes_the_vectors_of_codes(batches):
    model = fitted(dlrm(), batches)
    result = mec_tf.compress(
        model,
        batches,
        policy=mec_tf.CompressionPolicy(ratio=8),
        epochs=0,
        verbose=0,
    )
    codes = {t.rows: result.codes.layer(name) for name, t in named(result)}
    items = codes[ROWS["item"]](tf.range(ROWS["item"]))
    index = keras_rs.layers.BruteForceRetrieval(items, k=5)
    users = codes[ROWS["user"]](tf.range(8))
    scores, found = index(users)
    best = np.sort(users @ tf.transpose(items), axis=1)[:, ::-1][:, :5]
    np.testing.assert_allclose(scores, best, rtol=1e-4, atol=1e-5)
    assert found.shape == (8, 5)


def named(result):
    return [(name, result.codes.table(name)) for name in result.codes.names]
