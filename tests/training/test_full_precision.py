"""Training that was cut off goes on to the same end as one that was not."""

import functools
import tempfile

import numpy as np
import pytest
import tensorflow as tf

from mec_tf.data import Log, Schema
from mec_tf.files import ArtifactError
from mec_tf.models import DeepFM
from mec_tf.training import FitSettings, TrainingDiverged, fit, tune
from mec_tf.training.evaluation import evaluate
from mec_tf.training.training_state import state_variables


def small_log():
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 30, (2, 2000))
    taste = np.random.default_rng(1).normal(size=(2, 30))
    chance = 1 / (1 + np.exp(-2 * (taste[0, ids[0]] + taste[1, ids[1]])))
    columns = {
        "a": ids[0],
        "b": ids[1],
        "label": (rng.random(2000) < chance).astype(np.float32),
    }
    schema = Schema("label", ("a", "b"), ())
    return Log.from_columns("small", schema, columns, np.arange(2000) % 3)


def make(settings):
    return DeepFM(
        {"a": 31, "b": 31},
        embedding_dim=4,
        hidden_units=(8,),
        embedding_l2=settings.embedding_l2,
    )


SETTINGS = FitSettings(0.05, 0.0, 64, epochs=2, evaluations=2, patience=3)


def test_the_best_weights_come_back(tmp_path):
    log = small_log()
    model, scores = fit(make, log, SETTINGS, tmp_path, verbose=0)
    assert scores.auc > 0.7
    assert evaluate(model, log, "validation").auc == scores.auc
    again, same = fit(make, log, SETTINGS, tmp_path, verbose=0)
    assert same == scores
    for ours, theirs in zip(
        model.get_weights(), again.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_with_another_optimizer(tmp_path):
    model, scores = fit(
        make, small_log(), SETTINGS, tmp_path,
        optimizer=tf.keras.optimizers.Adagrad, verbose=0,
    )  # fmt: skip
    assert type(model.optimizer) is tf.keras.optimizers.Adagrad
    assert float(model.optimizer.learning_rate) == pytest.approx(0.05)
    assert scores.auc > 0.5


@functools.cache
def uninterrupted():
    with tempfile.TemporaryDirectory() as folder:
        model, scores = fit(make, small_log(), SETTINGS, folder, verbose=0)
    return scores, [variable.numpy() for variable in state_variables(model)]


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_cut_off_after_any_evaluation_it_goes_on(epoch, tmp_path, monkeypatch):
    log = small_log()

    class Killed(Exception):
        pass

    save = np.savez
    saves = []

    def dying(path, **arrays):
        if len(saves) > epoch:
            path.write_bytes(b"half a file")
            raise Killed
        saves.append(path)
        save(path, **arrays)

    monkeypatch.setattr(np, "savez", dying)
    with pytest.raises(Killed):
        fit(make, log, SETTINGS, tmp_path, verbose=0)
    monkeypatch.setattr(np, "savez", save)
    began = []
    original = tf.keras.Model.fit

    def spy(self, *args, **kwargs):
        began.append(kwargs["initial_epoch"])
        return original(self, *args, **kwargs)

    monkeypatch.setattr(tf.keras.Model, "fit", spy)
    model, scores = fit(make, log, SETTINGS, tmp_path, verbose=0)
    assert began == [epoch + 1]
    assert evaluate(model, log, "validation").auc == scores.auc > 0.7
    same, whole = uninterrupted()
    assert scores == same
    for ours, theirs in zip(state_variables(model), whole, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_states_that_are_not_this_trainings(tmp_path):
    log = small_log()
    fit(make, log, SETTINGS, tmp_path, verbose=0)

    def wider(settings):
        return DeepFM({"a": 31, "b": 31}, embedding_dim=5, hidden_units=(8,))

    with pytest.raises(ArtifactError, match="another model's training"):
        fit(wider, log, SETTINGS, tmp_path, verbose=0)
    path = tmp_path / "state.npz"
    content = path.read_bytes()
    for damaged in (content[:-100], b"", content[:99] + b"?" + content[100:]):
        path.write_bytes(damaged)
        with pytest.raises(ArtifactError, match="is damaged .* Delete it"):
            fit(make, log, SETTINGS, tmp_path, verbose=0)


def test_the_best_state_before_a_divergence_is_kept(tmp_path, monkeypatch):
    log = small_log()
    original = tf.keras.Model.fit

    def worse(self, *args, callbacks, **kwargs):
        class SpeedUp(tf.keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                if epoch == 2:
                    self.model.optimizer.learning_rate = 1e30

        callbacks = [*callbacks, SpeedUp()]
        return original(self, *args, callbacks=callbacks, **kwargs)

    monkeypatch.setattr(tf.keras.Model, "fit", worse)
    with pytest.raises(
        TrainingDiverged, match="validation AUC .* kept in"
    ) as e:
        fit(make, log, SETTINGS, tmp_path, verbose=0)
    model, scores = e.value.result
    assert evaluate(model, log, "validation") == scores
    assert scores.auc > 0.7


def test_tune_goes_on_after_a_divergence(tmp_path):
    log = small_log()
    grid = {"learning_rate": (1e30, 0.05)}
    with pytest.warns(UserWarning, match="lr1e.30_l20: Training diverged"):
        _, scores, settings = tune(
            make, log, SETTINGS, grid, tmp_path, verbose=0
        )
    assert settings.learning_rate == 0.05
    with pytest.warns(UserWarning), pytest.raises(TrainingDiverged):
        grid = {"learning_rate": (1e30,)}
        tune(make, log, SETTINGS, grid, tmp_path, verbose=0)


def test_tune_takes_the_best_point(tmp_path):
    log = small_log()
    grid = {"learning_rate": (1e-6, 0.05)}
    _, scores, settings = tune(make, log, SETTINGS, grid, tmp_path, verbose=0)
    assert settings.learning_rate == 0.05
    assert scores.auc > 0.7
