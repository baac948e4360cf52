"""The out-of-range policy, the same in every layer and way of running."""

import numpy as np
import pytest
import tensorflow as tf

from mec_tf.layers import (
    CodeLookupEmbedding,
    ProductQuantizedEmbedding,
    TableEmbedding,
)
from mec_tf.layers.ids import check_oov, to_integers

LAYERS = [TableEmbedding, ProductQuantizedEmbedding, CodeLookupEmbedding]
RUNS = {
    "eager": lambda layer: layer,
    "graph": tf.function,
    "xla": lambda layer: tf.function(layer, jit_compile=True),
}
IDS = {
    "int8": [3, -1, 10, -128],
    "uint8": [3, 10, 200, 255],
    "int32": [3, -1, 10, 2**31 - 1],
    "uint32": [3, 10, 2**31 + 3, 2**32 - 1],
    "int64": [3, -1, 2**32 + 3, -(2**40)],
}


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("dtype", IDS)
@pytest.mark.parametrize("oov", ["zero", 4])
@pytest.mark.parametrize("layer_class", LAYERS)
def test_out_of_range_ids(layer_class, oov, dtype, run):
    layer = layer_class(10, 4, oov=oov)
    ids = tf.constant(IDS[dtype], dtype)
    rows = layer(tf.constant([3, 4])).numpy()
    assert np.abs(rows).min() > 0
    outside = np.zeros(4) if oov == "zero" else rows[1]
    expected = np.stack([rows[0], outside, outside, outside])
    np.testing.assert_allclose(RUNS[run](layer)(ids), expected, rtol=1e-6)


@pytest.mark.parametrize("layer_class", LAYERS)
@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8"])
def test_error_policy(layer_class, dtype):
    layer = layer_class(10, 4, oov="error")
    good = tf.constant([0, 9], dtype)
    for run in (layer, tf.function(layer)):
        assert run(good).shape == (2, 4)
        for bad in {"int32": [10, -1], "int64": [-1, 2**40]}.get(dtype, [10]):
            with pytest.raises(tf.errors.InvalidArgumentError, match="10"):
                run(tf.constant([0, bad], dtype))


@pytest.mark.parametrize("layer_class", LAYERS)
def test_error_policy_is_refused_under_xla(layer_class):
    layer = layer_class(10, 4, oov="error")
    with pytest.raises(NotImplementedError, match="XLA"):
        tf.function(layer, jit_compile=True)(tf.constant([1]))


def test_error_policy_is_refused_by_a_compiled_model():
    model = tf.keras.Sequential([TableEmbedding(10, 4, oov="error")])
    model.compile("sgd", "mse", jit_compile=True)
    with pytest.raises(Exception, match="cannot be compiled by XLA"):
        model.fit(np.array([[1], [2]]), np.zeros((2, 1, 4)), verbose=0)


def test_float_ids_are_cast_whole_under_mixed_precision():
    layer = TableEmbedding(5000, 2, dtype="mixed_float16")
    ids = np.array([2049, 4095])
    np.testing.assert_array_equal(layer(ids.astype("float32")), layer(ids))


@pytest.mark.parametrize(
    "dtype, expected",
    [("int64", "int64"), ("uint32", "int64"), ("uint8", "int32")],
)
def test_to_integers(dtype, expected):
    assert to_integers(tf.constant([1], dtype)).dtype.name == expected


@pytest.mark.parametrize("oov", [-1, 10, True, "last", None, 2.0])
def test_bad_policy(oov):
    with pytest.raises(ValueError, match="`oov` must be"):
        check_oov(oov, 10)
