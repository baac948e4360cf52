"""Tables at the edge: tiny, unused, constant, broken."""

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf.compression import CompressionPolicy, TableSettings
from mec_tf.compression.tables import find_tables, table_layers
from mec_tf.layers import (
    CodeLookupEmbedding,
    ProductQuantizedEmbedding,
    ResidualQuantizedEmbedding,
)
from mec_tf.training import CodebookHealth

RNG = np.random.default_rng(0)
DIM = 6

TABLES = {
    "few_rows": RNG.normal(size=(5, DIM)),
    "one_row": RNG.normal(size=(1, DIM)),
    "equal_rows": np.tile(RNG.normal(size=(1, DIM)), (40, 1)),
    "zeros": np.zeros((40, DIM)),
    "two_values": np.repeat(RNG.normal(size=(2, DIM)), 20, axis=0),
}
TABLES = {name: t.astype("float32") for name, t in TABLES.items()}
QUANTIZERS = ("product", "rotated", "residual")


def trainable(quantizer, table, **kwargs):
    kind = ProductQuantizedEmbedding
    if quantizer == "residual":
        kind = ResidualQuantizedEmbedding
    elif quantizer == "rotated":
        kwargs["rotated"] = True
    return kind(*table.shape, 2, 16, **kwargs)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("counts", ["none", "zero", "first"])
def test_tables_of_few_vectors_are_kept_exactly(quantizer, name, counts):
    table = TABLES[name]
    weights = {
        "none": None,
        "zero": np.zeros(len(table), np.int64),
        "first": np.arange(len(table)) == 0,
    }[counts]
    layer = CodeLookupEmbedding.from_table(
        table, 2, 256, quantizer=quantizer, counts=weights
    )
    answer = layer(np.arange(len(table))).numpy()
    assert np.isfinite(answer).all()
    if counts != "first":  # rows of no weight may go to other rows' codes
        np.testing.assert_allclose(answer, table, atol=1e-5)
    np.testing.assert_allclose(answer[0], table[0], atol=1e-5)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("name", ["few_rows", "one_row", "equal_rows"])
def test_training_on_them_stays_finite(quantizer, name):
    table = TABLES[name]
    layer = trainable(
        quantizer, table, pwr_weight=0.1, contrastive_weight=0.1,
        additive_dim=0 if quantizer != "product" else 2,
    )  # fmt: skip
    layer.warm_start(table, np.zeros(len(table), np.int64))
    ids = np.arange(len(table))
    before = layer(ids).numpy()
    np.testing.assert_allclose(before, table, atol=1e-4)
    model = tf.keras.Sequential([layer, tf.keras.layers.Dense(1)])
    model.compile(tf.keras.optimizers.Adam(0.01), "mse")
    history = model.fit(ids, np.ones(len(ids)), epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    frozen = layer.freeze()
    answer = frozen(ids).numpy()
    assert np.isfinite(answer).all()
    np.testing.assert_allclose(answer, layer(ids).numpy(), rtol=1e-5)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite_tables_are_refused(quantizer, bad):
    table = TABLES["few_rows"].copy()
    table[3, 2] = bad
    with pytest.raises(ValueError, match="finite.*row 3"):
        CodeLookupEmbedding.from_table(table, 2, 4, quantizer=quantizer)
    with pytest.raises(ValueError, match="finite.*row 3"):
        trainable(quantizer, table).warm_start(table)


def examples(size=600):
    """`seen` is looked up; of `unseen` one row only; `single` has one."""
    rng = np.random.default_rng(0)
    seen = rng.integers(0, 60, size)
    features = {
        "seen": seen,
        "unseen": np.full(size, 7),
        "single": np.zeros(size, np.int64),
        "constant": rng.integers(0, 60, size),
    }
    label = (np.random.default_rng(1).normal(size=60)[seen] > 0)[:, None]
    return features, label.astype("float32")


ROWS = {"seen": 60, "unseen": 60, "single": 1, "constant": 60}


@pytest.fixture(scope="module")
def model():
    tf.keras.utils.set_random_seed(0)
    model = mec_tf.models.DeepFM(ROWS, embedding_dim=6, hidden_units=(8,))
    model.compile(
        tf.keras.optimizers.Adam(0.02),
        tf.keras.losses.BinaryCrossentropy(from_logits=True),
    )
    model.fit(data(), epochs=2, verbose=0)
    layers = table_layers(model)
    constant = layers["field_embeddings/tables/constant"].embeddings
    constant.assign(np.ones(constant.shape))
    return model


def data():
    return tf.data.Dataset.from_tensor_slices(examples()).batch(100)


@pytest.mark.parametrize(
    "settings",
    [
        TableSettings(2, 256),
        TableSettings(2, 16, quantizer="residual"),
        None,
    ],
    ids=["product", "residual", "planned"],
)
def test_compress_takes_them_all(model, settings):
    policy = CompressionPolicy(ratio=1.5)
    if settings is not None:
        policy = CompressionPolicy(max_bytes=10**6, tables={"*": settings})
    result = mec_tf.compress(
        model, data(), validation_data=data(), policy=policy, epochs=1,
        callbacks=[CodebookHealth(reseed=True)], verbose=0,
    )  # fmt: skip
    assert all(np.isfinite(v).all() for v in result.history.values())
    assert any(name.endswith("/perplexity") for name in result.history)
    features, labels = examples()
    before = model.predict(features, verbose=0)
    after = result.model.predict(features, verbose=0)
    assert np.isfinite(after).all()
    auc = mec_tf.training.rank_auc(labels, after)
    assert auc > mec_tf.training.rank_auc(labels, before) - 0.05
    for path, layer in table_layers(result.model).items():
        ids = np.arange(layer.input_dim)
        assert np.isfinite(layer(ids).numpy()).all(), path
    assert len(result.report.tables) == 4


def test_compress_refuses_nan_and_names_the_table(model):
    (table,) = [t for t in find_tables(model) if t.path.endswith("unseen")]
    values = table.values().copy()
    values[11, 0] = np.nan
    kept = table.values().copy()
    table.layer.embeddings.assign(values)
    with pytest.raises(ValueError, match="tables/unseen: .*finite.*row 11"):
        mec_tf.compress(model, data(), verbose=0)
    table.layer.embeddings.assign(kept)
