"""Keeping the best state of a training on validation data."""

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.compression.tables import walk
from mec_tf.files import ArtifactError
from mec_tf.layers.variables import raw
from mec_tf.training.training_diverged import TrainingDiverged
from mec_tf.training.training_state import load_state, save_state

# A monitored value is minimised if its name holds one of these.
MINIMIZED = (
    "loss", "error", "entropy", "divergence", "mse", "mae", "mape", "msle",
)  # fmt: skip


def minimized(monitor: str) -> bool:
    """Whether smaller values of what is monitored are better."""
    return any(word in monitor for word in MINIMIZED)


class KeepBest(tf.keras.callbacks.Callback):
    """Scores the model before training and after each epoch.

    Stops after `patience` epochs without a better state. At the end dense
    weights are those of the best state (the last one, without data), and
    `tables` holds the `frozen_state` of each quantized table then: of a table
    only what freezing leaves is kept, so that a state takes no more memory
    than the compressed model.

    With a `path` the state of the training is written there after each epoch,
    and `restore` goes back to it.

    Args:
        data: validation batches; None, unless `monitor` is a function, to
            score nothing and keep the last state.
        monitor: name in the logs of `evaluate` after "val_", or a function
            of the model, maximised.
        patience: epochs.
        quantized: paths of the quantized tables.
        skip_start: whether the state before training is no candidate.
        path: file of the training's state. Default: none.
        plan: what the tables become; a state of another plan is refused.
    """

    def __init__(
        self,
        data: Any,
        monitor: str | Callable[[Any], float],
        patience: int,
        quantized: list[str],
        skip_start: bool = False,
        path: pathlib.Path | None = None,
        plan: str = "",
    ):
        super().__init__()
        self.data = data
        self.monitor = monitor
        self.patience = patience
        self.quantized = quantized
        self.skip_start = skip_start
        self.path = path
        self.plan = plan
        self.epoch = 0
        self.done = False
        self.scores: tuple[str, float, float] | None = None
        self.scores_states = data is not None or callable(monitor)
        self._best = -np.inf
        self._best_epoch = 0
        self._waited = 0
        self._restored = False
        self._state: Any = None
        self.tables: dict[str, dict[str, np.ndarray]] = {}

    @property
    def has_state(self) -> bool:
        """Whether there is a best state so far."""
        return self._state is not None

    def restore(self) -> None:
        """Goes back to the state in the file, if there is one.

        Raises:
            ArtifactError: if it is damaged, or of another compression.
        """
        found = load_state(self.path, self.model) if self.path else None
        if found is None:
            return
        progress, kept = found
        if progress["plan"] != self.plan:
            raise ArtifactError(
                str(self.path),
                "is the state of another compression. Delete it to train from "
                "the start",
            )
        self.epoch, self.done = progress["epoch"], progress["done"]
        self._waited = progress["waited"]
        self._best_epoch = progress["best_epoch"]
        if progress["scores"] is not None:
            name, before, best = progress["scores"]
            self.scores = (name, before, best)
            if best is not None:
                self._best = self._sign() * best
        if progress["tables"] is not None:
            tables: dict[str, dict[str, np.ndarray]] = {}
            for path, name in progress["tables"]:
                tables.setdefault(path, {})[name] = kept.pop(0)
            self._state = tables, kept
        self._restored = True

    def on_train_begin(self, logs: Any = None) -> None:
        if self._restored:
            return
        score = self._score() if self.scores_states else 0.0
        if np.isnan(score):
            raise TrainingDiverged(
                f"`{self._name()}` is {score} before training: look for NaN "
                "or infinity in features and labels of `validation_data`, and "
                "whether the model itself can be evaluated on it."
            )
        if self.scores_states:
            value = self._sign() * score
            self.scores = (self._name(), value, value)
        if not self.skip_start:
            self._best, self._state = score, self._snapshot()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch + 1
        # Without data the last state is the best.
        score = self._score() if self.scores_states else np.inf
        if self.scores_states and logs is not None:
            logs[self._name()] = self._sign() * score
        if score > self._best or not self.scores_states:
            self._best, self._state = score, self._snapshot()
            self._best_epoch = self.epoch
            self._waited = 0
        else:
            self._waited += 1
        self.done = self._waited >= self.patience
        if self.done:
            self.model.stop_training = True
        self._save()

    def on_train_end(self, logs: Any = None) -> None:
        # Another callback may have ended the training.
        if not self.done and getattr(self.model, "stop_training", False):
            self.done = True
            self._save()
        self.use_best()

    def use_best(self) -> None:
        """Gives the model its best dense weights; sets `tables`."""
        if self._state is None:
            self.tables = self._table_states()
            return
        if self.scores is not None:
            name, before, _ = self.scores
            self.scores = (name, before, self._sign() * self._best)
        self.tables, values = self._state
        for variable, value in zip(self._dense(), values, strict=True):
            variable.assign(value)

    def describe_best(self) -> str:
        """Which state is the best so far, in words."""
        when = f"after epoch {self._best_epoch}"
        if not self._best_epoch:
            when = "before training"
        if not self.scores_states:
            return when
        return f"{when} ({self._name()} {self._sign() * self._best:.6g})"

    def _name(self) -> str:
        return self.monitor if isinstance(self.monitor, str) else "score"

    def _save(self) -> None:
        if self.path is None:
            return
        tables, dense = self._state or ({}, [])
        names = [(path, name) for path in tables for name in tables[path]]
        scores: tuple[str, float, float | None] | None = self.scores
        if scores is not None:
            best = self._sign() * self._best if self._state else None
            scores = (*scores[:2], best)
        progress = {
            "plan": self.plan,
            "epoch": self.epoch,
            "done": self.done,
            "waited": self._waited,
            "best_epoch": self._best_epoch,
            "scores": scores,
            "tables": names if self._state else None,
        }
        arrays = [tables[path][name] for path, name in names]
        save_state(self.path, self.model, progress, [*arrays, *dense])

    def _sign(self) -> float:
        lower = isinstance(self.monitor, str) and minimized(self.monitor)
        return -1.0 if lower else 1.0

    def _score(self) -> float:
        """The monitored value, larger for better; NaN never wins."""
        if callable(self.monitor):
            return float(self.monitor(self.model))
        logs = self.model.evaluate(self.data, verbose=0, return_dict=True)
        key = self.monitor.removeprefix("val_")
        if key not in logs:
            raise ValueError(
                "`monitor` must be 'val_' and a name that `evaluate` "
                f"returns: {', '.join(sorted(logs))}. "
                f"Received: monitor={self.monitor!r}"
            )
        return self._sign() * float(logs[key])

    def _snapshot(self) -> Any:
        values = [variable.numpy() for variable in self._dense()]
        return self._table_states(), values

    def _table_states(self) -> dict[str, dict[str, np.ndarray]]:
        layers = dict(walk(self.model))
        return {path: layers[path].frozen_state() for path in self.quantized}

    def _dense(self) -> list[tf.Variable]:
        layers = dict(walk(self.model))
        tables = {
            id(raw(variable))
            for path in self.quantized
            for variable in layers[path].weights
        }
        return [
            raw(weight)
            for weight in self.model.weights
            # A Keras 2 lookup layer lists its vocabulary among the weights.
            if isinstance(weight, tf.Variable) or hasattr(weight, "value")
            if id(raw(weight)) not in tables
        ]
