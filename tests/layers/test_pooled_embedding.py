import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf.layers import (
    CodeLookupEmbedding,
    PooledEmbedding,
    ProductQuantizedEmbedding,
    TableEmbedding,
    TieredEmbedding,
)
from tests.harness import raw_variable, run_layer_test

ROWS, DIM = 12, 4
RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(ROWS, DIM)).astype("float32")
# The last id is out of range; the second example has none.
IDS = np.array([[3, 7, 3, 0], [0, 0, 0, 0], [11, 0, 0, 0], [5, 99, 2, 1]])
WEIGHTS = RNG.uniform(0.1, 2.0, IDS.shape).astype("float32")
RAGGED = [[3, 7, 3], [], [11], [5, 99, 2, 1]]
COMBINERS = pytest.mark.parametrize("combiner", ["sum", "mean", "sqrtn"])


def made_of(**config):
    return CodeLookupEmbedding.from_table(
        VALUES, 2, 8, mask_zero=True, seed=1, **config
    )


def tiered():
    tiers = [TableEmbedding(4, DIM), ProductQuantizedEmbedding(8, DIM, 2, 4)]
    return TieredEmbedding(ROWS, DIM, tiers, mask_zero=True)


TABLES = {
    "plain": lambda: TableEmbedding(ROWS, DIM, mask_zero=True),
    "codes": made_of,
    "packed": lambda: made_of(bit_packed=True, codebook_dtype="float16"),
    "residual": lambda: made_of(quantizer="residual"),
    "rotated": lambda: made_of(quantizer="rotated"),
    "additive": lambda: made_of(additive_dim=2),
    "learning": lambda: ProductQuantizedEmbedding(
        ROWS, DIM, 2, 4, mask_zero=True
    ),
    "tiered": tiered,
}


def expected_of(table, ids, weights, combiner):
    """The plain way, one id after the other."""
    vectors = table(np.asarray(ids)).numpy().astype(float)
    kept = np.where(np.asarray(ids) > 0, weights, 0.0)
    total = (vectors * kept[..., None]).sum(1)
    divisor = {
        "sum": np.ones(len(ids)),
        "mean": kept.sum(1),
        "sqrtn": np.sqrt(np.square(kept).sum(1)),
    }[combiner]
    return total / np.where(divisor > 0, divisor, 1)[:, None]


@pytest.mark.parametrize(
    "kind, combiner",
    [("codes", "sum"), ("plain", "sqrtn"), *((k, "mean") for k in TABLES)],
)
def test_pools_as_a_lookup_and_sums_would(kind, combiner):
    layer = PooledEmbedding(TABLES[kind](), combiner)
    ids = tf.constant(IDS)
    ragged = tf.ragged.constant(RAGGED, dtype=tf.int64)
    counts = ragged.row_lengths()
    for weights in (np.ones_like(WEIGHTS), WEIGHTS):
        given, given_ragged = None, None
        if weights is WEIGHTS:
            given = tf.constant(weights)
            given_ragged = tf.RaggedTensor.from_tensor(given, counts)
        pooled = layer(ids, weights=given)
        expected = expected_of(layer.table, IDS, weights, combiner)
        np.testing.assert_allclose(pooled, expected, atol=1e-5)
        assert not pooled[1].numpy().any()
        by_rows = tf.function(layer, jit_compile=True)
        np.testing.assert_allclose(
            by_rows(ids, weights=given), pooled, atol=1e-5
        )
        of_ragged = tf.function(layer)
        np.testing.assert_allclose(
            of_ragged(ragged, weights=given_ragged), pooled, atol=1e-5
        )


@COMBINERS
def test_agrees_with_tensorflows_own(combiner):
    table = TableEmbedding(ROWS, DIM)
    layer = PooledEmbedding(table, combiner)
    ids = tf.ragged.constant([[3, 0, 3], [11], [5, 2]], dtype=tf.int64)
    weights = ids.with_values(tf.constant(WEIGHTS.reshape(-1)[:6]))
    expected = tf.nn.embedding_lookup_sparse(
        raw_variable_of(table, ids),
        ids.to_sparse(),
        weights.to_sparse(),
        combiner,
    )
    np.testing.assert_allclose(layer(ids, weights=weights), expected, rtol=1e-5)


def raw_variable_of(table, ids):
    table(ids)
    return raw_variable(table.embeddings)


