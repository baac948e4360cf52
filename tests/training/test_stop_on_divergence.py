"""Trainings that are lost end with an error and the best weights so far."""

import numpy as np
import pytest
import tensorflow as tf

from mec_tf.layers import ProductQuantizedEmbedding, TableEmbedding
from mec_tf.layers.variables import raw
from mec_tf.training import StopOnDivergence, TrainingDiverged
from mec_tf.training.table_health import glance, measure
from tests.at_epoch import AtEpoch

ROWS, DIM = 64, 4
IDS = np.arange(ROWS)
NUMBERS = np.random.default_rng(0).normal(size=(ROWS, 2)).astype("float32")
TARGETS = NUMBERS[:, :1] + np.sin(IDS)[:, None].astype("float32")


def model_of(table, optimizer="adam", run_eagerly=True):
    """Runs a few steps sooner than a graph of them is traced."""
    inputs = {
        "id": tf.keras.Input((), dtype="int32", name="id"),
        "number": tf.keras.Input((2,), name="number"),
    }
    joined = tf.keras.layers.Concatenate()(
        [table(inputs["id"]), inputs["number"]]
    )
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(1)(joined))
    model.compile(optimizer, "mse", run_eagerly=run_eagerly)
    return model


def fit(model, *callbacks, numbers=NUMBERS, targets=TARGETS, **options):
    options = {"epochs": 2, "batch_size": 16, "shuffle": False, **options}
    return model.fit(
        {"id": IDS, "number": numbers},
        targets,
        callbacks=list(callbacks),
        verbose=0,
        **options,
    )


def changed(values, place):
    values = values.copy()
    values[place] = np.nan
    return values


@pytest.mark.parametrize(
    ("numbers", "targets", "message"),
    [
        (changed(NUMBERS, 3), TARGETS, "nan in epoch 1, batch 1.*the start"),
        (NUMBERS, changed(TARGETS, 40), "batch 3. It began at .* batch did it"),
    ],
)
def test_nan_in_the_data(numbers, targets, message):
    model = model_of(TableEmbedding(ROWS, DIM))
    before = model.get_weights()
    with pytest.raises(TrainingDiverged, match=message) as caught:
        fit(model, StopOnDivergence(), numbers=numbers, targets=targets)
    assert "before training again" in str(caught.value)
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_learning_rate_too_high():
    model = model_of(TableEmbedding(ROWS, DIM), tf.keras.optimizers.SGD(1e6))
    with pytest.raises(TrainingDiverged, match="loss rose.*learning rate"):
        fit(model, StopOnDivergence())
    assert np.isfinite(model.get_weights()[0]).all()


def test_weights_that_break_in_the_last_batch():
    model = model_of(TableEmbedding(ROWS, DIM), tf.keras.optimizers.SGD(1e39))
    with pytest.raises(TrainingDiverged, match="the weight .* holds NaN"):
        fit(model, StopOnDivergence(), batch_size=ROWS, epochs=1)
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_the_best_epoch_comes_back():
    def speed_up(model):
        raw(model.optimizer.learning_rate).assign(1e6)

    table = ProductQuantizedEmbedding(ROWS, DIM, 2, 8)
    model = model_of(table, tf.keras.optimizers.SGD(0.01))
    seen = []
    keep = AtEpoch(None, None)
    keep.on_epoch_end = lambda epoch, logs: seen.append(model.get_weights())
    with pytest.raises(TrainingDiverged, match="after epoch 2 .loss"):
        fit(model, StopOnDivergence(), keep, AtEpoch(2, speed_up), epochs=5)
    assert len(seen) == 2
    for one, other in zip(model.get_weights(), seen[1], strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_exploding_commitment_loss_is_named():
    # Codebooks that hardly follow, and steps of rows that overshoot.
    table = ProductQuantizedEmbedding(
        ROWS, DIM, 2, 8, ema_decay=0.9999, commitment_weight=100.0, name="item"
    )
    model = model_of(table, tf.keras.optimizers.SGD(1.0), run_eagerly=False)
    message = "commitment loss of item exploded.*`commitment_weight` .100."
    with pytest.raises(TrainingDiverged, match=message):
        fit(model, StopOnDivergence(), epochs=60)


def far_off(table, spare=1):
    """Moves all codes but one away from the rows."""
    books = raw(table.codebooks).numpy()
    books[:, spare:] += 100.0
    raw(table.codebooks).assign(books)


@pytest.mark.parametrize("share", [0.05, 0.0])
def test_collapsed_codes(share):
    # Nothing brings codes back where they learn by gradients.
    table = ProductQuantizedEmbedding(
        ROWS, DIM, 2, 16, codebook_update="gradient", name="item"
    )
    table.warm_start(
        np.random.default_rng(1).normal(size=(ROWS, DIM)).astype("float32")
    )
    model = model_of(table, tf.keras.optimizers.SGD(1e-3))
    stop = StopOnDivergence(collapse_share=share)
    wreck = AtEpoch(1, lambda _: far_off(table))
    if not share:
        fit(model, stop, wreck, epochs=3)
        return
    with pytest.raises(
        TrainingDiverged, match="codes of item collapsed: after"
    ):
        fit(model, stop, wreck, epochs=3)
    assert glance(table).perplexity > 4


def test_rows_that_are_all_equal_are_no_collapse():
    """Their one code answers them exactly: nothing is lost."""
    table = ProductQuantizedEmbedding(ROWS, DIM, 2, 16, name="item")
    table.warm_start(np.ones((ROWS, DIM), "float32"))
    model = model_of(table, tf.keras.optimizers.SGD(1e-6))
    fit(model, StopOnDivergence(), epochs=2)


def test_a_glance_is_what_measure_finds():
    table = ProductQuantizedEmbedding(ROWS, DIM, 2, 8)
    table.warm_start(
        np.random.default_rng(1).normal(size=(ROWS, DIM)).astype("float32"),
        np.arange(ROWS),
    )
    found, whole = glance(table), measure(table)
    assert found.rows == whole.rows == ROWS - 1
    np.testing.assert_allclose(found.perplexity, whole.perplexity)
    np.testing.assert_allclose(found.distortion, whole.distortion, rtol=1e-5)


@pytest.mark.parametrize(
    "bad", [{"explosion": 1.0}, {"collapse_share": 2}, {"collapse_share": -1}]
)
def test_refusals(bad):
    with pytest.raises(ValueError, match=f"`{next(iter(bad))}` must"):
        StopOnDivergence(**bad)
