import numpy as np
import pytest
import tensorflow as tf

from mec_tf.layers import (
    CodeLookupEmbedding,
    ProductQuantizedEmbedding,
    TableEmbedding,
)
from mec_tf.quantizers import ProductQuantizer
from tests.harness import raw_variable, run_layer_test

IDS = np.array([[1, 2, 0], [4, 5, 3]], "int32")
RNG = np.random.default_rng(0)
CODES = RNG.integers(0, 4, size=(5, 2))
CODEBOOKS = RNG.normal(size=(2, 4, 3)).astype("float32")


def test_contract_of_trained_codebooks():
    run_layer_test(
        CodeLookupEmbedding,
        {
            "input_dim": 6,
            "output_dim": 5,
            "num_subspaces": 2,
            "codebook_size": 5,
            "trainable_codebooks": True,
            "additive_dim": 1,
            "private_rows": 5,
            "mask_zero": True,
            "oov": 2,
        },
        IDS,
        expected_output_shape=(2, 3, 5),
        expected_mask=IDS != 0,
        expected_num_trainable_weights=1,
        expected_num_non_trainable_weights=1,
        supports_ragged=True,
    )


def test_contract_of_frozen_codebooks():
    layer = run_layer_test(
        CodeLookupEmbedding,
        {
            "input_dim": 6,
            "output_dim": 4,
            "num_subspaces": 2,
            "codebook_size": 300,
            "codebook_dtype": "float16",
        },
        IDS,
        expected_output_shape=(2, 3, 4),
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=2,
        supports_ragged=True,
    )
    assert raw_variable(layer.codes).dtype == tf.uint16
    assert raw_variable(layer.codebooks).dtype == tf.float16


def test_from_codes_joins_entries_and_sums_additive_columns():
    layer = CodeLookupEmbedding.from_codes(CODES, CODEBOOKS, additive_dim=1)
    assert (layer.input_dim, layer.output_dim) == (5, 5)
    entries = CODEBOOKS[np.arange(2), CODES]
    expected = np.concatenate(
        [entries[:, :, :2].reshape(5, 4), entries[:, :, 2:].sum(axis=1)], -1
    )
    np.testing.assert_allclose(layer(np.arange(5)), expected, rtol=1e-6)
    assert raw_variable(layer.codes).dtype == tf.uint8


def test_from_codes_of_shared_rows():
    layer = CodeLookupEmbedding.from_codes(
        CODES, CODEBOOKS, input_dim=9, private_rows=5
    )
    rows = layer(np.arange(9)).numpy()
    np.testing.assert_array_equal(rows[5:], rows[[0, 0, 0, 0]])


@pytest.mark.parametrize(
    "codes, codebooks, config, message",
    [
        (CODES[0], CODEBOOKS, {}, r"shapes \(2,\) and \(2, 4, 3\)"),
        (CODES, CODEBOOKS[0], {}, r"shapes \(5, 2\) and \(4, 3\)"),
        (CODES[:, :1], CODEBOOKS, {}, r"shapes \(5, 1\)"),
        (CODES + 2, CODEBOOKS, {}, r"must lie in \[0, 4\)"),
        (CODES - 1, CODEBOOKS, {}, r"must lie in \[0, 4\)"),
        (CODES, CODEBOOKS, {"input_dim": 6}, r"\(6, 3\). Received: \(5, 3\)"),
        (CODES, CODEBOOKS, {"output_dim": 8}, r"\(5, 4\). Received: \(5, 3\)"),
        (CODES, CODEBOOKS, {"private_rows": 4}, r"\(4, 3\)"),
    ],
)
def test_from_codes_errors(codes, codebooks, config, message):
    with pytest.raises(ValueError, match=message):
        CodeLookupEmbedding.from_codes(codes, codebooks, **config)


