"""Sequences of ids in every ranking model."""

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf import pipeline
from mec_tf.compression.popularity import count_ids
from mec_tf.compression.tables import find_tables
from mec_tf.data import Log, Schema
from mec_tf.models import BACKBONES, DeepFM
from tests.harness import raw_variable

ROWS, ITEMS, LENGTH = 256, 20, 4
VALUES = np.array([f"i{i}" for i in range(ITEMS)])


@pytest.fixture(scope="module")
def log():
    """Liked: items of the same parity as the last one in the history."""
    rng = np.random.default_rng(0)
    items = rng.integers(0, ITEMS, ROWS)
    seen = VALUES[rng.integers(0, ITEMS, (ROWS, LENGTH))].astype(object)
    lengths = rng.integers(0, LENGTH + 1, ROWS)
    seen[np.arange(LENGTH) >= lengths[:, None]] = None
    return Log.from_columns(
        "likes",
        Schema(
            "liked", ("user", "item"), ("price",), sequences={"seen": "item"}
        ),
        {
            "user": rng.integers(0, 30, ROWS),
            "item": VALUES[items],
            "price": rng.normal(size=ROWS),
            "seen": seen,
            "liked": items % 2,
        },
        split=np.repeat([0, 1, 2], [ROWS - 80, 40, 40]),
    )


def make(name, log, **kwargs):
    settings = {
        "embedding_dim": 8,
        "hidden_units": (8,),
        "embedding_l2": 1e-4,
        "embeddings_initializer": "glorot_uniform",
    }
    model = BACKBONES[name].from_log(log, **{**settings, **kwargs})
    model.compile(
        tf.keras.optimizers.Adam(0.02),
        tf.keras.losses.BinaryCrossentropy(from_logits=True),
    )
    return model


def batch(log, size=ROWS):
    return next(iter(log.dataset("train", size)))[0]


