"""The objective of a compiled model, given to a copy of it."""

import numbers
from typing import Any

import tensorflow as tf

from mec_tf.optimizers import LazyAdagrad, LazyAdam
from mec_tf.optimizers.lazy_rows import refused_options

LAZY = {
    tf.keras.optimizers.Adam: LazyAdam,
    tf.keras.optimizers.Adagrad: LazyAdagrad,
}


def check_compiled(model: tf.keras.Model) -> None:
    """Raises ValueError unless the model was compiled."""
    if getattr(model, "_compile_config", None) is None:
        raise ValueError(
            "`model` must be compiled: its loss is what the compressed "
            "tables are trained for. Received a model that was not."
        )


def compile_like(
    source: tf.keras.Model,
    target: tf.keras.Model,
    optimizer: tf.keras.optimizers.Optimizer,
) -> None:
    """Compiles `target` with the losses and metrics of `source`."""
    settings = {
        key: value
        for key, value in source._compile_config.config.items()
        if value is not None
    }
    settings["optimizer"] = optimizer
    for key in ("metrics", "weighted_metrics"):
        if key in settings:
            settings[key] = _fresh(settings[key])
    settings.pop("run_eagerly", None)
    target.compile(**settings)
    # Else a model saved before it is trained again warns when it is loaded:
    # Keras builds the optimizer then, and finds less saved than it built.
    build = getattr(target.optimizer, "build", None)
    if build is not None:  # Keras 2's legacy optimizers have none
        build(target.trainable_variables)


def _fresh(metrics: Any) -> Any:
    """The same metrics without their state."""
    if isinstance(metrics, tf.keras.metrics.Metric):
        return type(metrics).from_config(metrics.get_config())
    if isinstance(metrics, dict) or hasattr(metrics, "keys"):
        return {key: _fresh(metrics[key]) for key in metrics.keys()}
    if isinstance(metrics, (list, tuple)):
        return [_fresh(metric) for metric in metrics]
    return metrics


def optimizer_like(
    source: tf.keras.Model, rate: float = 1.0
) -> tf.keras.optimizers.Optimizer:
    """A fresh optimizer of the model's kind; Adam and Adagrad become lazy.

    The lazy ones take the same steps for dense weights and leave rows that a
    batch does not touch alone, so that a step does not walk whole tables.
    Where the model's has an option that they refuse, it is kept as it is. A
    learning rate that is a number is multiplied by `rate`.
    """
    optimizer = getattr(source, "optimizer", None) or LazyAdam()
    config = optimizer.get_config()
    # Under mixed precision one that scales the loss is around it.
    inner = config.get("inner_optimizer", {}).get("config", config)
    if isinstance(inner.get("learning_rate"), numbers.Real):
        inner["learning_rate"] *= rate
    lazy = LAZY.get(type(optimizer))
    if lazy is None or refused_options(config):
        return type(optimizer).from_config(config)
    config.pop("name", None)
    config.pop("jit_compile", None)
    return lazy.from_config(config)
