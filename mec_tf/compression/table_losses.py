"""What each table's compression costs by itself."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.compression.batches import as_batches
from mec_tf.compression.rebuild import rebuild
from mec_tf.compression.tables import is_full_table, table_layers
from mec_tf.training.evaluation import log_loss, rank_auc

Score = Callable[[tf.keras.Model], Mapping[str, float]]


def table_losses(
    model: tf.keras.Model,
    compressed: tf.keras.Model,
    data: Any,
    *,
    score: Score | None = None,
    model_fn: Callable[[], tf.keras.Model] | None = None,
) -> dict[str, dict[str, float]]:
    """How scores change where one table alone is compressed.

    For each compressed table the full model is scored with that table in
    place of its own; all other tables and weights stay as they are. What the
    other weights would learn to make up for it does not enter, so the numbers
    say which table costs more than another, and need not sum to what the
    whole compression costs.

    Args:
        model: at full precision, as given to `compress`.
        compressed: the model that `compress` returned.
        data: examples to score on: a `tf.data.Dataset` of batches `(x, y)`,
            or a tuple of arrays.
        score: gives scores of a model by name. Default: "auc" and "log_loss"
            of a model of one binary label, on `data`.
        model_fn: as of `compress`.

    Returns:
        `{path of a table: {name of a score: compressed - full}}`. Give them to
        `CompressionReport.with_table_losses` to see them in the report.

    Raises:
        ValueError: if no table of `compressed` is a compressed one of
            `model`, or there is no data.

    Example:
        >>> result = mec_tf.compress(model, train)
        >>> losses = table_losses(model, result.model, valid)
        >>> print(result.report.with_table_losses(losses))
    """
    data = as_batches(data)
    batch = next(iter(data), None)
    if batch is None:
        raise ValueError("`data` must hold a batch. Received no data.")
    whole = table_layers(model)
    chosen = {
        path: layer
        for path, layer in table_layers(compressed).items()
        if path in whole and not is_full_table(layer)
    }
    if not chosen:
        raise ValueError(
            "`compressed` must hold compressed tables of `model`, whose "
            f"tables are {', '.join(whole)}. Received: "
            f"{', '.join(table_layers(compressed))}"
        )
    if score is None:
        score = functools.partial(
            binary_scores, data=data, from_logits=gives_logits(model)
        )
    before = score(model)
    losses = {}
    for path, layer in chosen.items():
        made = {path: functools.partial(lambda layer: layer, layer)}
        after = score(rebuild(model, made, batch, model_fn))
        losses[path] = {name: after[name] - before[name] for name in before}
    return losses


def binary_scores(
    model: tf.keras.Model, data: tf.data.Dataset, from_logits: bool
) -> dict[str, float]:
    """Exact "auc" and "log_loss" of a model of one binary label.

    Args:
        model: gives `[batch, 1]` or `[batch]`.
        data: batches `(x, y, ...)`.
        from_logits: whether the model gives logits, not probabilities.
    """
    labels, scores = zip(
        *(
            (np.ravel(y), np.ravel(model(x, training=False)))
            for x, y, *_ in data
        ),
        strict=True,
    )
    target, values = np.concatenate(labels), np.concatenate(scores)
    logits = values.astype(np.float64)
    if not from_logits:
        shares = np.clip(logits, 1e-7, 1.0 - 1e-7)
        logits = np.log(shares) - np.log1p(-shares)
    return {
        "auc": rank_auc(target, logits),
        "log_loss": log_loss(target, logits),
    }


def gives_logits(model: tf.keras.Model) -> bool:
    """Whether the model's compiled loss takes logits; True without one."""
    loss = getattr(model, "loss", None)
    if loss is None:
        return True
    config = loss.get_config() if hasattr(loss, "get_config") else {}
    return bool(config.get("from_logits", False))
