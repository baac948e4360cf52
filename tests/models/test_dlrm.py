import numpy as np
import tensorflow as tf

from mec_tf.models import DLRM
from tests.harness import raw_variable

IDS = {"a": np.array([1, 2]), "b": np.array([0, 3])}


def vectors(model):
    tables = model.field_embeddings.tables
    return [raw_variable(tables[n].embeddings).numpy()[IDS[n]] for n in IDS]


def test_logits_follow_the_formula():
    model = DLRM(
        {"a": 5, "b": 4},
        {"x": (0.0, 1.0)},
        embedding_dim=3,
        hidden_units=(6,),
        bottom_units=(7,),
        embeddings_initializer="glorot_uniform",
    )
    logits = model({**IDS, "x": np.array([-4.0, 9.0], "float32")})

    number = np.array([[-np.log1p(4.0)], [np.log1p(9.0)]])
    first, bias, second, other = model.bottom.get_weights()
    hidden = np.maximum(number @ first + bias, 0.0)
    bottom = np.maximum(hidden @ second + other, 0.0)
    a, b = vectors(model)
    dots = [(bottom * a).sum(1), (bottom * b).sum(1), (a * b).sum(1)]
    inputs = np.concatenate([bottom, np.stack(dots, axis=1)], axis=1)
    kernel, bias = model.tower.get_weights()
    hidden = np.maximum(inputs @ kernel + bias, 0.0)
    kernel, bias = model.head.get_weights()
    np.testing.assert_allclose(
        logits, hidden @ kernel + bias, rtol=1e-5, atol=1e-6
    )


def test_without_numeric_features_a_learned_vector_takes_the_towers_place():
    model = DLRM({"a": 5, "b": 4}, embedding_dim=3, hidden_units=())
    logits = model(IDS)
    a, b = vectors(model)
    bottom = raw_variable(model.bottom_vector).numpy()
    assert model.bottom is None and np.abs(bottom).min() > 0
    dots = [(bottom * a).sum(1), (bottom * b).sum(1), (a * b).sum(1)]
    rows = np.repeat(bottom, 2, axis=0)
    inputs = np.concatenate([rows, np.stack(dots, axis=1)], axis=1)
    kernel, bias = model.head.get_weights()
    np.testing.assert_allclose(logits, inputs @ kernel + bias, rtol=1e-5)


def test_popularity_alone_is_learned_without_numeric_features():
    """Products of small rows are near a saddle where nothing is learned."""
    rng = np.random.default_rng(0)
    ids = {"a": rng.integers(200, size=4096), "b": rng.integers(9, size=4096)}
    labels = (ids["a"] % 2).astype(np.float32)
    model = DLRM({"a": 200, "b": 9}, embedding_dim=8, hidden_units=(16,))
    model.compile("adam", tf.keras.losses.BinaryCrossentropy(from_logits=True))
    model.fit(ids, labels, batch_size=64, epochs=3, verbose=0)
    assert np.mean((model(ids)[:, 0] > 0) == labels) > 0.95


def test_one_categorical_feature_will_do():
    assert DLRM({"a": 5}, embedding_dim=2)({"a": IDS["a"]}).shape == (2, 1)
