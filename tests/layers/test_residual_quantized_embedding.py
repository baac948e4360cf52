import numpy as np
import pytest
import tensorflow as tf

from mec_tf.layers import CodeLookupEmbedding, ResidualQuantizedEmbedding
from mec_tf.quantizers import ResidualQuantizer
from tests.harness import raw_variable, run_layer_test

IDS = np.array([[1, 2, 0], [4, 5, 3]], "int32")
RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(60, 5)).astype("float32")


def value(weight):
    return raw_variable(weight).numpy()


def test_contract():
    run_layer_test(
        ResidualQuantizedEmbedding,
        {
            "input_dim": 6,
            "output_dim": 5,
            "num_stages": 3,
            "codebook_size": 4,
            "additive_dim": 1,
            "mask_zero": True,
            "pwr_weight": 0.1,
            "contrastive_weight": 0.3,
        },
        IDS,
        expected_output_shape=(2, 3, 5),
        expected_mask=IDS != 0,
        expected_num_trainable_weights=2,
        expected_num_non_trainable_weights=4,
        prepare=lambda layer: layer.adapt(np.array([1, 1, 2, 5])),
        supports_ragged=True,
    )


@pytest.mark.parametrize("additive", [0, 2])
def test_answers_with_sums_of_entries_and_freezes_bit_for_bit(additive):
    layer = ResidualQuantizedEmbedding(60, 5, 3, 8, additive_dim=additive)
    layer.warm_start(TABLE)
    quantizer = ResidualQuantizer(3, 8)
    books = value(layer.codebooks)
    rows = value(layer.embeddings)
    expected = quantizer.decode(quantizer.encode(rows, books), books)
    ids = np.array([[3, 59], [0, 3]])
    answer = layer(ids).numpy()
    width = 5 - additive
    np.testing.assert_allclose(answer[..., :width], expected[ids], atol=1e-6)
    frozen = layer.freeze()
    assert isinstance(frozen, CodeLookupEmbedding)
    np.testing.assert_allclose(frozen(ids), answer, atol=1e-6)
    # Later stages make it better.
    coarse = ResidualQuantizer(1, 8)
    first = coarse.decode(coarse.encode(rows, books[:1]), books[:1])
    assert np.square(rows - expected).sum() < np.square(rows - first).sum()


def test_moving_averages_follow_each_stage():
    layer = ResidualQuantizedEmbedding(60, 5, 2, 4, commitment_weight=0.0)
    layer.warm_start(TABLE)
    ids = RNG.integers(0, 60, size=80)
    books = value(layer.codebooks)
    codes = ResidualQuantizer(2, 4).encode(TABLE[ids], books)
    rest = TABLE[ids] - books[0, codes[:, 0]]
    expected = np.concatenate([books[1], np.ones((4, 1))], axis=-1)
    for k in range(4):
        mine = rest[codes[:, 1] == k]
        sums = np.array([*mine.sum(axis=0), len(mine)])
        expected[k] = 0.99 * expected[k] + 0.01 * sums
    layer(ids, training=True)
    np.testing.assert_allclose(value(layer.moving)[1], expected, rtol=1e-5)


def test_trains_in_a_model():
    targets = TABLE[:, :1]
    layer = ResidualQuantizedEmbedding(60, 5, 2, 16)
    model = tf.keras.Sequential([layer, tf.keras.layers.Dense(1)])
    model.compile(tf.keras.optimizers.Adam(0.02), "mse")
    ids = np.arange(60)
    history = model.fit(ids, targets, epochs=30, batch_size=20, verbose=0)
    losses = history.history["loss"]
    assert losses[-1] < 0.3 * losses[0]
