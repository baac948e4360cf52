"""Models with the layers that learn, in mixed precision and under XLA."""

import numpy as np
import pytest
import tensorflow as tf

from mec_tf.layers import (
    HashedEmbedding,
    LowPrecisionEmbedding,
    LowRankEmbedding,
    ProductQuantizedEmbedding,
    QuotientRemainderEmbedding,
    ResidualQuantizedEmbedding,
    TableEmbedding,
    TieredEmbedding,
)
from mec_tf.optimizers import LazyAdam

ROWS, DIM = 60, 4
RNG = np.random.default_rng(0)
IDS = RNG.integers(0, ROWS, 960)
TARGETS = RNG.normal(size=ROWS)[IDS].astype("float32")[:, None]


@pytest.fixture
def policy(request):
    before = tf.keras.mixed_precision.global_policy().name
    tf.keras.mixed_precision.set_global_policy(request.param)
    yield request.param
    tf.keras.mixed_precision.set_global_policy(before)


def make_tables():
    """A table of each kind that learns; as a user writes them."""
    tiers = [
        ProductQuantizedEmbedding(10, DIM, 2, 8),
        ProductQuantizedEmbedding(50, DIM, 1, 8),
    ]
    return [
        TableEmbedding(ROWS, DIM),
        ProductQuantizedEmbedding(ROWS, DIM, 2, 8),
        ResidualQuantizedEmbedding(ROWS, DIM, 2, 8),
        TieredEmbedding(ROWS, DIM, tiers),
        LowPrecisionEmbedding(ROWS, DIM, bits=4, learned_steps=False),
        LowRankEmbedding(ROWS, DIM, 2),
        HashedEmbedding(ROWS, DIM, 20, num_hashes=2),
        QuotientRemainderEmbedding(ROWS, DIM, 8),
    ]


def make_model(tables):
    tf.keras.utils.set_random_seed(3)
    ids = tf.keras.Input((), dtype="int32")
    joined = tf.keras.layers.Concatenate()([table(ids) for table in tables])
    hidden = tf.keras.layers.Dense(16, "relu")(joined)
    # A loss is computed in float32, whatever the policy.
    logit = tf.keras.layers.Dense(1, dtype="float32")(hidden)
    return tf.keras.Model(ids, logit)


def fit_and_check(tables, **options):
    model = make_model(tables)
    before = [table.get_weights() for table in tables]
    model.compile(LazyAdam(0.02), "mse", **options)
    losses = model.fit(
        IDS, TARGETS, batch_size=120, epochs=6, shuffle=False, verbose=0
    ).history["loss"]
    assert losses[-1] < 0.2 * losses[0], losses
    for table, old in zip(tables, before, strict=True):
        new = table.get_weights()
        changed = [
            not np.array_equal(a, b) for a, b in zip(old, new, strict=True)
        ]
        assert any(changed), f"{table.name} did not learn"
        for weight in new:
            assert np.isfinite(weight).all(), table.name
            # Tables stay in full precision; only vectors are narrow.
            assert weight.dtype not in (np.float16, tf.bfloat16.as_numpy_dtype)
    return model


@pytest.mark.parametrize(
    "policy", ["mixed_float16", "mixed_bfloat16"], indirect=True
)
def test_every_table_learns_in_mixed_precision(policy):
    tables = make_tables()
    # Runs these steps sooner than a graph of them is traced.
    model = fit_and_check(tables, run_eagerly=True)
    narrow = policy.removeprefix("mixed_")
    for table in tables:
        assert table(tf.constant([1, 2])).dtype == narrow
    assert model(IDS[:2]).dtype == tf.float32
    # float16 alone needs a loss scale; Keras brings it.
    scaled = isinstance(
        model.optimizer, tf.keras.mixed_precision.LossScaleOptimizer
    )
    assert scaled == (narrow == "float16")


def test_tables_learn_under_xla():
    """`run_layer_test` takes one step under XLA with every layer."""
    fit_and_check(
        [
            ResidualQuantizedEmbedding(ROWS, DIM, 2, 8),
            LowPrecisionEmbedding(ROWS, DIM, bits=4, learned_steps=False),
            LowRankEmbedding(ROWS, DIM, 2),
        ],
        jit_compile=True,
    )
