"""Ranking models through `compress`, a `.keras` file and an export."""

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf.layers import CodeLookupEmbedding
from mec_tf.models import GDCN, PNN, FiBiNET

RNG = np.random.default_rng(0)
ROWS = {"user id": 200, "city": 150}
FEATURES = {
    **{name: RNG.integers(0, rows, 512) for name, rows in ROWS.items()},
    "price": RNG.normal(size=512).astype("float32"),
}
LABELS = (FEATURES["city"] % 2).astype("float32")[:, None]
DATA = tf.data.Dataset.from_tensor_slices((FEATURES, LABELS)).batch(128)


@pytest.mark.parametrize("model_class", [FiBiNET, GDCN, PNN])
def test_compress_save_and_export(model_class, tmp_path):
    model = model_class(
        ROWS, {"price": (0.0, 1.0)}, embedding_dim=8, hidden_units=(8,)
    )
    loss = tf.keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile("adam", loss)
    model.fit(DATA, verbose=0)
    result = mec_tf.compress(
        model,
        DATA,
        policy=mec_tf.CompressionPolicy(ratio=6),
        epochs=1,
        verbose=0,
    )
    assert result.report.ratio >= 6
    width = 8 + model_class.additive_dim
    assert result.report.bytes_before == 4 * width * sum(ROWS.values())
    tables = result.model.field_embeddings.tables
    assert {type(table) for table in tables.values()} == {CodeLookupEmbedding}
    expected = result.model.predict(DATA, verbose=0)
    assert np.isfinite(expected).all()

    path = str(tmp_path / "model.keras")
    result.model.save(path)
    loaded = tf.keras.models.load_model(path)
    np.testing.assert_array_equal(loaded.predict(DATA, verbose=0), expected)

    # `save` compares its own answers with the model's, and the bytes on disk
    # with the count.
    report = mec_tf.export.save(result.model, tmp_path / "1")
    assert report.bytes_on_disk == result.report.bytes_after
    serve = tf.saved_model.load(str(tmp_path / "1")).signatures["ids"]
    found = serve(
        user_id=tf.constant(FEATURES["user id"][:5], tf.int32),
        city=tf.constant(FEATURES["city"][:5], tf.int32),
        price=tf.constant(FEATURES["price"][:5]),
    )["logits"]
    np.testing.assert_allclose(found, expected[:5], rtol=1e-5, atol=1e-6)
