"""What holds for every ranking model."""

import types

import numpy as np
import pytest
import tensorflow as tf

from mec_tf.layers import (
    CodeLookupEmbedding,
    ProductQuantizedEmbedding,
    TableEmbedding,
)
from mec_tf.models import DLRM, GDCN, PNN, DCNv2, DeepFM, FiBiNET
from mec_tf.models.ranking_model import EMBEDDING_SCALE
from tests.harness import raw_variable

MODELS = [DeepFM, DCNv2, DLRM, FiBiNET, GDCN, PNN]
RNG = np.random.default_rng(0)
# Out of order: Keras 2 sorts the items of a dict, Keras 3 does not.
CATEGORICAL = {"user id": 30, "city": 10, "home": 10}
NUMERIC = {"price": (1.0, 2.0), "age": (3.0, 0.5)}
FEATURES = {
    "user id": RNG.integers(0, 30, 64).astype("int32"),
    "city": RNG.integers(0, 10, 64).astype("int32"),
    "home": RNG.integers(0, 10, 64).astype("int32"),
    "price": (RNG.normal(size=64) * 1e5).astype("float32"),
    "age": RNG.uniform(0, 90, 64).astype("float32"),
    "unused": np.zeros(64, "float32"),
}
FEATURES["price"][::7] = np.nan
LABELS = (FEATURES["city"] % 2).astype("float32")[:, None]
DATA = tf.data.Dataset.from_tensor_slices((FEATURES, LABELS)).batch(16)


def make(model_class, **kwargs):
    settings = {"embedding_dim": 4, "hidden_units": (8, 4), **kwargs}
    return model_class(CATEGORICAL, NUMERIC, **settings)


def fit(model, epochs=1, **kwargs):
    model.compile(
        tf.keras.optimizers.Adam(0.02),
        tf.keras.losses.BinaryCrossentropy(from_logits=True),
        **kwargs,
    )
    return model.fit(DATA, epochs=epochs, verbose=0).history["loss"]


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
@pytest.mark.parametrize("model_class", MODELS)
def test_fit_reduces_the_loss(model_class, jit_compile):
    model = make(
        model_class,
        dropout=0.1,
        embedding_l2=1e-4,
        embeddings_initializer="glorot_uniform",
    )
    losses = fit(model, 6, jit_compile=jit_compile)
    assert losses[-1] < 0.95 * losses[0]
    logits = model.predict(DATA, verbose=0)
    assert logits.shape == (64, 1) and logits.dtype == np.float32
    assert np.isfinite(logits).all()


@pytest.mark.parametrize("model_class", MODELS)
def test_keras_file_round_trip(model_class, tmp_path):
    model = make(model_class, shared_tables={"home": "city"}, dropout=0.2)
    fit(model)
    path = str(tmp_path / "model.keras")
    model.save(path)
    loaded = tf.keras.models.load_model(path)
    assert type(loaded) is model_class
    assert loaded.get_config() == model.get_config()
    np.testing.assert_array_equal(
        loaded.predict(DATA, verbose=0), model.predict(DATA, verbose=0)
    )
    # Training goes on where it stopped.
    loaded.fit(DATA, verbose=0)


@pytest.mark.parametrize("model_class", MODELS)
def test_a_copy_from_the_config_takes_other_tables(model_class, tmp_path):
    model = make(model_class)
    model(FEATURES)
    copy = model_class.from_config(model.get_config())
    tables = copy.field_embeddings.tables
    assert list(tables) == list(CATEGORICAL)
    assert not copy.built
    assert not any(table.built for table in tables.values())
    width, additive = 4 + model_class.additive_dim, model_class.additive_dim
    tables["user id"] = ProductQuantizedEmbedding(
        30, width, 2, 4, additive_dim=additive, name="quantized"
    )
    fit(copy, 2)
    moving = raw_variable(tables["user id"].moving).numpy()
    assert np.abs(moving[..., -1] - 1.0).max() > 1e-3
    path = str(tmp_path / "model.keras")
    copy.save(path)
    loaded = tf.keras.models.load_model(path)
    np.testing.assert_array_equal(
        loaded.predict(DATA, verbose=0), copy.predict(DATA, verbose=0)
    )


@pytest.mark.parametrize("model_class", MODELS)
def test_mixed_precision(model_class, tmp_path):
    model = make(model_class, dtype="mixed_float16")
    logits = model(FEATURES)
    assert logits.dtype == tf.float32
    assert np.isfinite(logits).all()
    assert {w.dtype for w in model.trainable_weights} <= {"float32", tf.float32}
    plain = make(model_class)
    plain(FEATURES)
    plain.set_weights(model.get_weights())
    np.testing.assert_allclose(logits, plain(FEATURES), rtol=0.01, atol=0.02)
    path = str(tmp_path / "model.keras")
    model.save(path)
    np.testing.assert_array_equal(
        tf.keras.models.load_model(path)(FEATURES), logits
    )


@pytest.mark.parametrize("model_class", MODELS)
def test_as_part_of_a_functional_model(model_class):
    model = make(model_class)
    inputs = {
        name: tf.keras.Input(
            (), dtype=FEATURES[name].dtype.name, name=name.replace(" ", "_")
        )
        for name in model.feature_names
    }
    sigmoid = tf.keras.layers.Activation("sigmoid")
    whole = tf.keras.Model(inputs, sigmoid(model(inputs)))
    values = {name: tf.constant(FEATURES[name]) for name in inputs}
    np.testing.assert_allclose(
        whole(values), tf.sigmoid(model(FEATURES)), rtol=1e-5
    )