def test_from_table_is_the_quantizer_put_together():
    table = RNG.normal(size=(60, 6))
    counts = np.arange(60)
    layer = CodeLookupEmbedding.from_table(
        table, 3, 8, counts=counts, seed=4, oov=1
    )
    quantizer = ProductQuantizer(3, 8)
    codebooks = quantizer.fit(table, counts, seed=4)
    codes = quantizer.encode(table, codebooks)
    expected = quantizer.decode(codes, codebooks)
    np.testing.assert_array_equal(layer(np.arange(60)), expected)
    assert layer.oov == 1


def test_from_table_with_more_codes_than_rows_is_exact():
    table = RNG.normal(size=(5, 4)).astype("float32")
    layer = CodeLookupEmbedding.from_table(table, 2)
    assert layer.codebook_size == 5
    np.testing.assert_array_equal(layer(np.arange(5)), table)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_from_table_that_is_not_finite(value):
    table = np.zeros((5, 4))
    table[3, 2] = value
    with pytest.raises(ValueError, match="in row 3"):
        CodeLookupEmbedding.from_table(table)


@pytest.mark.parametrize("shape", [(4,), (0, 4), (2, 2, 2)])
def test_from_table_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"must be \[rows, columns\]"):
        CodeLookupEmbedding.from_table(np.zeros(shape))


def test_from_product_quantized():
    layer = ProductQuantizedEmbedding(10, 4, 2, 4)
    layer.build()
    frozen = CodeLookupEmbedding.from_product_quantized(layer, oov=3)
    np.testing.assert_array_equal(frozen(np.arange(10)), layer(np.arange(10)))
    assert frozen.oov == 3


def test_float16_codebooks_are_the_float32_ones_rounded():
    layer = CodeLookupEmbedding.from_codes(
        CODES, CODEBOOKS, codebook_dtype="float16"
    )
    exact = CodeLookupEmbedding.from_codes(
        CODES, CODEBOOKS.astype("float16").astype("float32")
    )
    output = layer(np.arange(5))
    assert output.dtype == tf.float32
    np.testing.assert_array_equal(output, exact(np.arange(5)))


