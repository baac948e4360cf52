"""Training and tuning the full-precision model that compression starts from."""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import tensorflow as tf

from mec_tf.data import Log
from mec_tf.optimizers import LazyAdam
from mec_tf.training.evaluation import Scores, evaluate


@dataclasses.dataclass(frozen=True)
class FitSettings:
    """How to train a ranking model.

    Args:
        learning_rate: of `LazyAdam`.
        embedding_l2: of the model; kept when it is compressed.
        batch_size: examples a step.
        epochs: at most this many passes over the training data.
        evaluations: times a pass that validation is looked at; a model with
            rare crosses is at its best before the end of a pass.
        patience: evaluations without a better AUC before training stops.
    """

    learning_rate: float = 1e-3
    embedding_l2: float = 3e-2
    batch_size: int = 1024
    epochs: int = 8
    evaluations: int = 4
    patience: int = 4

    def steps(self, rows: int) -> int:
        """Batches between two evaluations."""
        batches = -(-rows // self.batch_size)
        return max(1, -(-batches // self.evaluations))


class _KeepBestWeights(tf.keras.callbacks.Callback):
    """Keeps the weights of the best validation AUC in a file.

    What it knows is in `state.json` beside them, so that a training that was
    killed goes on where it stopped.
    """

    def __init__(self, log: Log, folder: pathlib.Path, patience: int):
        super().__init__()
        self.log, self.folder, self.patience = log, folder, patience
        self.weights = folder / "best.weights.h5"
        self.record = folder / "state.json"
        self.state: dict[str, Any] = {"best": None, "waited": 0}
        if self.record.exists() and self.weights.exists():
            self.state = json.loads(self.record.read_text())

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self.state["waited"] >= self.patience:
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        scores = evaluate(self.model, self.log, "validation")
        if logs is not None:
            logs["val_auc"] = scores.auc
            logs["val_log_loss"] = scores.log_loss
        best = self.state["best"]
        if best is None or scores.auc > best["auc"]:
            fresh = self.folder / "fresh.weights.h5"
            self.model.save_weights(str(fresh))
            fresh.replace(self.weights)
            self.state = {"best": scores.to_dict(), "waited": 0}
        else:
            self.state["waited"] += 1
        write_text(self.record, json.dumps(self.state))
        if self.state["waited"] >= self.patience:
            self.model.stop_training = True


def write_text(path: pathlib.Path, text: str) -> None:
    """Writes beside and renames into place."""
    fresh = path.with_name(path.name + ".fresh")
    fresh.write_text(text)
    fresh.replace(path)


def fit(
    make_model: Callable[[FitSettings], tf.keras.Model],
    log: Log,
    settings: FitSettings,
    folder: str | pathlib.Path,
    *,
    seed: int = 0,
    verbose: str | int = "auto",
) -> tuple[tf.keras.Model, Scores]:
    """Trains a model to its best validation AUC.

    Args:
        make_model: returns a fresh, uncompiled model that gives logits.
        log: training and validation data.
        settings: how to train.
        folder: where the best weights and, until training ends, the backup
            of its state live. A training that was killed goes on from there;
            one that is done is only loaded.
        seed: of initial weights and batch order.
        verbose: as in Keras.

    Returns:
        The model, compiled, at its best, and its validation scores.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(seed)
    model = make_model(settings)
    compile_ranking(model, settings)
    keep = _KeepBestWeights(log, folder, settings.patience)
    if not (folder / "done").exists():
        train = log.dataset(
            "train", settings.batch_size, shuffle=True, seed=seed
        )
        model(next(iter(train))[0])
        backup = tf.keras.callbacks.BackupAndRestore(str(folder / "backup"))
        model.fit(
            train.repeat(),
            epochs=settings.epochs * settings.evaluations,
            steps_per_epoch=settings.steps(log.num_rows("train")),
            callbacks=[keep, backup],
            shuffle=False,
            verbose=verbose,
        )
        (folder / "done").touch()
    else:
        model(next(iter(log.dataset("train", 2)))[0])
    model.load_weights(str(keep.weights))
    return model, Scores(**keep.state["best"])


def compile_ranking(model: tf.keras.Model, settings: FitSettings) -> None:
    """Compiles a model that gives logits of a binary label."""
    model.compile(
        LazyAdam(settings.learning_rate),
        tf.keras.losses.BinaryCrossentropy(from_logits=True),
    )


def tune(
    make_model: Callable[[FitSettings], tf.keras.Model],
    log: Log,
    settings: FitSettings,
    grid: Mapping[str, Iterable[Any]],
    folder: str | pathlib.Path,
    *,
    seed: int = 0,
    verbose: str | int = "auto",
) -> tuple[tf.keras.Model, Scores, FitSettings]:
    """Trains once a point of a grid; the best validation AUC wins.

    Args:
        make_model: as of `fit`.
        log: as of `fit`.
        settings: what the grid does not vary.
        grid: values by name of a setting.
        folder: as of `fit`; a point of the grid has a folder in it.
        seed: as of `fit`.
        verbose: as of `fit`.

    Returns:
        The best model, its validation scores, and its settings.
    """
    best = None
    for values in itertools.product(*grid.values()):
        varied: dict[str, Any] = dict(zip(grid, values, strict=True))
        point = dataclasses.replace(settings, **varied)
        name = f"lr{point.learning_rate:g}_l2{point.embedding_l2:g}"
        model, scores = fit(
            make_model,
            log,
            point,
            pathlib.Path(folder) / name,
            seed=seed,
            verbose=verbose,
        )
        if verbose:
            print(
                f"  learning rate {point.learning_rate:g}, L2 "
                f"{point.embedding_l2:g}: validation AUC {scores.auc:.4f}, "
                f"log-loss {scores.log_loss:.4f}",
                flush=True,
            )
        if best is None or scores.auc > best[1].auc:
            best = (model, scores, point)
    assert best is not None
    return best
