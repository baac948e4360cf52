"""Ids that come after a table was frozen."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from mec_tf.compression.batches import as_batches
from mec_tf.compression.growing_table import GrowingTable
from mec_tf.compression.methods.method import policy_of
from mec_tf.compression.more_rows import (
    can_grow,
    cannot_grow,
    check_settings,
    encode_new_rows,
    finest_settings,
    same_rows,
)
from mec_tf.compression.objective import (
    check_compiled,
    compile_like,
    optimizer_like,
)
from mec_tf.compression.rebuild import rebuild
from mec_tf.compression.settings import TableSettings
from mec_tf.compression.tables import is_full_table, table_layers, walk
from mec_tf.layers.variables import KERAS_3

Layer: TypeAlias = tf.keras.layers.Layer


def grow(
    model: tf.keras.Model,
    vectors: Mapping[str, np.ndarray],
    data: Any,
    *,
    settings: Mapping[str, TableSettings] | None = None,
    counts: Mapping[str, np.ndarray] | None = None,
    model_fn: Callable[[], tf.keras.Model] | None = None,
) -> tf.keras.Model:
    """A copy of a compressed model whose tables have more rows.

    Args:
        model: built; stays as it is.
        vectors: `{path of a table, or its last part: float [new rows,
            dim]}`, encoded by `encode_new_rows`.
        data: a `tf.data.Dataset` of batches as `fit` takes it, or a tuple of
            arrays, to build the copy on.
        settings: by the same names, how to store the new rows; of
            `encode_new_rows`, as are the defaults.
        counts: by the same names, how often each new row occurs.
        model_fn: as of `compress`.

    Returns:
        The copy, compiled as the model is. Old ids get the same answers.

    Raises:
        ValueError: if there is no such table, or vectors do not fit it.
    """
    layers = {
        path: encode_new_rows(
            layer,
            vectors[name],
            (settings or {}).get(name),
            counts=(counts or {}).get(name),
        )
        for name, path, layer in _named(model, vectors)
    }
    grown = _with_layers(model, layers, data, model_fn)
    if getattr(model, "optimizer", None) is not None:
        compile_like(model, grown, optimizer_like(model))
    return grown


def fit_new_rows(
    model: tf.keras.Model,
    new_rows: Mapping[str, int],
    recent: Any,
    *,
    settings: Mapping[str, TableSettings] | None = None,
    counts: Mapping[str, np.ndarray] | None = None,
    epochs: int = 5,
    start_row: int | None = 0,
    optimizer: tf.keras.optimizers.Optimizer | None = None,
    model_fn: Callable[[], tf.keras.Model] | None = None,
    **fit_arguments: Any,
) -> tf.keras.Model:
    """Grows tables by rows that a short fit on recent examples finds.

    Only the float vectors of the new rows learn, by the model's own loss; all
    else stands still. Then they become a tier of their table, see
    `encode_new_rows`: codebooks that were learned for rare rows would cost
    new ones most of what the fit found. Only examples that hold a new id
    teach anything: leave out the others to save time.

    Args:
        model: compressed (or not), built and compiled; stays as it is.
        new_rows: `{path of a table, or its last part: number of new rows}`.
            The new ids of a table follow its present ones.
        recent: examples with new ids: a `tf.data.Dataset` of batches as `fit`
            takes it, or a tuple of arrays.
        settings: by the names of `new_rows`, how to store a table's new
            rows. Default: coded as finely as the finest of its tiers, or
            exact where that takes fewer bytes than codebooks.
        counts: by the same names, `[new rows]` times each occurs in `recent`:
            popular rows are then kept more exactly. Default: all alike.
        epochs: passes over them.
        start_row: the new rows start from this row's vector; by default row
            0, that of unknown values in `mec_tf.data.Vocabulary`. None:
            zeros. A row that no example holds stays there.
        optimizer: default: a fresh one like the model's, `LazyAdam` for
            Adam.
        model_fn: as of `compress`.
        **fit_arguments: of Keras's `fit`, such as `callbacks`,
            `validation_data`, `steps_per_epoch` or `verbose`.

    Returns:
        A grown, compiled copy. Old ids get the same answers.

    Raises:
        ValueError: if the model is not compiled, there is no such table or
            it cannot grow, or a number of rows is not positive.

    Example:
        >>> vocabulary = old.extended(new_values, new_counts)
        >>> grown = fit_new_rows(model, {"item": len(new_values)}, recent)
    """
    check_compiled(model)
    given = settings or {}
    growing: dict[str, GrowingTable] = {}
    stored: dict[str, TableSettings] = {}
    looked_up: dict[str, np.ndarray] = {}
    for name, path, layer in _named(model, new_rows):
        size = new_rows[name]
        if int(size) != size or size < 1:
            raise ValueError(
                "`new_rows` must give positive numbers. "
                f"Received: {name}={size}"
            )
        if not can_grow(layer):
            raise cannot_grow(layer)
        start = np.zeros((int(size), layer.output_dim), np.float32)
        if start_row is not None:
            start += layer(tf.constant([start_row])).numpy().astype(np.float32)
        chosen = given.get(name) or finest_settings(layer, int(size))
        if chosen is not None:
            if not is_full_table(layer):  # which takes rows as they are
                check_settings(layer, int(size), chosen)
            stored[path] = chosen
        if counts is not None and name in counts:
            looked_up[path] = counts[name]
        growing[path] = GrowingTable(
            same_rows(layer), start, name=layer.name, dtype=policy_of(layer)
        )
    recent = as_batches(recent)
    fitted = _with_layers(model, growing, recent, model_fn)
    # Before compiling: Keras 2 trains what could be trained then.
    _freeze_all_but(fitted, growing)
    compile_like(model, fitted, optimizer or optimizer_like(model))
    fitted.fit(recent, epochs=epochs, **{"shuffle": False, **fit_arguments})
    found = {path: layer.new_vectors() for path, layer in growing.items()}
    return grow(
        model,
        found,
        recent,
        settings=stored,
        counts=looked_up,
        model_fn=model_fn,
    )


def _named(model: tf.keras.Model, names: Mapping[str, Any]):
    """Name, path and layer of each table that is named."""
    layers = table_layers(model)
    named = []
    for name in names:
        paths = [p for p in layers if name in (p, p.split("/")[-1])]
        if name in layers:
            paths = [name]
        if len(paths) != 1:
            raise ValueError(
                f"There must be one table {name!r} in `model`, whose tables "
                f"are {', '.join(layers)}. Found: {len(paths)}"
            )
        named.append((name, paths[0], layers[paths[0]]))
    if not named:
        raise ValueError("At least one table must be named. Received none.")
    return named


def _with_layers(model, layers, data, model_fn):
    """A copy of the model with these layers at their paths."""
    batch = next(iter(as_batches(data)), None)
    if batch is None:
        raise ValueError("The data must hold a batch. Received none.")
    made = {
        path: functools.partial(lambda layer: layer, layer)
        for path, layer in layers.items()
    }
    copy = rebuild(model, made, batch, model_fn)
    if getattr(copy, "config_holds_tables", False):
        _carry_sizes(model, copy)
    return copy


def _carry_sizes(model: Any, copy: Any) -> None:
    """Features as large as their table was are as large as it is now.

    The models of this package keep the number of ids of every feature.
    """
    for feature, table in copy.field_embeddings.fields.items():
        before = model.field_embeddings.tables[table].input_dim
        if copy.categorical[feature] == before:
            grown = copy.field_embeddings.tables[table].input_dim
            copy.categorical[feature] = grown


def _freeze_all_but(model: tf.keras.Model, kept: Mapping[str, Layer]) -> None:
    for path, layer in [("", model), *walk(model)]:
        if path in kept or any(layer is other for other in kept.values()):
            continue
        prefix = f"{path}/" if path else ""
        if not any(name.startswith(prefix) for name in kept):
            if not any(path.startswith(f"{name}/") for name in kept):
                layer.trainable = False
            continue
        _freeze_own(layer)


def _freeze_own(layer: Layer) -> None:
    """Freezes a layer's own weights, not those of the layers it holds."""
    if KERAS_3:
        for variable in layer._trainable_variables:
            variable.trainable = False
    else:
        layer._non_trainable_weights.extend(layer._trainable_weights)
        layer._trainable_weights.clear()