def test_columns_and_vectors_of_ids_are_one():
    model = make(DeepFM)
    columns = {name: values[:, None] for name, values in FEATURES.items()}
    np.testing.assert_array_equal(model(columns), model(FEATURES))


@pytest.mark.parametrize("model_class", MODELS)
def test_shared_tables(model_class):
    model = make(model_class, shared_tables={"home": "city"})
    model(FEATURES)
    assert set(model.field_embeddings.tables) == {"user id", "city"}
    swapped = {**FEATURES, "home": FEATURES["city"]}
    table = model.field_embeddings.tables["city"]
    raw_variable(table.embeddings).assign(tf.zeros([10, table.output_dim]))
    # Nothing tells rows of a table of zeros apart.
    np.testing.assert_allclose(model(swapped), model(FEATURES), rtol=1e-6)


def test_a_callable_plugs_in_any_layer():
    calls = []

    def layer(name, input_dim, output_dim, additive_dim):
        calls.append((name, input_dim, output_dim, additive_dim))
        return tf.keras.layers.Embedding(input_dim, output_dim)

    model = make(DeepFM, embedding_layer=layer, shared_tables={"home": "city"})
    assert calls == [("user id", 30, 5, 1), ("city", 10, 5, 1)]
    losses = fit(model, 4)
    assert losses[-1] < losses[0]
    twin = DeepFM.from_config(model.get_config())
    kinds = {type(table) for table in twin.field_embeddings.tables.values()}
    assert kinds == {tf.keras.layers.Embedding}


def test_a_dict_plugs_in_layers_that_are_built_already():
    table = RNG.normal(size=(10, 4))
    codes = CodeLookupEmbedding.from_table(table, 2, 10)
    model = make(DLRM, embedding_layer={"city": codes})
    fit(model)
    kept = model.field_embeddings.tables
    assert kept["city"] is codes
    assert type(kept["user id"]) is TableEmbedding
    np.testing.assert_allclose(codes(np.arange(10)), table, rtol=1e-6)


def test_embedding_l2_is_the_mean_norm_of_looked_up_rows():
    model = make(DeepFM, embedding_l2=0.5)
    features = {name: values[:2] for name, values in FEATURES.items()}
    model(features)
    assert not model.losses
    model(features, training=True)
    (loss,) = model.losses
    squares = sum(
        np.square(raw_variable(table.embeddings).numpy()[features[name]]).sum()
        for name, table in model.field_embeddings.tables.items()
    )
    np.testing.assert_allclose(loss, 0.5 * squares / 2, rtol=1e-5)


@pytest.mark.parametrize("model_class", MODELS)
def test_missing_numbers_are_the_mean(model_class):
    model = make(model_class)
    mean = np.expm1(1.0).astype("float32")
    missing = {**FEATURES, "price": np.full(64, np.nan, "float32")}
    filled = {**FEATURES, "price": np.full(64, mean)}
    np.testing.assert_allclose(model(missing), model(filled), atol=1e-6)


def test_default_rows_are_small_and_differ_between_tables():
    model = make(DeepFM)
    model(FEATURES)
    tables = model.field_embeddings.tables
    city, home = (
        raw_variable(tables[name].embeddings).numpy()
        for name in ("city", "home")
    )
    assert 0.5 * EMBEDDING_SCALE < np.abs(city).max() <= EMBEDDING_SCALE
    assert not np.array_equal(city, home)


def test_from_log():
    log = types.SimpleNamespace(
        vocabularies={"a": types.SimpleNamespace(size=7)},
        numeric={"x": types.SimpleNamespace(mean=1.0, std=2.0)},
        schema=types.SimpleNamespace(sequences={}),
    )
    model = DLRM.from_log(log, embedding_dim=3)
    assert model.feature_names == ("a", "x")
    assert dict(model.categorical) == {"a": 7}
    assert list(model.numeric["x"]) == [1.0, 2.0]
    assert model.embedding_dim == 3


def test_a_missing_feature_is_named():
    model = make(DeepFM)
    features = {k: v for k, v in FEATURES.items() if k not in ("city", "age")}
    with pytest.raises(ValueError, match=r"Missing: \['city', 'age'\]"):
        model.call(features)


@pytest.mark.parametrize(
    "categorical, arguments, message",
    [
        ({}, {}, "at least one feature"),
        ({"a": 3}, {"numeric": {"a": (0, 1)}}, r"in both: \['a'\]"),
        ({"a": 3}, {"embedding_dim": 0}, "embedding_dim=0"),
        ({"a": 3}, {"embedding_l2": -1.0}, "embedding_l2=-1.0"),
        ({"a": 3}, {"dropout": 1.0}, "dropout=1.0"),
        ({"a": 3}, {"hidden_units": (0,)}, r"units=\(0,\)"),
        ({"a": 3}, {"shared_tables": {"a": "b"}}, "'a': 'b'"),
        ({"a": 3}, {"shared_tables": {"a": "a"}}, "'a': 'a'"),
        (
            {"a": 3, "b": 2},
            {"shared_tables": {"a": "b"}},
            "at least 3 rows. Received: 'b', of 2 rows",
        ),
        (
            {"a": 3},
            {"embedding_layer": {"b": None}},
            r"table of their own. Received: \['b'\]",
        ),
        (
            {"a": 3},
            {"embedding_layer": {"a": TableEmbedding(3, 40)}},
            "output_dim=41 .* Received: output_dim=40",
        ),
    ],
)
def test_bad_arguments(categorical, arguments, message):
    with pytest.raises(ValueError, match=message):
        DeepFM(categorical, **arguments)
