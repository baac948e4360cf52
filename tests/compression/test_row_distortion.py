"""How far compressed rows are from full ones, by popularity."""

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf.compression import CompressionPolicy, row_distortion
from mec_tf.layers import CodeLookupEmbedding, TableEmbedding

ROWS, DIM = 60, 6
COUNTS = np.append(np.uint8(200) // np.arange(1, 51, dtype=np.uint8), [0] * 10)


def table_of(values):
    layer = TableEmbedding(*values.shape)
    layer.build()
    layer.set_weights([values])
    return layer


@pytest.fixture
def values():
    drawn = np.random.default_rng(0).normal(size=(ROWS, DIM))
    return drawn.astype(np.float32)


def test_same_as_in_full(values, monkeypatch):
    monkeypatch.setattr(row_distortion, "CHUNK", 7)
    small = CodeLookupEmbedding.from_table(values, 2, 4, counts=COUNTS)
    found = row_distortion.row_distortion(table_of(values), small, COUNTS)
    gaps = np.square(small(np.arange(ROWS)).numpy() - values).sum(axis=1)
    lengths = np.square(values).sum(axis=1)
    before = np.cumsum(COUNTS) - COUNTS
    thirds = np.floor(before * 3 / COUNTS.sum()).astype(int)
    for place, name in enumerate(("popular", "middle", "rare")):
        weights = COUNTS * (thirds == place)
        expected = weights @ gaps / (weights @ lengths)
        assert found[name] == pytest.approx(expected, rel=1e-5)


def test_nothing_moved_and_all_gone(values):
    full = table_of(values)
    tiers = ("popular", "middle", "rare")
    zeros = table_of(np.zeros_like(values))
    measure = row_distortion.row_distortion
    assert measure(full, full, COUNTS) == dict.fromkeys(tiers, 0.0)
    assert measure(full, zeros, COUNTS) == dict.fromkeys(tiers, 1.0)
    assert measure(zeros, full, COUNTS) == {}
    assert measure(full, zeros, np.zeros(ROWS, int)) == {}


@pytest.mark.parametrize(
    ("method", "measured"), [("kmeans", True), ("hash", False)]
)
def test_in_the_report_where_rows_are_the_same(method, measured, values):
    ids = tf.keras.Input((), dtype="int32")
    vectors = tf.keras.layers.Embedding(ROWS, DIM, name="users")(ids)
    model = tf.keras.Model(ids, tf.keras.layers.Dense(1)(vectors))
    model.get_layer("users").set_weights([values])
    model.compile("sgd", "mse")
    data = (np.arange(ROWS, dtype=np.int32), np.ones((ROWS, 1), np.float32))
    result = mec_tf.compress(
        model, data, policy=CompressionPolicy(ratio=2, method=method),
        epochs=1, verbose=0,
    )  # fmt: skip
    (table,) = result.report.tables
    if not measured:
        assert table.distortion is None
        return
    assert set(table.distortion) == {"popular", "middle", "rare"}
    assert all(0 < value < 1 for value in table.distortion.values())
