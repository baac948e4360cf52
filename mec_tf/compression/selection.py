"""Keeping the best state of a training on validation data."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.compression.tables import walk
from mec_tf.layers.variables import raw

# A monitored value is minimised if its name holds one of these.
MINIMIZED = (
    "loss", "error", "entropy", "divergence", "mse", "mae", "mape", "msle",
)  # fmt: skip


class KeepBest(tf.keras.callbacks.Callback):
    """Scores the model before training and after each epoch.

    Stops after `patience` epochs without a better state. At the end dense
    weights are those of the best state, and `tables` holds the `frozen_state`
    of each quantized table then (or now, without data): of a table only what
    freezing leaves is kept, so that a state takes no more memory than the
    compressed model.

    Args:
        data: validation batches; None, unless `monitor` is a function, to
            score nothing and keep the last state.
        monitor: name in the logs of `evaluate` after "val_", or a function
            of the model, maximised.
        patience: epochs.
        quantized: paths of the quantized tables.
        skip_start: whether the state before training is no candidate.
    """

    def __init__(
        self,
        data: Any,
        monitor: str | Callable[[Any], float],
        patience: int,
        quantized: list[str],
        skip_start: bool = False,
    ):
        super().__init__()
        self.data = data
        self.monitor = monitor
        self.patience = patience
        self.quantized = quantized
        self.skip_start = skip_start
        self.scores: tuple[str, float, float] | None = None
        self.scores_states = data is not None or callable(monitor)
        self._best = -np.inf
        self._waited = 0
        self._state: Any = None
        self.tables: dict[str, dict[str, np.ndarray]] = {}

    def on_train_begin(self, logs: Any = None) -> None:
        if not self.scores_states:
            return
        score = self._score()
        name = self.monitor if isinstance(self.monitor, str) else "score"
        self.scores = (name, self._sign() * score, self._sign() * score)
        if not self.skip_start:
            self._best, self._state = score, self._snapshot()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if not self.scores_states:
            return
        score = self._score()
        if logs is not None:
            name = self.monitor if isinstance(self.monitor, str) else "score"
            logs[name] = self._sign() * score
        if score > self._best:
            self._best, self._state = score, self._snapshot()
            self._waited = 0
            return
        self._waited += 1
        if self._waited >= self.patience:
            self.model.stop_training = True

    def on_train_end(self, logs: Any = None) -> None:
        if self._state is None or self.scores is None:
            self.tables = self._table_states()
            return
        name, before, _ = self.scores
        self.scores = (name, before, self._sign() * self._best)
        self.tables, values = self._state
        for variable, value in zip(self._dense(), values, strict=True):
            variable.assign(value)

    def _sign(self) -> float:
        lower = isinstance(self.monitor, str) and any(
            word in self.monitor for word in MINIMIZED
        )
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
