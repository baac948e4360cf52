"""Training that was cut off goes on to the same end as one that was not."""

import numpy as np
import pytest
import tensorflow as tf

from mec_tf.data import Log, Schema
from mec_tf.models import DeepFM
from mec_tf.training import FitSettings, fit, tune
from mec_tf.training.evaluation import evaluate


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


def test_tune_takes_the_best_point(tmp_path):
    log = small_log()
    grid = {"learning_rate": (1e-6, 0.05)}
    _, scores, settings = tune(make, log, SETTINGS, grid, tmp_path, verbose=0)
    assert settings.learning_rate == 0.05
    assert scores.auc > 0.7
