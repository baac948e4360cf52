"""The training that `compress` does."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.compression.selection import KeepBest
from mec_tf.training.stop_on_divergence import StopOnDivergence


def mark_train_steps(model: tf.keras.Model, layers: list) -> None:
    """Lets the layers know a train step, whatever the model tells them.

    Keras 3 runs inner layers as in inference where the model's own `call` has
    no `training` argument, as in most tutorials; codebooks would stand still.
    """
    step = model.train_step

    def train_step(*args: Any, **kwargs: Any) -> Any:
        for layer in layers:
            layer.learning = True
        try:
            return step(*args, **kwargs)
        finally:
            for layer in layers:
                layer.learning = False

    model.train_step = train_step


def train_tables(
    model: tf.keras.Model,
    train: tf.data.Dataset,
    epochs: int,
    steps_per_epoch: int | None,
    keep: KeepBest,
    callbacks: Iterable[tf.keras.callbacks.Callback],
    verbose: str | int,
    label: Callable[[tf.data.Dataset], tf.data.Dataset],
) -> dict[str, list[float]]:
    """Trains from where `keep` is, and leaves the best state in it.

    `label` gives the batches that are still to come other labels.

    Returns:
        Keras logs.

    Raises:
        TrainingDiverged: if the training is lost.
    """
    if keep.done or keep.epoch >= epochs:
        keep.on_train_begin()
        keep.on_train_end()
        return {}
    infinite = train.cardinality() == tf.data.INFINITE_CARDINALITY
    if keep.path is not None and steps_per_epoch is None and not infinite:
        steps_per_epoch = _number_of(train)
    if steps_per_epoch is not None:
        if not infinite:
            train = train.repeat()
        train = train.skip(keep.epoch * steps_per_epoch)
    history = model.fit(
        label(train),
        epochs=epochs,
        initial_epoch=keep.epoch,
        steps_per_epoch=steps_per_epoch,
        callbacks=[StopOnDivergence(restore=False), keep, *callbacks],
        shuffle=False,
        verbose=verbose,
    )
    return history.history


def _number_of(batches: tf.data.Dataset) -> int:
    known = int(batches.cardinality())
    if known >= 0:
        return known
    return int(batches.reduce(np.int64(0), lambda number, _: number + 1))
