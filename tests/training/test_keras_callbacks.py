"""Keras's own callbacks with the layers that learn."""

import inspect

import numpy as np
import pytest
import tensorflow as tf

from mec_tf.layers import (
    LowPrecisionEmbedding,
    ProductQuantizedEmbedding,
    ResidualQuantizedEmbedding,
    TieredEmbedding,
)
from mec_tf.optimizers import LazyAdam
from mec_tf.training.training_state import state_variables
from tests.at_epoch import AtEpoch, Stop, stop

ROWS, DIM = 60, 4
RNG = np.random.default_rng(0)
IDS = RNG.integers(0, ROWS, 480)
TARGETS = RNG.normal(size=ROWS)[IDS].astype("float32")
EPOCHS = 3


def make_model():
    tf.keras.utils.set_random_seed(3)
    tiers = [
        ProductQuantizedEmbedding(10, DIM, 2, 8),
        ProductQuantizedEmbedding(50, DIM, 1, 8, contrastive_weight=0.1),
    ]
    tables = [
        ProductQuantizedEmbedding(ROWS, DIM, 2, 8, contrastive_weight=0.1),
        ResidualQuantizedEmbedding(ROWS, DIM, 2, 8, pwr_weight=0.01),
        TieredEmbedding(ROWS, DIM, tiers),
        LowPrecisionEmbedding(ROWS, DIM, bits=4, learned_steps=False),
    ]
    ids = tf.keras.Input((), dtype="int32")
    joined = tf.keras.layers.Concatenate()([table(ids) for table in tables])
    model = tf.keras.Model(ids, tf.keras.layers.Dense(1)(joined))
    # Runs a few steps sooner than a graph of them is traced.
    model.compile(LazyAdam(0.05), "mse", run_eagerly=True)
    for table in tables[:3]:
        table.add_counts(np.bincount(IDS, minlength=ROWS))
    return model


def fit(model, *callbacks, **options):
    return model.fit(
        IDS[:360],
        TARGETS[:360],
        validation_data=(IDS[360:], TARGETS[360:]),
        batch_size=120,
        shuffle=False,
        callbacks=list(callbacks),
        verbose=0,
        **{"epochs": EPOCHS, **options},
    ).history


def values(model):
    return [variable.numpy() for variable in state_variables(model)]


def assert_same(one, other):
    assert len(one) == len(other)
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def worsen(model):
    """An epoch that makes any state worse."""
    weights = model.get_weights()
    model.set_weights(
        [w + 5 if w.dtype == np.float32 and w.ndim == 2 else w for w in weights]
    )


@pytest.mark.parametrize("weights_only", [True, False])
def test_model_checkpoint_keeps_the_best_weights(tmp_path, weights_only):
    path = tmp_path / ("best.weights.h5" if weights_only else "best.keras")
    checkpoint = tf.keras.callbacks.ModelCheckpoint(
        str(path), save_best_only=True, save_weights_only=weights_only
    )
    answers = []
    look = AtEpoch(
        EPOCHS - 1, lambda model: answers.append(model.predict(IDS, verbose=0))
    )
    model = make_model()
    history = fit(model, checkpoint, look, AtEpoch(EPOCHS - 1, worsen))
    assert np.argmin(history["val_loss"]) == EPOCHS - 2
    if weights_only:
        best = make_model()
        best.load_weights(path)
    else:
        best = tf.keras.models.load_model(path)
    np.testing.assert_array_equal(best.predict(IDS, verbose=0), answers[0])
    loss = best.evaluate(IDS[360:], TARGETS[360:], verbose=0)
    assert loss == pytest.approx(min(history["val_loss"]), rel=1e-5)


def test_early_stopping_restores_the_best_weights():
    stopping = tf.keras.callbacks.EarlyStopping(
        patience=1, restore_best_weights=True
    )
    best = []
    look = AtEpoch(EPOCHS - 1, lambda model: best.append(model.get_weights()))
    model = make_model()
    history = fit(
        model, stopping, look, AtEpoch(EPOCHS - 1, worsen), epochs=EPOCHS + 5
    )
    assert len(history["val_loss"]) == EPOCHS
    assert_same(model.get_weights(), best[0])


def test_backup_and_restore_goes_on_bit_for_bit(tmp_path):
    def backup():
        kind = tf.keras.callbacks.BackupAndRestore
        options = {"delete_checkpoint": False}
        if "double_checkpoint" in inspect.signature(kind).parameters:
            options["double_checkpoint"] = True
        return kind(str(tmp_path / "backup"), **options)

    whole = make_model()
    fit(whole)
    with pytest.raises(Stop):
        fit(make_model(), backup(), AtEpoch(EPOCHS - 1, stop))
    again = make_model()
    history = fit(again, backup())
    assert len(history["loss"]) == 1
    assert_same(values(again), values(whole))
    # A training that is done stays as it is.
    done = make_model()
    fit(done, backup())
    assert_same(values(done), values(whole))
