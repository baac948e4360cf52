"""Stopping a training that is lost."""

from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.layers import QuantizedEmbedding
from mec_tf.layers.variables import raw
from mec_tf.training.logged_loss import logged_loss
from mec_tf.training.table_health import (
    Glance,
    collapsed,
    glance,
    quantized_tables,
)
from mec_tf.training.training_diverged import TrainingDiverged


class StopOnDivergence(tf.keras.callbacks.Callback):
    """Raises `TrainingDiverged` when a training is lost, with a remedy.

    That is when

    - the loss of a batch, or a weight at the end of an epoch, is NaN or
      infinite;
    - the loss exploded: it is more than `explosion` times that of the first
      batch, and more than `explosion`. Where most of it is the commitment
      loss of a table, the message names it;
    - the codes of a table collapsed: its perplexity fell under
      `collapse_share` of what it could be (`min(K, rows)`), while its codes
      answer worse than when training began. Tables of fewer than 8 rows or
      codes, and those collapsed from the start, are not judged.

    `fit` ends with the error, and the model has the weights of its best
    epoch; compile it again before it trains on, as the optimizer has not.

    Args:
        explosion: float above 1, default 1000.
        collapse_share: float in [0, 1], default 0.05. 0 does not look at
            codes; else some 4,096 rows of each quantized table are looked at
            after an epoch.
        restore: bool, whether weights are kept in memory after each epoch
            that is better than those before, by `val_loss`, or by `loss`
            where nothing is validated. Default True.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> stop = mec_tf.training.StopOnDivergence()
        >>> model.fit(train, callbacks=[stop])  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        explosion: float = 1000.0,
        collapse_share: float = 0.05,
        restore: bool = True,
    ):
        super().__init__()
        if not explosion > 1:
            raise ValueError(
                "`explosion` must be greater than 1. "
                f"Received: explosion={explosion}"
            )
        if not 0 <= collapse_share <= 1:
            raise ValueError(
                "`collapse_share` must lie between 0 and 1. "
                f"Received: collapse_share={collapse_share}"
            )
        self.explosion = explosion
        self.collapse_share = collapse_share
        self.restore = restore

    def on_train_begin(self, logs: Any = None) -> None:
        self._epoch = 0
        self._first: float | None = None
        self._start: dict[str, Glance] = {}
        if self.collapse_share:
            found = dict(quantized_tables(self.model))
            healths = {name: glance(table) for name, table in found.items()}
            self._start = {
                name: health
                for name, health in healths.items()
                if not collapsed(found[name], health, self.collapse_share)
            }
        self._best = np.inf
        self._state: list[np.ndarray] = []
        self._state_name = "before training"
        if self.restore:
            self._state = self.model.get_weights()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        loss = logged_loss(logs)
        if loss is None:
            return
        place = f"in epoch {self._epoch + 1}, batch {batch + 1}"
        if not np.isfinite(loss):
            self._stop(f"the loss is {loss} {place}. {self._remedy()}")
        if self._first is None:
            self._first = loss
        if loss > self.explosion * max(self._first, 1.0):
            self._stop(
                f"the loss rose from {self._first:.3g} to {loss:.3g} {place}. "
                f"{self._remedy_of_explosion(loss)}"
            )

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        name = _first_not_finite(self.model)
        if name is not None:
            self._stop(
                f"the weight {name} holds NaN or infinity after epoch "
                f"{epoch + 1}. {self._remedy()}"
            )
        for table, layer in quantized_tables(self.model):
            if table in self._start:
                self._check_codes(epoch, table, layer)
        score = (logs or {}).get("val_loss", logged_loss(logs))
        if self.restore and score is not None and score < self._best:
            self._best = score
            self._state = self.model.get_weights()
            self._state_name = f"after epoch {epoch + 1} (loss {score:.4g})"

    def _check_codes(
        self, epoch: int, name: str, layer: QuantizedEmbedding
    ) -> None:
        health = glance(layer)
        start = self._start[name]
        if (
            collapsed(layer, health, self.collapse_share)
            and health.distortion > start.distortion
        ):
            self._stop(
                f"the codes of {name} collapsed: after epoch {epoch + 1} "
                f"perplexity is {health.perplexity:.1f}, where it was "
                f"{start.perplexity:.1f}, and the squared error of a vector "
                f"{health.distortion:.3g}, where it was "
                f"{start.distortion:.3g}. Lower the learning rate or "
                "`commitment_weight`, raise `pwr_weight`, or re-seed codes by "
                "`CodebookHealth(reseed=True)`."
            )

    def _remedy(self) -> str:
        if self._first is None:
            return (
                "It was so from the start: look for NaN or infinity in "
                "features, labels, sample weights and initial weights."
            )
        return (
            f"It began at {self._first:.3g}: lower the learning rate, or set "
            "the optimizer's `clipnorm`; if one batch did it, look for NaN or "
            "infinity in features and labels."
        )

    def _remedy_of_explosion(self, loss: float) -> str:
        for name, layer in quantized_tables(self.model):
            share = layer.commitment_weight * glance(layer).distortion / loss
            if share > 0.5:
                return (
                    f"The commitment loss of {name} exploded: its rows run "
                    "away from their codes. Lower the learning rate, "
                    f"`commitment_weight` ({layer.commitment_weight:g}) or "
                    f"`ema_decay` ({layer.ema_decay:g})."
                )
        return (
            "Lower the learning rate, set the optimizer's `clipnorm`, or "
            "bring features and labels to a common scale."
        )

    def _stop(self, what: str) -> None:
        message = f"Training diverged: {what}"
        if self.restore:
            self.model.set_weights(self._state)
            message += (
                f" The model has its weights of {self._state_name} again."
            )
        raise TrainingDiverged(message)


def _first_not_finite(model: tf.keras.Model) -> str | None:
    """The name of a weight with NaN or infinity.

    Told by its sum: a table is read once, and no mask of it made.
    """
    for weight in model.weights:
        if not isinstance(weight, tf.Variable) and not hasattr(weight, "value"):
            continue  # a Keras 2 lookup layer lists its vocabulary
        variable = raw(weight)
        if variable.dtype.is_floating and not np.isfinite(
            tf.reduce_sum(tf.convert_to_tensor(variable))
        ):
            return getattr(weight, "path", weight.name)
    return None
