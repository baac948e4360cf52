import numpy as np
import pytest
import tensorflow as tf

from mec_tf.layers import IntegerEmbedding
from tests.harness import raw_variable, run_layer_test

IDS = np.array([[1, 2, 0], [4, 5, 3]], "int32")
TABLE = np.random.default_rng(0).normal(size=(50, 9)).astype("float32")


def test_contract():
    def fill(layer):
        shape = layer.codes.shape
        codes = np.arange(np.prod(shape), dtype="uint8").reshape(shape)
        raw_variable(layer.codes).assign(codes)

    run_layer_test(
        IntegerEmbedding,
        {
            "input_dim": 6,
            "output_dim": 5,
            "bits": 4,
            "step_sizes": "table",
            "step_dtype": "float16",
            "additive_dim": 1,
            "private_rows": 5,
            "mask_zero": True,
            "oov": 2,
        },
        IDS,
        expected_output_shape=(2, 3, 5),
        expected_mask=IDS != 0,
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=2,
        prepare=fill,
        supports_ragged=True,
    )


@pytest.mark.parametrize("step_sizes", ["row", "table"])
@pytest.mark.parametrize("step_dtype", ["float32", "float16"])
@pytest.mark.parametrize("bits", [8, 4, 2])
def test_from_table_rounds_to_the_nearest(bits, step_dtype, step_sizes):
    layer = IntegerEmbedding.from_table(
        TABLE, bits, step_sizes=step_sizes, step_dtype=step_dtype, method="max"
    )
    steps = raw_variable(layer.steps).numpy()
    assert steps.dtype == step_dtype
    gap = np.abs(layer(np.arange(50)).numpy() - TABLE)
    half = steps.astype("float32")[:, None] / 2
    assert (gap <= half * 1.001 + (step_dtype == "float16") * 0.01).all()
    stored = sum(raw_variable(w).numpy().nbytes for w in layer.weights)
    assert layer.bytes == stored


def test_from_table_of_few_bits_loses_more():
    def error(bits):
        layer = IntegerEmbedding.from_table(TABLE, bits)
        return float(tf.reduce_sum((layer(np.arange(50)) - TABLE) ** 2))

    assert error(8) < error(4) < error(2) < np.square(TABLE).sum()


def test_freeze_copies():
    layer = IntegerEmbedding.from_table(TABLE, 4)
    copy = layer.freeze(oov=3)
    np.testing.assert_array_equal(copy(np.arange(50)), layer(np.arange(50)))
    np.testing.assert_array_equal(copy(np.array([99])), layer(np.array([3])))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"bits": 16}, "`bits` must be .* bits=16"),
        ({"step_sizes": "x"}, "`step_sizes` must be .* step_sizes='x'"),
        ({"step_dtype": "int8"}, "`step_dtype` must be .* step_dtype='int8'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        IntegerEmbedding(6, 4, **arguments)


def test_bad_codes():
    codes = np.zeros((4, 3), "uint8")
    with pytest.raises(ValueError, match=r"\(4, 5\).*Received: uint8 \(4, 3\)"):
        IntegerEmbedding.from_codes(codes, np.ones(4), bits=8, output_dim=5)
    with pytest.raises(ValueError, match=r"`steps` \(4,\). Received.* \(3,\)"):
        IntegerEmbedding.from_codes(codes, np.ones(3), bits=8, output_dim=3)
    with pytest.raises(ValueError, match="in row 1"):
        IntegerEmbedding.from_table(np.array([[1.0], [np.nan]]))
