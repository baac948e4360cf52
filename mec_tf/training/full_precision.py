"""Training and tuning the full-precision model that compression starts from."""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from mec_tf.files import ArtifactError
from mec_tf.layers.variables import raw
from mec_tf.optimizers import LazyAdam
from mec_tf.training.evaluation import Scores, evaluate
from mec_tf.training.stop_on_divergence import StopOnDivergence
from mec_tf.training.training_diverged import TrainingDiverged
from mec_tf.training.training_state import load_state, save_state

if TYPE_CHECKING:
    from mec_tf.data import Log


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

    def __post_init__(self):
        for name in ("learning_rate", "batch_size", "evaluations", "patience"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ValueError(
                    f"`{name}` must be positive. Received: {name}={value}"
                )
        if not 0 <= self.embedding_l2 < float("inf") or self.epochs < 0:
            raise ValueError(
                "`embedding_l2` and `epochs` must not be negative. Received: "
                f"embedding_l2={self.embedding_l2}, epochs={self.epochs}"
            )

    @property
    def label(self) -> str:
        """What `tune` calls the folder of a training with these settings."""
        return f"lr{self.learning_rate:g}_l2{self.embedding_l2:g}"

    def steps(self, rows: int) -> int:
        """Batches between two evaluations."""
        batches = -(-rows // self.batch_size)
        return max(1, -(-batches // self.evaluations))


class _BestWeights(tf.keras.callbacks.Callback):
    """Keeps the weights of the best validation AUC, and where training is.

    All of it is in one file, written beside and renamed into place after each
    evaluation: a training that is killed at any moment goes on from the last
    one.
    """

    def __init__(
        self, log: Log, path: pathlib.Path, patience: int, relabelled: bool
    ):
        super().__init__()
        self.log, self.path, self.patience = log, path, patience
        self.relabelled = relabelled
        self.best: dict[str, float] | None = None
        self.best_weights: list[np.ndarray] = []
        self.epoch = 0
        self.waited = 0
        self.done = False

    def restore(self) -> None:
        """Goes back to the state in the file, if there is one."""
        found = load_state(self.path, self.model)
        if found is None:
            return
        state, self.best_weights = found
        if state.get("relabelled", False) != self.relabelled:
            raise ArtifactError(
                self.path,
                "is the state of a training on other labels. Delete it to "
                "train from the start",
            )
        self.best, self.epoch = state["best"], state["epoch"]
        self.waited, self.done = state["waited"], state["done"]

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        scores = evaluate(self.model, self.log, "validation")
        if not np.isfinite(scores.log_loss):
            raise TrainingDiverged(
                "Training diverged: the log-loss on validation is "
                f"{scores.log_loss}. Lower the learning rate."
            )
        if logs is not None:
            logs["val_auc"] = scores.auc
            logs["val_log_loss"] = scores.log_loss
        self.epoch = epoch + 1
        self.waited += 1
        if self.best is None or scores.auc > self.best["auc"]:
            self.best, self.waited = scores.to_dict(), 0
            self.best_weights = [raw(w).numpy() for w in self.model.weights]
        self.done = self.waited >= self.patience
        self.model.stop_training = self.done
        self._save()

    def on_train_end(self, logs: Any = None) -> None:
        self.done = True
        self._save()

    def use_best(self) -> Scores:
        """Gives the model its best weights; returns their scores."""
        for weight, value in zip(
            self.model.weights, self.best_weights, strict=True
        ):
            raw(weight).assign(value)
        assert self.best is not None
        return Scores(**self.best)

    def with_best(self, error: TrainingDiverged) -> TrainingDiverged:
        """The error, with the best model so far where there is one."""
        if self.best is None:
            return error
        scores = self.use_best()
        return TrainingDiverged(
            f"{error} The best state before that (validation AUC "
            f"{scores.auc:.4f}) is kept in {self.path}, and is the error's "
            "`result`.",
            (self.model, scores),
        )

    def _save(self) -> None:
        state = {
            "best": self.best,
            "epoch": self.epoch,
            "waited": self.waited,
            "done": self.done,
            "relabelled": self.relabelled,
        }
        save_state(self.path, self.model, state, self.best_weights)


def fit(
    make_model: Callable[[FitSettings], tf.keras.Model],
    log: Log,
    settings: FitSettings,
    folder: str | pathlib.Path,
    *,
    optimizer: Callable[..., tf.keras.optimizers.Optimizer] = LazyAdam,
    relabel: Callable[[tf.data.Dataset], tf.data.Dataset] | None = None,
    seed: int = 0,
    verbose: str | int = "auto",
) -> tuple[tf.keras.Model, Scores]:
    """Trains a model to its best validation AUC.

    Args:
        make_model: returns a fresh, uncompiled model that gives logits.
        log: training and validation data.
        settings: how to train.
        folder: where the state of the training lives. One that was killed
            goes on from there; one that is done is only loaded.
        optimizer: makes one from a learning rate. Default `LazyAdam`.
        relabel: maps batches of training to the same with other labels;
            validation keeps the log's. Default: none.
        seed: of initial weights and batch order.
        verbose: as in Keras.

    Returns:
        The model, compiled, at its best, and its validation scores.

    Raises:
        TrainingDiverged: if the training is lost (see `StopOnDivergence`);
            its `result` is the best state before that, if any.
        ArtifactError: if the state in `folder` is damaged, of another model,
            or of a training with `relabel` where this is without, or the
            other way round.
        OSError: if the state cannot be written; the one before stays.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tf.keras.utils.set_random_seed(seed)
    model = make_model(settings)
    compile_ranking(model, settings, optimizer)
    model(next(iter(log.dataset("train", 2)))[0])
    keep = _BestWeights(
        log, folder / "state.npz", settings.patience, relabel is not None
    )
    keep.set_model(model)
    keep.restore()
    if not keep.done:
        train = log.dataset(
            "train", settings.batch_size, shuffle=True, seed=seed
        )
        steps = settings.steps(log.num_rows("train"))
        batches = train.repeat().skip(keep.epoch * steps)
        try:
            model.fit(
                batches if relabel is None else relabel(batches),
                epochs=settings.epochs * settings.evaluations,
                initial_epoch=keep.epoch,
                steps_per_epoch=steps,
                callbacks=[StopOnDivergence(restore=False), keep],
                shuffle=False,
                verbose=verbose,
            )
        except TrainingDiverged as error:
            raise keep.with_best(error) from None
    return model, keep.use_best()


def compile_ranking(
    model: tf.keras.Model,
    settings: FitSettings,
    optimizer: Callable[..., tf.keras.optimizers.Optimizer] = LazyAdam,
) -> None:
    """Compiles a model that gives logits of a binary label."""
    model.compile(
        optimizer(settings.learning_rate),
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

    A point whose training diverges takes part with the best state before
    that, if any, and a warning.

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

    Raises:
        TrainingDiverged: if all points do so before their first evaluation.
        ArtifactError, OSError: as of `fit`.
    """
    best = lost = None
    for values in itertools.product(*grid.values()):
        varied: dict[str, Any] = dict(zip(grid, values, strict=True))
        point = dataclasses.replace(settings, **varied)
        try:
            model, scores = fit(
                make_model,
                log,
                point,
                pathlib.Path(folder) / point.label,
                seed=seed,
                verbose=verbose,
            )
        except TrainingDiverged as error:
            warnings.warn(f"{point.label}: {error}", stacklevel=2)
            lost = error
            if error.result is None:
                continue
            model, scores = error.result
        if verbose:
            print(
                f"  learning rate {point.learning_rate:g}, L2 "
                f"{point.embedding_l2:g}: validation AUC {scores.auc:.4f}, "
                f"log-loss {scores.log_loss:.4f}",
                flush=True,
            )
        if best is None or scores.auc > best[1].auc:
            best = (model, scores, point)
    if best is None:
        assert lost is not None
        raise lost
    return best
