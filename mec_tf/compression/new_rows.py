"""Ids that come after a table was frozen."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from mec_tf.compression.batches import as_batches
from mec_tf.compression.growing_table import GrowingTable, table_codebooks
from mec_tf.compression.methods.method import policy_of
from mec_tf.compression.objective import (
    check_compiled,
    compile_like,
    optimizer_like,
)
from mec_tf.compression.rebuild import rebuild
from mec_tf.compression.tables import is_full_table, table_layers, walk
from mec_tf.layers import CodeLookupEmbedding, TieredEmbedding
from mec_tf.layers.nesting import build_inner
from mec_tf.layers.trained_rows import check_table
from mec_tf.layers.variables import KERAS_3, raw
from mec_tf.quantizers import encode_additive

Layer: TypeAlias = tf.keras.layers.Layer


def encode_new_rows(layer: Layer, vectors: np.ndarray) -> Layer:
    """A frozen table with more rows behind its present ones.

    The new rows get the nearest codes in the codebooks as they are; codes of
    present rows and codebooks stay bit-identical, and so do their answers.
    Of a `TieredEmbedding` the last tier grows. An exact table takes the
    vectors as they are.

    Rows that share row 0 (`private_rows`) lie between the stored rows and
    the new ones, so each of them is then stored, with the codes of row 0, or
    in a tier of their own with one bit each: answers stay, bytes grow.

    Args:
        layer: a built `CodeLookupEmbedding` or `TieredEmbedding` of frozen
            tiers; or an exact table, `TableEmbedding` or
            `tf.keras.layers.Embedding`.
        vectors: float `[new rows, output_dim]`.

    Returns:
        A new, built layer of the same class and settings, with
        `input_dim + new rows` rows. `layer` is unchanged.

    Raises:
        ValueError: if `vectors` has another shape or is not finite, or the
            layer cannot grow.

    Example:
        >>> table = np.random.default_rng(0).normal(size=(1000, 16))
        >>> layer = CodeLookupEmbedding.from_table(table[:900])
        >>> encode_new_rows(layer, table[900:]).input_dim
        1000
    """
    width = getattr(layer, "output_dim", None)
    if not layer.built or width is None:
        raise ValueError(
            f"`layer` must be a built table. Received: {layer.name}, of class "
            f"{type(layer).__name__}"
        )
    if np.ndim(vectors) != 2 or np.shape(vectors)[1] != width:
        raise ValueError(
            f"`vectors` must be [new rows, {width}]. "
            f"Received shape {np.shape(vectors)}"
        )
    check_table(vectors)
    vectors = np.asarray(vectors, np.float32)
    if not _can_grow(layer):
        raise _cannot_grow(layer)
    if isinstance(layer, CodeLookupEmbedding):
        return _more_codes(layer, vectors)
    if isinstance(layer, TieredEmbedding):
        config = layer.get_config()
        config.update(
            input_dim=layer.input_dim + len(vectors),
            private_rows=None,
            tiers=_more_tiers(layer, vectors),
        )
        grown = type(layer)(**config)
        build_inner(grown)
        return grown
    rows = np.concatenate([raw(layer.embeddings).numpy(), vectors])
    grown = _remade(layer, input_dim=len(rows))
    raw(grown.embeddings).assign(rows)
    return grown


def _cannot_grow(layer: Layer) -> ValueError:
    return ValueError(
        "`layer` must be a CodeLookupEmbedding, an exact table, or a "
        "TieredEmbedding of frozen tiers. "
        f"Received: {layer.name}, of class {type(layer).__name__}"
    )


def _can_grow(layer: Layer) -> bool:
    if isinstance(layer, TieredEmbedding):
        return _can_grow(layer.tiers[-1])
    if isinstance(layer, CodeLookupEmbedding):
        return True
    whole = not getattr(layer, "private_rows", None)
    return is_full_table(layer) and whole


def grow(
    model: tf.keras.Model,
    vectors: Mapping[str, np.ndarray],
    data: Any,
    *,
    model_fn: Callable[[], tf.keras.Model] | None = None,
) -> tf.keras.Model:
    """A copy of a compressed model whose tables have more rows.

    Args:
        model: built; stays as it is.
        vectors: `{path of a table, or its last part: float [new rows,
            dim]}`, encoded by `encode_new_rows`.
        data: a `tf.data.Dataset` of batches as `fit` takes it, or a tuple of
            arrays, to build the copy on.
        model_fn: as of `compress`.

    Returns:
        The copy, compiled as the model is. Old ids get the same answers.

    Raises:
        ValueError: if there is no such table, or vectors do not fit it.
    """
    layers = {
        path: encode_new_rows(layer, vectors[name])
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
    epochs: int = 5,
    start_row: int | None = 0,
    optimizer: tf.keras.optimizers.Optimizer | None = None,
    model_fn: Callable[[], tf.keras.Model] | None = None,
    **fit_arguments: Any,
) -> tf.keras.Model:
    """Grows tables by rows that a short fit on recent examples finds.

    Only the float vectors of the new rows learn, by the model's own loss and
    in the forward pass quantized by the codebooks as they are; all else
    stands still. Then they are encoded, see `encode_new_rows`. Only
    examples that hold a new id teach anything: leave out the others to save
    time.

    Args:
        model: compressed (or not), built and compiled; stays as it is.
        new_rows: `{path of a table, or its last part: number of new rows}`.
            The new ids of a table follow its present ones.
        recent: examples with new ids: a `tf.data.Dataset` of batches as `fit`
            takes it, or a tuple of arrays.
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
    growing = {}
    for name, path, layer in _named(model, new_rows):
        size = new_rows[name]
        if int(size) != size or size < 1:
            raise ValueError(
                "`new_rows` must give positive numbers. "
                f"Received: {name}={size}"
            )
        if not _can_grow(layer):
            raise _cannot_grow(layer)
        start = np.zeros((int(size), layer.output_dim), np.float32)
        if start_row is not None:
            start += layer(tf.constant([start_row])).numpy().astype(np.float32)
        growing[path] = GrowingTable(
            _same_rows(layer), start, name=layer.name, dtype=policy_of(layer)
        )
    recent = as_batches(recent)
    fitted = _with_layers(model, growing, recent, model_fn)
    # Before compiling: Keras 2 trains what could be trained then.
    _freeze_all_but(fitted, growing)
    compile_like(model, fitted, optimizer or optimizer_like(model))
    fitted.fit(recent, epochs=epochs, **{"shuffle": False, **fit_arguments})
    found = {path: layer.new_vectors() for path, layer in growing.items()}
    return grow(model, found, recent, model_fn=model_fn)


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


