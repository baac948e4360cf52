"""A callback for tests that cut a training off, or spoil it."""

from collections.abc import Callable

import tensorflow as tf


class AtEpoch(tf.keras.callbacks.Callback):
    """Calls `action(model)` when an epoch begins."""

    def __init__(self, epoch: int, action: Callable):
        super().__init__()
        self.epoch, self.action = epoch, action

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            self.action(self.model)


class Stop(Exception):
    """What `stop` raises."""


def stop(model):
    """An action that ends a training as a crash would."""
    raise Stop
