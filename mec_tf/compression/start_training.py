"""The model that `compress` trains."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from mec_tf.compression.methods import Method
from mec_tf.compression.objective import compile_like, optimizer_like
from mec_tf.compression.plan import CompressionPlan
from mec_tf.compression.policy import CompressionPolicy
from mec_tf.compression.rebuild import rebuild
from mec_tf.compression.tables import Table, walk


def start_training(
    model: tf.keras.Model,
    chosen: list[Table],
    methods: Mapping[str, Method],
    planned: CompressionPlan,
    policy: CompressionPolicy,
    counts: Mapping[str, np.ndarray],
    first: Any,
    model_fn: Callable[[], tf.keras.Model] | None,
    optimizer: Any,
    *,
    fresh: bool = False,
    show: bool = False,
) -> tf.keras.Model:
    """The model that is trained, compiled, its tables started.

    With `fresh` it has a new optimizer like the given one, whose variables
    may be of one replica.
    """
    training = rebuild(
        model,
        {
            t.path: functools.partial(
                _trainable, methods[t.path], t, planned, policy
            )
            for t in chosen
        },
        first,
        model_fn,
        carry=not policy.anew,
    )
    layers = dict(walk(training))
    for table in tqdm(chosen, desc="Starting tables", disable=not show):
        layer = layers[table.path]
        if policy.anew:
            layer.add_counts(counts[table.path])
        else:
            layer.warm_start(
                table.values(), counts[table.path], seed=policy.seed
            )
    if optimizer is None:
        optimizer = optimizer_like(model)
    elif fresh:
        optimizer = type(optimizer).from_config(optimizer.get_config())
    compile_like(model, training, optimizer)
    return training


def _trainable(
    method: Method,
    table: Table,
    planned: CompressionPlan,
    policy: CompressionPolicy,
) -> Any:
    layer = method.trainable(table, planned[table.path].settings, policy)
    layer.trainable = table.layer.trainable
    return layer