def _more_tiers(layer: TieredEmbedding, vectors: np.ndarray) -> list[Layer]:
    """The tiers of a table with new rows."""
    *kept, last = layer.tiers
    tiers = [_same_rows(tier) for tier in kept]
    shared = layer.input_dim - layer.stored_rows
    if not shared:
        return [*tiers, encode_new_rows(last, vectors)]
    names = [f"{last.name}_{end}" for end in ("shared", "new")]
    first = layer.tiers[0].lookup(tf.constant([0]), False).numpy()
    with tf.init_scope():
        repeated = CodeLookupEmbedding.from_codes(
            np.zeros((shared, 1), np.uint8),
            np.pad(
                np.asarray(first, np.float32)[None], [(0, 0), (0, 1), (0, 0)]
            ),
            bit_packed=True,
            name=names[0],
            dtype=policy_of(last),
        )
    if isinstance(last, CodeLookupEmbedding):
        new = _with_codes(last, _new_codes(last, vectors), name=names[1])
    else:
        new = _remade(last, input_dim=len(vectors), name=names[1])
        raw(new.embeddings).assign(vectors)
    return [*tiers, _same_rows(last), repeated, new]


def _more_codes(
    layer: CodeLookupEmbedding, vectors: np.ndarray
) -> CodeLookupEmbedding:
    present = layer.row_codes()
    sharing = np.repeat(present[:1], layer.input_dim - len(present), axis=0)
    new = _new_codes(layer, vectors).astype(present.dtype)
    return _with_codes(layer, np.concatenate([present, sharing, new]))


def _new_codes(layer: CodeLookupEmbedding, vectors: np.ndarray) -> np.ndarray:
    """The nearest codes `[n, M]` in the layer's codebooks."""
    books, rotation = table_codebooks(layer)
    if rotation is not None:
        split = layer.output_dim - layer.additive_dim
        turned = vectors[:, :split] @ rotation.numpy()
        vectors = np.concatenate([turned, vectors[:, split:]], axis=1)
    return encode_additive(vectors, books.numpy(), layer.additive_dim)


def _with_codes(
    layer: CodeLookupEmbedding, codes: np.ndarray, **changes: Any
) -> CodeLookupEmbedding:
    """The layer with these codes `[rows, M]` in place of its own."""
    books = raw(layer.codebooks).numpy()
    books = books.reshape(layer.num_subspaces, layer.codebook_size, -1)
    rotation = raw(layer.rotation).numpy() if layer.rotated else None
    config = layer.get_config()
    for name in ("num_subspaces", "codebook_size", "rotated", "rank"):
        del config[name]
    config.update(input_dim=len(codes), private_rows=None, **changes)
    with tf.init_scope():
        return CodeLookupEmbedding.from_codes(codes, books, rotation, **config)


def _same_rows(layer: Layer) -> Layer:
    """A built layer of the same settings and weights."""
    copy = _remade(layer)
    for ours, theirs in zip(layer.weights, copy.weights, strict=True):
        raw(theirs).assign(raw(ours))
    return copy


def _remade(layer: Layer, **changes: Any) -> Layer:
    """A built layer of the same settings but for `changes`, unfilled."""
    with tf.init_scope():
        made = type(layer).from_config({**layer.get_config(), **changes})
        build_inner(made, (None,))
    return made