@pytest.mark.parametrize("trainable", [False, True])
def test_codebooks_train_where_they_should(trainable):
    layer = CodeLookupEmbedding.from_codes(
        CODES, CODEBOOKS, trainable_codebooks=trainable
    )
    model = tf.keras.Sequential([layer, tf.keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    ids = np.arange(5)[:, None]
    model.fit(ids, np.ones((5, 1, 1)), verbose=0)
    moved = raw_variable(layer.codebooks).numpy() != CODEBOOKS.reshape(-1, 3)
    used = np.unique(CODES + [0, 4])
    assert moved[used].all() == trainable
    assert not np.delete(moved, used, axis=0).any()
    np.testing.assert_array_equal(raw_variable(layer.codes), CODES)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize("layer_class", [CodeLookupEmbedding, TableEmbedding])
def test_lookups_read_rows_and_not_the_table(layer_class, policy):
    layer = layer_class(100, 4, dtype=policy)
    layer.build()
    function = tf.function(
        layer, input_signature=[tf.TensorSpec([None], tf.int32)]
    )
    graph = function.get_concrete_function().graph
    handles = {id(raw_variable(w).handle) for w in layer.weights}
    placeholders = [
        inner for outer, inner in graph.captures if id(outer) in handles
    ]
    assert len(placeholders) == len(layer.weights)
    for placeholder in placeholders:
        kinds = {op.type for op in placeholder.consumers()}
        assert kinds == {"ResourceGather"}, kinds


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_subspaces": 3}, "num_subspaces=3, width to divide=4"),
        ({"additive_dim": 1}, "num_subspaces=2, width to divide=3"),
        ({"codebook_size": 65537}, "codebook_size=65537"),
        ({"codebook_dtype": "int8"}, "codebook_dtype='int8'"),
        ({"decode": "matmul"}, "decode='matmul'"),
        (
            {"codebook_dtype": "float16", "trainable_codebooks": True},
            '`codebook_dtype` must be "float32" where',
        ),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        CodeLookupEmbedding(
            **{"input_dim": 6, "output_dim": 4, "num_subspaces": 2, **arguments}
        )


@pytest.mark.parametrize("quantizer", ["product", "rotated", "residual"])
@pytest.mark.parametrize("additive", [0, 1])
def test_from_table_by_each_quantizer(quantizer, additive):
    table = np.random.default_rng(0).normal(size=(300, 6 + additive))
    layers = [
        CodeLookupEmbedding.from_table(
            table,
            2,
            64,
            quantizer=quantizer,
            additive_dim=additive,
            bit_packed=bit_packed,
        )
        for bit_packed in (False, True)
    ]
    ids = np.array([[0, 299], [7, 300]])
    answer = layers[0](ids).numpy()
    np.testing.assert_array_equal(layers[1](ids), answer)
    np.testing.assert_array_equal(layers[1].row_codes(), layers[0].row_codes())
    np.testing.assert_array_equal(answer[1, 1], 0.0)
    gap = np.square(layers[0](np.arange(300)) - table)[:, :6].sum()
    assert gap < 0.7 * np.square(table[:, :6]).sum()


def test_contract_of_packed_and_rotated_codes():
    run_layer_test(
        CodeLookupEmbedding,
        {
            "input_dim": 6,
            "output_dim": 4,
            "num_subspaces": 2,
            "codebook_size": 4,
            "bit_packed": True,
            "rotated": True,
        },
        np.array([[1, 2, 0], [4, 5, 3]], "int32"),
        expected_output_shape=(2, 3, 4),
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=3,
        supports_ragged=True,
    )


def test_unknown_quantizer_is_refused():
    with pytest.raises(ValueError, match="`quantizer` must be one of product"):
        CodeLookupEmbedding.from_table(np.ones((4, 2)), 2, quantizer="x")


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_one_hot_decode_gives_the_gathers_vectors(jit_compile, policy):
    table = RNG.normal(size=(60, 7)).astype("float32")
    ids = tf.constant([[3, 59], [0, 77]])
    answers = []
    for decode in ("gather", "one_hot", "auto"):
        layer = CodeLookupEmbedding.from_table(
            table, 3, 8, additive_dim=1, decode=decode, dtype=policy
        )
        run = tf.function(layer, jit_compile=jit_compile)
        answers.append(run(ids))
        kinds = [
            op.type
            for op in run.get_concrete_function(ids).graph.get_operations()
        ]
        assert ("OneHot" in kinds) == (decode == "one_hot")
    np.testing.assert_allclose(answers[1], answers[0], rtol=1e-6)
    np.testing.assert_array_equal(answers[2], answers[0])


def test_one_hot_decode_has_the_same_gradient():
    found = []
    for decode in ("gather", "one_hot"):
        layer = CodeLookupEmbedding.from_codes(
            CODES, CODEBOOKS, decode=decode, trainable_codebooks=True
        )
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(layer(np.array([0, 3, 3])) ** 2)
        gradient = tape.gradient(loss, raw_variable(layer.codebooks))
        found.append(tf.convert_to_tensor(gradient))
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_one_trace_a_shape_and_no_more_under_xla():
    layer = CodeLookupEmbedding.from_codes(CODES, CODEBOOKS)
    sizes = [1, 2, 3, 2, 1, 3, 3, 2]
    batches = [tf.zeros([size], tf.int32) for size in sizes]
    by_shape = tf.function(layer, jit_compile=True)
    relaxed = tf.function(layer, jit_compile=True, reduce_retracing=True)
    fixed = tf.function(
        layer,
        jit_compile=True,
        input_signature=[tf.TensorSpec([None], tf.int32)],
    )
    for run, traces in ((by_shape, 3), (relaxed, 2), (fixed, 1)):
        for ids in batches:
            assert run(ids).shape == (len(ids), 6)
        assert run.experimental_get_tracing_count() == traces