@pytest.mark.parametrize(
    "kind, combiner",
    [
        ("plain", "mean"),
        ("codes", "sum"),
        ("rotated", "mean"),
        ("additive", "sqrtn"),
    ],
)
def test_gradients_are_those_of_the_plain_way(kind, combiner):
    config = {} if kind == "plain" else {"trainable_codebooks": True}
    table = {
        "plain": TABLES["plain"],
        "codes": lambda: made_of(**config),
        "rotated": lambda: made_of(quantizer="rotated", **config),
        "additive": lambda: made_of(additive_dim=2, **config),
    }[kind]()
    layer = PooledEmbedding(table, combiner)
    ids, weights = tf.constant(IDS), tf.Variable(WEIGHTS)
    goal = tf.constant(RNG.normal(size=(4, DIM)).astype("float32"))
    results = []
    for run in (layer, tf.function(layer, jit_compile=True)):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(run(ids, weights=weights) * goal)
        (source,) = map(raw_variable, layer.trainable_weights)
        found = tape.gradient(loss, [source, weights])
        results.append([tf.convert_to_tensor(g).numpy() for g in found])
    flat, plain = results
    for one, other in zip(flat, plain, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
        assert np.abs(one).max() > 0
    assert not flat[1][IDS == 0].any()
    # The plain way itself, against differences.
    step = 1e-2
    moved = [
        float(tf.reduce_sum(layer(ids, weights=w) * goal))
        for w in (WEIGHTS + step * (IDS == 5), WEIGHTS - step * (IDS == 5))
    ]
    slope = (moved[0] - moved[1]) / (2 * step)
    np.testing.assert_allclose(flat[1][IDS == 5], slope, atol=1e-2)


def test_vectors_of_codes_are_never_made():
    """Nothing of `batch x hot x dim` floats, or of any of its columns."""
    layer = PooledEmbedding(made_of())
    layer(IDS)
    function = tf.function(
        layer, input_signature=[tf.TensorSpec([7, 9], "int32")]
    )
    graph = function.get_concrete_function().graph
    gathers = [op for op in graph.get_operations() if "Gather" in op.type]
    assert gathers
    for op in gathers:
        assert op.outputs[0].dtype != tf.float32


def test_contract_of_a_layer_of_codes():
    run_layer_test(
        PooledEmbedding,
        {
            "table": CodeLookupEmbedding(
                9, 4, 2, 8, trainable_codebooks=True, mask_zero=True
            ),
            "combiner": "sqrtn",
        },
        np.array([[3, 7, 0], [1, 2, 8]], "int32"),
        expected_output_shape=(2, 4),
        expected_num_trainable_weights=1,
    )


def test_contract_of_a_layer_of_rows():
    run_layer_test(
        PooledEmbedding,
        {"table": TableEmbedding(9, 4, mask_zero=True), "combiner": "sum"},
        np.array([[3, 7, 0], [1, 2, 8]], "int32"),
        expected_output_shape=(2, 4),
        expected_num_trainable_weights=1,
    )


class Rated(tf.keras.Model):
    def __init__(self):
        super().__init__()
        table = tf.keras.layers.Embedding(40, 4, mask_zero=True)
        self.pooled = PooledEmbedding(table)
        self.dense = tf.keras.layers.Dense(1)

    def call(self, inputs):
        return self.dense(self.pooled(inputs))


def functional():
    ids = tf.keras.Input((3,), dtype="int32")
    table = tf.keras.layers.Embedding(40, 4, mask_zero=True)
    pooled = PooledEmbedding(table, name="pooled")(ids)
    return tf.keras.Model(ids, tf.keras.layers.Dense(1)(pooled))


@pytest.mark.parametrize("make", [functional, Rated])
def test_compress_takes_the_inner_table(make, tmp_path):
    ids = np.arange(60).reshape(20, 3).astype("int32") % 40
    data = ids, np.ones((20, 1), "float32")
    model = make()
    model.compile("adam", "mse")
    model.fit(*data, verbose=0)
    result = mec_tf.compress(
        model,
        data,
        policy=mec_tf.CompressionPolicy(max_bytes=300),
        epochs=1,
        verbose=0,
    )
    assert [table.path for table in result.report.tables] == ["pooled/table"]
    (pooled,) = (
        layer
        for layer in result.model.layers
        if isinstance(layer, PooledEmbedding)
    )
    assert isinstance(pooled.table, CodeLookupEmbedding)
    expected = result.model.predict(ids, verbose=0)
    path = str(tmp_path / "model.keras")
    result.model.save(path)
    custom = {"Rated": Rated} if make is Rated else None
    loaded = tf.keras.models.load_model(path, custom_objects=custom)
    np.testing.assert_allclose(loaded.predict(ids, verbose=0), expected)
    folder = str(tmp_path / "export")
    example = ids if make is Rated else None
    mec_tf.export.save(result.model, folder, example=example)
    served = tf.saved_model.load(folder).signatures["serving_default"]
    (name,) = served.structured_input_signature[1]
    (output,) = served(**{name: tf.constant(ids)}).values()
    np.testing.assert_allclose(
        tf.reshape(output, [-1]), expected[:, 0], atol=1e-5
    )


def test_errors():
    table = TableEmbedding(9, 3)
    with pytest.raises(ValueError, match="combiner='max'"):
        PooledEmbedding(table, "max")
    with pytest.raises(ValueError, match=r"must be ids \[batch, length\]"):
        PooledEmbedding(table)(tf.constant([1, 2]))
