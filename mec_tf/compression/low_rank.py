"""The dense layers of a whole model as products of thin ones."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from mec_tf.compression import ranks as choosing
from mec_tf.compression.batches import as_batches
from mec_tf.compression.dense_report import DenseReport
from mec_tf.compression.dense_statistics import (
    check_replaced,
    dense_layers,
    dense_statistics,
)
from mec_tf.compression.objective import compile_like, optimizer_like
from mec_tf.compression.rebuild import rebuild
from mec_tf.compression.tables import walk
from mec_tf.layers import LowRankDense
from mec_tf.layers.variables import raw


def low_rank_dense(
    model: tf.keras.Model,
    train: Any,
    *,
    ranks: int | Mapping[str, int] | None = None,
    kept_variance: float | None = None,
    ratio: float | None = None,
    inner_activation: Any = None,
    keep_first: bool = True,
    model_fn: Callable[[], tf.keras.Model] | None = None,
) -> tuple[tf.keras.Model, tuple[DenseReport, ...]]:
    """Decomposes the dense layers of a trained model.

    Each becomes a `LowRankDense` that keeps, of its outputs on the training
    data, the directions in which they vary most (atomic feature mimicking).
    A layer whose factors would not be smaller stays as it is. The caller's
    model is unchanged; fine-tune the one returned by `fit` where that helps.

    Exactly one of `ranks`, `kept_variance` and `ratio` says how far to go.

    Args:
        model: a built and trained model: functional, Sequential or
            subclassed.
        train: `tf.data.Dataset` of batches as `fit` takes it, or a tuple of
            arrays; read once, plus the first batch.
        ranks: the rank of every layer; or ranks by path, which are taken as
            they are, smaller or not, for these layers only.
        kept_variance: least share of each layer's variance to keep, in
            (0, 1].
        ratio: bytes of all dense layers now / then, those that are left alone
            counted in. Ranks are raised where that keeps most variance a
            byte.
        inner_activation: Keras activation between the factors, such as
            "relu"; then the model needs fine-tuning. Default: none.
        keep_first: whether the first dense layer of each owner (a tower, a
            cross network, a graph, a list, the model itself) stays as it is,
            unless `ranks` names it. Default True, as in the paper.
        model_fn: returns a new, unbuilt model of the same structure, where
            the model cannot be copied from its configuration.

    Returns:
        The new model, compiled as the given one is where that is compiled,
        and a `DenseReport` for every dense layer.

    Raises:
        ValueError: if an argument is out of its range, the model holds no
            dense layer or cannot be copied, or `ratio` cannot be met.

    Example:
        >>> smaller, layers = low_rank_dense(  # doctest: +SKIP
        ...     model, train, kept_variance=0.99
        ... )

    Reference:
        "Unified low-rank compression framework for click-through rate
        prediction" (arXiv 2405.18146).
    """
    layers = dense_layers(model)
    _check_arguments(layers, ranks, kept_variance, ratio)
    named = ranks if isinstance(ranks, Mapping) else None
    found = _candidates(layers, keep_first and named is None)
    train = as_batches(train)
    if named is not None:
        looked_at = list(named)
    else:
        looked_at = [y.path for y in found if not y.note and y.most_rank]
    statistics = dense_statistics(model, looked_at, train, model_fn)
    found = tuple(_noted_idle(layer, statistics) for layer in found)
    if ranks is not None:
        chosen = choosing.with_ranks(found, statistics, ranks)
    elif kept_variance is not None:
        chosen = choosing.keeping_variance(found, statistics, kept_variance)
    else:
        total = sum(layer.bytes_before for layer in found)
        budget = int(total / (ratio or 1.0))
        chosen = choosing.in_budget(found, statistics, budget)
    made = {
        layer.path: functools.partial(
            _factors,
            layers[layer.path],
            statistics[layer.path],
            layer.rank,
            inner_activation,
        )
        for layer in chosen
        if layer.rank is not None
    }
    copy = rebuild(model, made, next(iter(train)), model_fn)
    places = dict(walk(copy))
    check_replaced({path: places[path] for path in made}, LowRankDense)
    if getattr(model, "optimizer", None) is not None:
        compile_like(model, copy, optimizer_like(model))
    return copy, chosen


def _factors(dense, statistics, rank, inner_activation) -> LowRankDense:
    layer = LowRankDense.from_dense(
        dense, statistics, rank, inner_activation=inner_activation
    )
    layer.trainable = dense.trainable
    return layer


def _candidates(
    layers: Mapping[str, Any], keep_first: bool
) -> tuple[DenseReport, ...]:
    """All dense layers, with the reason noted where one must stay."""
    owners = set()
    found = []
    for path, layer in layers.items():
        owner = path.rpartition("/")[0]
        note = _own_reason(layer)
        if keep_first and owner not in owners:
            note = note or "left alone: the first of its owner"
        owners.add(owner)
        kernel = raw(layer.kernel)
        found.append(
            DenseReport(
                path,
                int(kernel.shape[0]),
                layer.units,
                layer.use_bias,
                note=note,
                item_bytes=kernel.dtype.size,
            )
        )
    return tuple(found)


def _own_reason(layer: Any) -> str:
    if isinstance(layer.activation, tf.keras.layers.Layer):
        return "left alone: its activation is a layer"
    if getattr(layer, "quantization_mode", None):
        return "left alone: it is quantized"
    return ""


def _noted_idle(layer: DenseReport, statistics: Mapping) -> DenseReport:
    found = statistics.get(layer.path)
    if found is None or found.count > 0:
        return layer
    note = "left alone: `train` never reaches it"
    return dataclasses.replace(layer, note=note)


def _check_arguments(layers, ranks, kept_variance, ratio) -> None:
    given = {
        name: value
        for name, value in (
            ("ranks", ranks),
            ("kept_variance", kept_variance),
            ("ratio", ratio),
        )
        if value is not None
    }
    if len(given) != 1:
        raise ValueError(
            "Exactly one of `ranks`, `kept_variance` and `ratio` must be "
            f"given. Received: {given}"
        )
    if not layers:
        raise ValueError(
            "`model` must hold a dense layer. Received a model without one."
        )
    if not all(layer.built for layer in layers.values()):
        raise ValueError(
            "`model` must be built and trained. Received a model that was "
            "not called on data yet."
        )
    if kept_variance is not None and not 0.0 < kept_variance <= 1.0:
        raise ValueError(
            "`kept_variance` must lie above 0 and at most at 1. "
            f"Received: kept_variance={kept_variance!r}"
        )
    if ratio is not None and not ratio >= 1.0:
        raise ValueError(
            f"`ratio` must be at least 1. Received: ratio={ratio!r}"
        )
    _check_ranks(layers, ranks)


def _check_ranks(layers: Mapping[str, Any], ranks: Any) -> None:
    if ranks is None:
        return
    by_path = ranks if isinstance(ranks, Mapping) else {"": ranks}
    for path, rank in by_path.items():
        if path and path not in layers:
            raise ValueError(
                f"`ranks` must name dense layers: {', '.join(layers)}. "
                f"Received: {path!r}"
            )
        most = layers[path].units if path else None
        if int(rank) != rank or rank < 1 or (most and rank > most):
            raise ValueError(
                "`ranks` must be integers between 1 and the layer's units"
                f"{f', {most}' if most else ''}. Received: {rank!r}"
            )
        if path and _own_reason(layers[path]):
            raise ValueError(
                f"`ranks` must name layers that can be replaced. Received "
                f"{path!r}, {_own_reason(layers[path])}"
            )
