"""Few of the cases of `benchmarks.reliability.ids`, and its own rule."""

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from benchmarks.reliability import ids
from benchmarks.reliability.id_rule import compare, expected, whole
from benchmarks.reliability.id_tables import ROWS, tables
from mec_tf.layers import (
    HashedEmbedding,
    LowPrecisionEmbedding,
    PooledEmbedding,
    TableEmbedding,
)
from mec_tf.layers.ids import to_integers

WAYS = {
    "eager": 0.06, "graph": 0.02, "xla": 0.01, "saved_model": 0.006,
    "keras": 0.01, "refused": 0.05,
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_short_run(way):
    (row,) = ids.run(WAYS[way], seed=1, names=(way,))
    assert row["way"] == way
    assert 0 < row["distinct"] <= row["cases"]
    assert row["cases"] <= max(2, round(ids.CASES[way] * WAYS[way]))


@pytest.mark.slow
@pytest.mark.parametrize("way", ["export", "export, xla", "c"])
def test_short_run_of_exports(way):
    (row,) = ids.run(0.03, names=(way,))
    assert row["cases"] >= 1


def test_the_full_run_has_enough_cases():
    assert sum(ids.CASES.values()) >= 2000


@pytest.mark.parametrize(
    "value, row",
    [
        (3, 3), (True, 1), (2.9, 2), (-0.9, 0), (float("nan"), -1),
        (float("-inf"), -1), (1e30, -1), (-1e30, -1), (2.0**62, 2**62),
    ],
)  # fmt: skip
def test_the_rule_on_numbers(value, row):
    assert whole(value) == row
    if not isinstance(value, int):
        for compiled in (None, True):
            cast = tf.function(to_integers, jit_compile=compiled)
            assert int(cast(tf.constant(value, tf.float64))) == row


def test_the_rule_on_a_table():
    subject = tables("zero")[0]
    found = expected(subject, np.array([1, -1, ROWS, 2**40 + 1]))
    rows = subject.layer(tf.constant([1])).numpy()
    np.testing.assert_array_equal(found, [rows[0], *np.zeros((3, 6))])
    with pytest.raises(AssertionError):
        compare(subject, np.array([1]), rows + 1)
    assert expected(tables("error")[0], np.array([1, -1])) is None


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_nan_is_out_of_range_under_xla_too(dtype):
    layer = TableEmbedding(4, 2, oov=3)
    values = tf.constant([float("nan"), float("inf"), -0.5], dtype)
    rows = layer(tf.constant([3, 3, 0])).numpy()
    for compiled in (None, True):
        run = tf.function(layer, jit_compile=compiled)
        np.testing.assert_array_equal(run(values), rows)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
@pytest.mark.parametrize("oov", ["zero", "error", 2**31 + 5])
def test_tables_of_more_ids_than_int32_has(oov, dtype):
    layer = HashedEmbedding(10**12, 4, num_rows=7, oov=oov)
    rows = layer(tf.constant([3, 100], tf.int64)).numpy()
    assert rows.any(axis=1).all()
    np.testing.assert_array_equal(layer(tf.constant([3, 100], dtype)), rows)


@pytest.mark.parametrize("dtype", ["bool", "float32", "uint16"])
def test_pooled_ids_of_any_dtype(dtype):
    layer = PooledEmbedding(TableEmbedding(4, 2, mask_zero=True), "sum")
    ids = tf.constant([[1, 0], [1, 1]])
    np.testing.assert_array_equal(layer(tf.cast(ids, dtype)), layer(ids))


def test_other_dtypes_are_refused_by_name():
    with pytest.raises(TypeError, match="dtype=string"):
        TableEmbedding(4, 2)(tf.constant(["a"]))


def test_a_table_in_training_is_exported(tmp_path):
    ids = tf.keras.Input((), dtype="int32")
    layer = LowPrecisionEmbedding(100, 2, learned_steps=False)
    model = tf.keras.Model(ids, layer(ids))
    mec_tf.export.save(model, tmp_path / "1", warmup=())
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    (name,) = loaded.signatures["ids"].structured_input_signature[1]
    given = {name: tf.constant([3, -1, 100])}
    answer = loaded.signatures["ids"](**given)["logits"]
    np.testing.assert_array_equal(answer, layer(given[name]))
