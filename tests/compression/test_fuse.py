"""Fused models answer, save and export as their originals."""

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf.cli import inspect
from mec_tf.compression import model_bytes
from mec_tf.layers import (
    CodeLookupEmbedding,
    FusedFieldEmbeddings,
    ProductQuantizedEmbedding,
)
from mec_tf.models import BACKBONES, DeepFM
from tests.harness import assert_identical

CATEGORICAL = {"user id": 30, "seen": 20, "item/x": 20, "city": 9, "home": 9}
RNG = np.random.default_rng(0)
BATCH = {
    **{n: RNG.integers(-2, rows + 2, 16) for n, rows in CATEGORICAL.items()},
    "seen": RNG.integers(0, 20, (16, 3)),
    "price": RNG.normal(size=16).astype("float32"),
}
BATCH = {name: tf.constant(values) for name, values in BATCH.items()}


def codes(feature, rows, width, additive):
    return CodeLookupEmbedding.from_table(
        RNG.normal(size=(rows, width)), 4, 4, additive_dim=additive
    )


def make(name="DeepFM", embedding_layer=codes):
    model = {b.__name__: b for b in BACKBONES.values()}[name](
        CATEGORICAL,
        {"price": (0.5, 2.0)},
        embedding_dim=8,
        hidden_units=(8,),
        embedding_layer=embedding_layer,
        shared_tables={"home": "city"},
        sequences={"seen": "item/x"},
        embeddings_initializer="normal",
    )
    model.build(None)
    return model


@pytest.mark.parametrize("tables", [codes, None], ids=["codes", "exact"])
@pytest.mark.parametrize("name", [b.__name__ for b in BACKBONES.values()])
def test_every_backbone(name, tables, tmp_path):
    model = make(name, tables)
    before = model.get_weights()
    fused = mec_tf.fuse(model)
    assert type(fused) is type(model)
    expected = model(BATCH)
    assert_identical(fused(BATCH), expected)
    assert_identical(model.get_weights(), before)
    (group,) = fused.field_embeddings.groups.values()
    assert group.names == ("user id", "item/x", "city")
    assert sum(model_bytes(fused).values()) == sum(model_bytes(model).values())
    if tables is codes:
        path = str(tmp_path / "model.keras")
        fused.save(path)
        loaded = tf.keras.models.load_model(path)
        assert loaded.get_config() == fused.get_config()
        assert_identical(loaded(BATCH), expected)


def test_frozen_layers_stay_frozen():
    model = make()
    model.tower.trainable = False
    fused = mec_tf.fuse(model)
    assert not fused.tower.trainable
    assert_identical(fused(BATCH), model(BATCH))


@pytest.mark.parametrize("tables", [codes, None], ids=["codes", "exact"])
def test_export_stores_the_fused_tables_once(tables, tmp_path, capsys):
    model = make(embedding_layer=tables)
    report = mec_tf.export.save(model, tmp_path / "fused")
    total = sum(model_bytes(model).values())
    assert report.bytes_on_disk == total
    contents = mec_tf.export.inspect_saved_model(report.path)
    (table,) = contents.tables
    named = {t["name"]: t["row_range"] for t in table.settings["tables"]}
    assert named == {"user id": [0, 30], "item/x": [30, 50], "city": [50, 59]}
    dense = sum(
        w.nbytes for w in model.tower.get_weights() + model.head.get_weights()
    )
    assert contents.variable_file_bytes < total + dense + 20_000
    request = {report.inputs[n]: v for n, v in BATCH.items()}
    request = {
        n: tf.cast(v, tf.int32) if v.dtype.is_integer else v
        for n, v in request.items()
    }
    loaded = tf.saved_model.load(report.path).signatures["ids"]
    np.testing.assert_allclose(
        loaded(**request)["logits"], model(BATCH), atol=1e-5
    )

    apart = mec_tf.export.save(model, tmp_path / "apart", fuse=False)
    rows = [inspect.saved_tables(tmp_path / n) for n in ("fused", "apart")]
    # Names, rows, widths, bytes and the codes in use.
    fused, separate = ({r[0].split("/", 3)[-1]: r[1:] for r in x} for x in rows)
    separate = {n.split("/", 2)[-1]: r for n, r in separate.items()}
    assert apart.bytes_on_disk == total
    assert len(fused) == 3
    for (name, *row), other in zip(rows[0], rows[1], strict=True):
        assert name.rsplit("_0/")[1] == other[0].removeprefix(
            "field_embeddings/tables/"
        )
        assert tuple(row) == other[1:]
    path = tmp_path / "model.keras"
    mec_tf.fuse(model).save(str(path))
    assert inspect.keras_tables(path) == rows[0]


def test_tables_in_training_stay_single(tmp_path):
    def some(feature, rows, width, additive):
        if feature != "city":
            return codes(feature, rows, width, additive)
        return ProductQuantizedEmbedding(rows, width, 4, 4, additive_dim=1)

    model = make(embedding_layer=some)
    fused = mec_tf.fuse(model)
    assert set(fused.field_embeddings.tables) == {"city"}
    assert_identical(fused(BATCH), model(BATCH))


def test_what_cannot_be_fused_is_said():
    with pytest.raises(TypeError, match="ranking model of mec_tf.models"):
        mec_tf.fuse(tf.keras.Sequential())
    model = DeepFM({"a": 9, "b": 9}, embedding_dim=4, hidden_units=(4,))
    with pytest.raises(ValueError, match="Received: not built"):
        mec_tf.fuse(model)
    model.build(None)
    fused = mec_tf.fuse(model)
    with pytest.raises(ValueError, match="Received: a fused model"):
        mec_tf.fuse(fused)
    with pytest.raises(ValueError, match="must have the model's fields"):
        DeepFM(
            {"a": 9, "c": 9},
            embedding_dim=4,
            embedding_layer=FusedFieldEmbeddings.from_fields(
                model.field_embeddings
            ),
        )
