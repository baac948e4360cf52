"""Codebook health, against the same numbers worked out in full."""

import glob
import warnings

import numpy as np
import pytest
import tensorflow as tf

from mec_tf.layers import (
    ProductQuantizedEmbedding,
    ResidualQuantizedEmbedding,
    TableEmbedding,
    TieredEmbedding,
)
from mec_tf.losses import PopularityWeightedRegularization
from mec_tf.losses.popularity_weighted_regularization import (
    popularity_weight,
)
from mec_tf.quantizers import product
from mec_tf.training import CodebookHealth, table_health
from mec_tf.training.popularity_tiers import popularity_tiers
from mec_tf.training.table_health import measure, reseed
from tests.harness import raw_variable

ROWS, DIM = 50, 6
TABLE = np.random.default_rng(0).normal(size=(ROWS, DIM)).astype("float32")
COUNTS = (1000 / np.arange(1, ROWS + 1)).astype(int)
COUNTS[-5:] = 0


def layer_of(kind=ProductQuantizedEmbedding, codes=2, size=8, **kwargs):
    layer = kind(ROWS, DIM, codes, size, **kwargs)
    layer.warm_start(TABLE, COUNTS)
    return layer


def value(weight):
    return raw_variable(weight).numpy()


def test_tiers_answer_a_third_of_the_lookups_each():
    tiers = popularity_tiers(np.array([1, 6, 0, 3, 2]))
    np.testing.assert_array_equal(tiers, [2, 0, 2, 1, 2])
    np.testing.assert_array_equal(popularity_tiers(np.zeros(2)), [2, 2])


@pytest.mark.parametrize(
    "kind", [ProductQuantizedEmbedding, ResidualQuantizedEmbedding]
)
def test_measured_in_chunks_as_in_full(kind, monkeypatch):
    monkeypatch.setattr(table_health, "CHUNK_DISTANCES", 7 * 16)
    layer = layer_of(kind)
    health = measure(layer)
    live = COUNTS > 0
    codes = layer.encode()
    answers = layer(np.arange(ROWS)).numpy()
    errors = np.square(answers - TABLE).sum(axis=1)
    assert health.rows == live.sum()
    np.testing.assert_allclose(
        health.distortion, np.average(errors, weights=COUNTS), rtol=1e-4
    )
    tiers = popularity_tiers(COUNTS)
    for place, name in enumerate(("popular", "middle", "rare")):
        member = tiers == place
        np.testing.assert_allclose(
            health.tier_distortion[name],
            np.average(errors[member], weights=COUNTS[member]),
            rtol=1e-4,
        )
    for column in range(2):
        mass = np.bincount(codes[:, column], COUNTS, 8)
        np.testing.assert_allclose(
            health.usage[column], mass / COUNTS.sum(), rtol=1e-6
        )
    shares = [np.bincount(c[live], minlength=8) / live.sum() for c in codes.T]
    logs = [np.log(np.where(s > 0, s, 1.0)) for s in shares]
    entropies = [-(s * g).sum() for s, g in zip(shares, logs, strict=True)]
    np.testing.assert_allclose(
        health.perplexity, np.mean(np.exp(entropies)), rtol=1e-6
    )
    books = tf.constant(value(layer.codebooks))
    _, parts = layer.quantizer.assign(tf.constant(TABLE[live]), books)
    norms = tf.reduce_sum(tf.square(parts), axis=-1, keepdims=True)
    whole = PopularityWeightedRegularization()(
        popularity_weight(tf.constant(COUNTS[live], tf.float32)),
        tf.maximum(product.distances(parts, books) + norms, 0.0),
    )
    np.testing.assert_allclose(health.pwr, float(whole), rtol=1e-3, atol=1e-6)


def test_seeds_are_popular_rows_with_an_error():
    layer = layer_of()
    health = measure(layer)
    seeds = health.seeds[health.seeds >= 0]
    assert len(seeds) and (COUNTS[seeds] > 0).all()
    exact = layer_of(size=64)
    assert (measure(exact).seeds == -1).all()  # nothing to gain anywhere
    assert reseed(exact, measure(exact)) == 0


