import numpy as np
import pytest
import tensorflow as tf

from mec_tf.compression import layer_bytes
from mec_tf.layers import LowRankEmbedding
from tests.harness import assert_identical, run_layer_test

IDS = np.array([[1, 2, 0], [4, 97, 3]], "int32")


def table(rows=100, dim=6):
    generator = np.random.default_rng(0)
    mixed = generator.normal(size=(rows, dim)) * 0.5 ** np.arange(dim)
    return (mixed + 1.0).astype("float32")


def test_contract():
    layer = run_layer_test(
        LowRankEmbedding,
        {
            "input_dim": 100,
            "output_dim": 6,
            "rank": 2,
            "additive_dim": 1,
            "private_rows": 90,
            "mask_zero": True,
            "oov": 2,
            "embeddings_initializer": "glorot_uniform",
        },
        IDS,
        expected_output_shape=(2, 3, 6),
        expected_mask=IDS != 0,
        expected_num_trainable_weights=3,
        expected_num_non_trainable_weights=0,
        prepare=lambda layer: layer.warm_start(table()),
        supports_ragged=True,
    )
    assert layer_bytes(layer) == (90 * 3 + 2 * 5 + 5) * 4


@pytest.mark.parametrize("additive_dim", [0, 1])
def test_full_rank_is_the_table(additive_dim):
    layer = LowRankEmbedding.from_table(
        table(), 6 - additive_dim, additive_dim=additive_dim
    )
    np.testing.assert_allclose(layer(np.arange(100)), table(), atol=1e-5)


def test_first_order_weights_stay_exact():
    layer = LowRankEmbedding.from_table(table(), 1, additive_dim=2)
    answers = layer(np.arange(100)).numpy()
    np.testing.assert_array_equal(answers[:, 4:], table()[:, 4:])
    assert np.abs(answers[:, :4] - table()[:, :4]).max() > 0.1


def test_is_the_nearest_table_over_the_lookups(monkeypatch):
    monkeypatch.setattr("mec_tf.layers.low_rank_embedding.CHUNK", 7)
    counts = np.random.default_rng(1).zipf(1.3, 100).clip(max=1000)
    looked_up = np.repeat(table(), counts, axis=0).astype("float64")
    mean = looked_up.mean(axis=0)
    values = np.linalg.svd(looked_up - mean, compute_uv=False)
    layer = LowRankEmbedding.from_table(table(), 2, counts)
    answers = layer(np.arange(100)).numpy()
    error = (np.square(answers - table()).sum(axis=1) * counts).sum()
    assert error == pytest.approx(np.square(values[2:]).sum(), rel=1e-4)
    plain = LowRankEmbedding.from_table(table(), 2)(np.arange(100)).numpy()
    assert error < (np.square(plain - table()).sum(axis=1) * counts).sum()


def test_rare_rows_share_the_mean_of_theirs():
    counts = np.arange(100, 0, -1)
    layer = LowRankEmbedding.from_table(table(), 6, counts, private_rows=60)
    places = [0, *range(60, 100)]
    shared = np.average(table()[places], axis=0, weights=counts[places])
    for row in (0, 60, 99):
        np.testing.assert_allclose(layer(tf.constant(row)), shared, atol=1e-5)
    np.testing.assert_allclose(layer(tf.constant(59)), table()[59], atol=1e-5)


def test_ids_out_of_range_give_zero_not_the_mean():
    layer = LowRankEmbedding.from_table(table(), 3)
    assert not np.any(layer(tf.constant([-1, 100])))


def test_freezes_to_float16_rows():
    layer = LowRankEmbedding.from_table(table(), 3, additive_dim=1, oov=2)
    state = layer.frozen_state()
    raw_rows = state["rows"]
    frozen = layer.freeze(state, row_dtype="float16")
    assert_identical(frozen.frozen_state()["rows"], raw_rows.astype("float16"))
    assert len(frozen.trainable_weights) == 2
    assert layer_bytes(frozen) == 100 * 4 * 2 + (3 * 5 + 5) * 4
    ids = tf.constant([5, 7, -1])
    np.testing.assert_allclose(frozen(ids), layer(ids), atol=1e-2)
    assert_identical(layer.freeze()(ids), layer(ids))


def test_learns():
    layer = LowRankEmbedding(20, 4, 2)
    model = tf.keras.Sequential([layer])
    model.compile(tf.keras.optimizers.Adam(0.1), "mse")
    ids = np.arange(20)
    targets = np.outer(np.linspace(-1, 1, 20), [1.0, 2.0, -1.0, 0.5]) + 1.0
    before = model(ids)
    model.fit(ids, targets, epochs=30, verbose=0)
    error = np.square(model(ids) - targets).mean()
    assert error < 0.1 * np.square(before - targets).mean()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"rank": 0}, "`rank` must be .* rank=0"),
        ({"rank": 4, "additive_dim": 1}, "`rank` must be .* 3. Received"),
        ({"rank": 2, "row_dtype": "int8"}, "`row_dtype` must be .*'int8'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        LowRankEmbedding(**{"input_dim": 6, "output_dim": 4, **arguments})


def test_bad_tables():
    with pytest.raises(ValueError, match=r"`table` must be \[rows"):
        LowRankEmbedding.from_table(np.ones(3), 1)
    with pytest.raises(ValueError, match=r"`table` must be \[6, 4\]"):
        LowRankEmbedding(6, 4, 2).warm_start(np.ones((5, 4)))
    with pytest.raises(ValueError, match="`counts` must have"):
        LowRankEmbedding.from_table(table(), 2, np.ones(3))
