"""Where `compress` trains: on one replica, or under a strategy."""

import contextlib
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from mec_tf.compression.methods import Method
from mec_tf.layers.variables import KERAS_3


def strategy_scope(
    strategy: tf.distribute.Strategy | None,
    methods: Iterable[Method],
    folder: Any,
) -> contextlib.AbstractContextManager:
    """The scope that the trained copy of a model is made in.

    Args:
        strategy: as of `compress`; None is for one replica.
        methods: that the tables are compressed by.
        folder: as of `compress`.

    Raises:
        TypeError: if it is no strategy.
        ValueError: if it does not keep its replicas in step, or a method,
            `folder` or Keras does not go with it.
    """
    if strategy is None:
        return contextlib.nullcontext()
    if not isinstance(strategy, tf.distribute.Strategy):
        raise TypeError(
            "`strategy` must be a tf.distribute.Strategy. "
            f"Received: {type(strategy).__name__}"
        )
    name = type(strategy).__name__
    if isinstance(strategy, tf.distribute.ParameterServerStrategy):
        raise ValueError(
            "`strategy` must keep its replicas in step, as MirroredStrategy "
            "and MultiWorkerMirroredStrategy do: codes are learned from the "
            f"batch of all replicas. Received: {name}"
        )
    one_replica = strategy.num_replicas_in_sync == 1
    if not one_replica and not all(m.replicated for m in methods):
        raise ValueError(
            '`strategy` must have one replica where `policy` says "alpt", '
            'whose step sizes learn on one; "lpt" takes any. Received: '
            f"{name} of {strategy.num_replicas_in_sync} replicas"
        )
    if KERAS_3 and _workers(strategy) > 1:
        raise ValueError(
            "`strategy` must be of one process under Keras 3, whose `fit` "
            "cannot share a batch out to several. Set TF_USE_LEGACY_KERAS=1 "
            "before TensorFlow is imported. Received: "
            f"{name} of {_workers(strategy)} workers"
        )
    if folder is not None and _workers(strategy) > 1:
        raise ValueError(
            "`folder` needs a strategy of one process: of several, one may "
            "be cut off after another has written its state. Received: "
            f"{name} of {_workers(strategy)} workers"
        )
    return strategy.scope()


def _workers(strategy: tf.distribute.Strategy) -> int:
    return strategy.num_replicas_in_sync // len(
        strategy.extended.worker_devices
    )