@pytest.mark.parametrize(
    "kind", [ProductQuantizedEmbedding, ResidualQuantizedEmbedding]
)
@pytest.mark.parametrize("update", ["ema", "gradient"])
def test_reseeding_brings_dead_codes_back(kind, update):
    # Product codes need an even width to cut.
    additive_dim = 1 if kind is ResidualQuantizedEmbedding else 2
    layer = layer_of(kind, additive_dim=additive_dim, codebook_update=update)
    books = value(layer.codebooks)
    books[:, 3:] = 100.0
    layer.codebooks.assign(books)
    before = measure(layer)
    assert before.dead[:, 3:].all()
    assert reseed(layer, before) == before.dead.sum()
    after = measure(layer)
    assert after.dead.sum() < before.dead.sum() / 2
    assert after.distortion < before.distortion
    assert after.perplexity > before.perplexity
    if update == "ema":
        moving = value(layer.moving)
        np.testing.assert_allclose(
            (moving[..., :-1] / moving[..., -1:])[before.dead],
            value(layer.codebooks)[before.dead],
            rtol=1e-5,
        )


def model_of(*layers):
    inputs = tf.keras.Input((), dtype="int64")
    joined = tf.keras.layers.Concatenate()([layer(inputs) for layer in layers])
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(1)(joined))
    model.compile("sgd", "mse")
    return model


def fit(model, *callbacks, epochs=2):
    ids = np.arange(ROWS)
    return model.fit(
        ids, TABLE[:, :1], epochs=epochs, verbose=0, callbacks=callbacks
    ).history


def test_logs_and_files(tmp_path):
    tiers = [
        ProductQuantizedEmbedding(10, DIM, 2, 4),
        TableEmbedding(10, DIM),
        ProductQuantizedEmbedding(30, DIM, 1, 4),
    ]
    model = model_of(
        ProductQuantizedEmbedding(
            ROWS, DIM, 2, 8, name="items", contrastive_weight=1e-3
        ),
        TieredEmbedding(ROWS, DIM, tiers, name="users"),
    )
    history = fit(model, CodebookHealth(tmp_path))
    for name in ("items", "users/tier_0", "users/tier_2"):
        for key in ("usage", "dead_codes", "perplexity", "distortion", "pwr"):
            assert np.isfinite(history[f"{name}/{key}"]).all()
            assert len(history[f"{name}/{key}"]) == 2
        assert f"{name}/distortion_popular" in history
    assert "items/contrastive" in history
    assert "users/tier_0/contrastive" not in history
    tags = {}
    for path in glob.glob(f"{tmp_path}/*"):
        for event in tf.compat.v1.train.summary_iterator(path):
            for item in event.summary.value:
                tags.setdefault(item.tag, []).append(event.step)
    assert tags["items/perplexity"] == [0, 1]
    assert tags["items/code_usage"] == [0, 1]


def test_every_second_epoch_only():
    layer = ProductQuantizedEmbedding(ROWS, DIM, 2, 8, name="items")
    looked = []
    health = CodebookHealth(every=2)
    health._values = lambda *_: looked.append(1) or {}
    fit(model_of(layer), health, epochs=4)
    assert len(looked) == 2


def test_warns_once_of_a_collapse():
    layer = ProductQuantizedEmbedding(ROWS, DIM, 2, 16, name="items")
    model = model_of(layer)
    layer.embeddings.assign(np.zeros((ROWS, DIM)))  # all rows, one code
    with pytest.warns(UserWarning, match="codes of items collapse") as caught:
        fit(model, CodebookHealth(collapse_share=0.5), epochs=3)
    assert sum("collapse" in str(w.message) for w in caught) == 1


@pytest.mark.parametrize("weight, warned", [(100.0, True), (1e-4, False)])
def test_warns_of_an_overwhelming_contrastive_loss(weight, warned):
    layer = ProductQuantizedEmbedding(
        ROWS, DIM, 2, 8, contrastive_weight=weight
    )
    model = model_of(layer)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = fit(model, CodebookHealth(collapse_share=0.0))
    assert any("overwhelm" in str(w.message) for w in caught) == warned
    share = history[f"{layer.name}/contrastive"][-1] / history["loss"][-1]
    assert (share > 0.5) == warned and share <= 1.1


def test_bad_arguments_and_models_are_refused():
    with pytest.raises(ValueError, match="`every`"):
        CodebookHealth(every=0)
    with pytest.raises(ValueError, match="`collapse_share`"):
        CodebookHealth(collapse_share=2)
    with pytest.raises(ValueError, match="quantized table"):
        fit(model_of(TableEmbedding(ROWS, 2)), CodebookHealth())