@pytest.mark.parametrize("name", ["deepfm", "din"])
def test_trains_and_is_saved(name, log, tmp_path):
    model = make(name, log)
    assert list(model.field_embeddings.tables) == ["user", "item"]
    # Trains under XLA, answers without.
    model.compile(model.optimizer, model.loss, jit_compile=True)
    data = log.dataset("train", ROWS)
    losses = model.fit(data, epochs=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    compiled = model.predict_on_batch(batch(log))
    np.testing.assert_allclose(compiled, model(batch(log)), 1e-4, 1e-5)
    model.save(str(tmp_path / "model.keras"))
    loaded = tf.keras.models.load_model(str(tmp_path / "model.keras"))
    assert loaded.get_config() == model.get_config()
    assert loaded.sequences == {"seen": "item"}
    np.testing.assert_array_equal(loaded(batch(log)), model(batch(log)))


@pytest.mark.parametrize("name", ["deepfm", "din"])
def test_mixed_precision(name, log):
    model = make(name, log, dtype="mixed_float16")
    logits = model(batch(log))
    assert logits.dtype == tf.float32
    plain = make(name, log)
    plain(batch(log))
    plain.set_weights(model.get_weights())
    np.testing.assert_allclose(logits, plain(batch(log)), rtol=0.01, atol=0.02)


@pytest.mark.parametrize("name", BACKBONES)
def test_padding_changes_nothing(name, log):
    model = make(name, log)
    features = batch(log)
    logits = model(features)
    padding = tf.constant([[0, -1]] * len(logits))
    seen = tf.concat([padding, features["seen"], padding], axis=1)
    np.testing.assert_allclose(
        model({**features, "seen": seen}), logits, rtol=1e-4, atol=1e-5
    )


def test_models_average_the_vectors(log):
    model = make("deepfm", log)
    taken = {}

    def logits(vectors, numbers, training):
        taken["vectors"] = vectors.numpy()
        return vectors[:, 0, :1]

    model.logits = logits
    model(batch(log))
    table = raw_variable(model.field_embeddings.tables["item"].embeddings)
    seen = batch(log)["seen"].numpy()
    expected = np.where((seen > 0)[..., None], table.numpy()[seen], 0).sum(1)
    expected /= np.maximum((seen > 0).sum(axis=1), 1)[:, None]
    assert taken["vectors"].shape == (len(seen), 3, 8)
    np.testing.assert_allclose(
        taken["vectors"][:, 2], expected[:, :8], rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("name", ["deepfm", "din"])
def test_embedding_l2_leaves_padding_out(name, log):
    model = make(name, log, embedding_l2=0.5)
    features = {k: v[:5] for k, v in batch(log).items()}
    model(features, training=True)
    (loss,) = model.losses
    norms = {
        table: np.square(raw_variable(layer.embeddings).numpy()).sum(axis=1)
        for table, layer in model.field_embeddings.tables.items()
    }
    seen = features["seen"].numpy()
    expected = norms["user"][features["user"]] + norms["item"][features["item"]]
    expected += np.where(seen > 0, norms["item"][seen], 0).sum(
        axis=1
    ) / np.maximum((seen > 0).sum(axis=1), 1)
    np.testing.assert_allclose(loss, 0.5 * expected.mean(), rtol=1e-5)


def test_padding_looks_up_the_target(log):
    model = make("din", log)
    model(batch(log))
    data = log.dataset("train", 50)
    first = next(iter(data))
    counts = count_ids(model, find_tables(model), data, first)
    found = counts["field_embeddings/tables/item"]
    features = batch(log)
    seen, item = features["seen"].numpy(), features["item"].numpy()
    looked_up = np.where(seen > 0, seen, item[:, None])
    size = log.vocabularies["item"].size
    expected = np.bincount(item, minlength=size)
    expected += np.bincount(looked_up.ravel(), minlength=size)
    assert found.tolist() == expected.tolist()
    # The log itself counts items and history, padding left out.
    counts = pipeline.table_counts(model, log)
    expected = log.counts["item"] + log.counts["seen"]
    assert counts["field_embeddings/tables/item"].tolist() == expected.tolist()


@pytest.mark.parametrize("name", ["deepfm", "din"])
def test_compressed_and_exported(name, log, tmp_path):
    model = make(name, log)
    model(batch(log))
    result = mec_tf.compress(
        model,
        log.dataset("train", 200),
        policy=mec_tf.CompressionPolicy(
            ratio=2, tables={"*": mec_tf.TableSettings(2, 4)}
        ),
        counts=pipeline.table_counts(model, log),
        epochs=1,
        verbose=0,
    )
    tables = [f"field_embeddings/tables/{t}" for t in ("user", "item")]
    assert [t.path for t in result.report.tables] == tables
    width = 8 + model.additive_dim
    rows = sum(log.vocabularies[t].size for t in ("user", "item"))
    assert result.report.bytes_before == rows * width * 4
    report = mec_tf.export.save(
        result.model,
        tmp_path / "1",
        vocabularies=log.vocabularies,
        activation="sigmoid",
    )
    assert report.bytes_on_disk == result.report.bytes_after
    # Items and history share one file.
    assert len(list((tmp_path / "1" / "assets").iterdir())) == 2
    serve = tf.saved_model.load(report.path).signatures["serving_default"]
    raw = {
        "user": tf.constant([0, 1], tf.int64),
        "item": tf.constant(["i0", "nobody"]),
        "price": tf.constant([0.5, float("nan")]),
        "seen": tf.constant([["i3", "nobody", "i1"], ["", "i2", ""]]),
    }
    ids = {
        n: log.vocabularies[n].encode(raw[n].numpy().ravel().astype(kind))
        for n, kind in (("user", int), ("item", str), ("seen", str))
    }
    ids["seen"] = ids["seen"].reshape(2, 3)
    assert (ids["seen"] > 0).tolist() == [[1, 0, 1], [0, 1, 0]]
    expected = tf.sigmoid(result.model({**ids, "price": raw["price"]}))
    found = serve(**raw)["probability"]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    serve = tf.saved_model.load(report.path).signatures["ids"]
    tensors = {name: tf.constant(values) for name, values in ids.items()}
    found = serve(**tensors, price=raw["price"])["probability"]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sequences": {"s": "c"}}, "'s': 'c'"),
        ({"sequences": {"s": "b", "b": "a"}}, "'s': 'b'"),
        (
            {"sequences": {"s": "b"}, "shared_tables": {"s": "a"}},
            "`sequences`.*'s': 'b'",
        ),
        ({"sequences": {"s": "a"}}, "at least 9 rows.*of 3 rows"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        DeepFM({"a": 3, "b": 9, "s": 9}, **arguments)


def test_a_sequence_follows_its_target_to_a_shared_table():
    model = DeepFM(
        {"a": 9, "b": 9, "s": 9},
        shared_tables={"b": "a"},
        sequences={"s": "b"},
    )
    assert model.field_embeddings.fields == {"a": "a", "b": "a", "s": "a"}


def test_refuses_flat_sequences():
    model = DeepFM({"a": 3, "s": 3}, sequences={"s": "a"})
    with pytest.raises(ValueError, match=r"\[batch, length\] at 's'.*\(2,\)"):
        model({"a": np.array([1, 2]), "s": np.array([1, 2])})
