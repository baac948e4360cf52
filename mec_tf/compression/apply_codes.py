"""MEC's stage 2: another model on codes that are already learned."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from mec_tf.compression.batches import as_batches
from mec_tf.compression.embedding_codes import EmbeddingCodes
from mec_tf.compression.methods.method import policy_of
from mec_tf.compression.objective import compile_like, optimizer_like
from mec_tf.compression.rebuild import check_copy, rebuild
from mec_tf.compression.stored_table import StoredTable
from mec_tf.compression.tables import Table, find_tables, own_call
from mec_tf.layers import TableLayer


def apply_codes(
    model: tf.keras.Model,
    codes: EmbeddingCodes,
    train: Any,
    *,
    tables: Mapping[str, str] | None = None,
    trainable_codebooks: bool = False,
    model_fn: Callable[[], tf.keras.Model] | None = None,
) -> tf.keras.Model:
    """A copy of a model whose embedding tables are the given codes.

    The copy's other weights are the model's, freshly initialised where the
    model is not built yet; train them with `fit`. The full-precision tables
    of an unbuilt model never take memory. The model is unchanged.

    Codes learned with first-order columns (`additive_dim`, as of `DeepFM`)
    lose them in a model without; in one that has them, codes without get
    columns of zeros, which learn where `trainable_codebooks` is True.

    Args:
        model: a Keras model: functional, Sequential or subclassed; built or
            not, compiled (then the copy is compiled alike) or not.
        codes: what becomes its tables.
        train: batches to build the copy on: a `tf.data.Dataset` as `fit` takes
            it, or a tuple of arrays. Only the first batch is read.
        tables: `{path of a table in the model: name of a table in codes}`;
            other tables stay as they are. Default: every table of the model,
            by its path, which must be a name in `codes`.
        trainable_codebooks: whether the codebooks learn. Default False.
        model_fn: returns a new, unbuilt model of the same structure, where
            the model cannot be copied from its configuration.

    Returns:
        The copy, built.

    Raises:
        ValueError: if a table has no codes, codes of other rows or width, or
            the model cannot be copied.

    Example:
        >>> target = mec_tf.models.DCNv2({"user": 1000, "item": 500})
        >>> target = mec_tf.apply_codes(target, result.codes, train)

    Reference:
        "MEC" (arXiv 2502.15355), stage 2.
    """
    found = find_tables(model)
    chosen = _match(found, codes, tables)
    made = {
        table.path: functools.partial(
            _fitted(table, codes.table(name)).layer,
            trainable_codebooks=trainable_codebooks,
            mask_zero=getattr(table.layer, "mask_zero", False),
            oov=getattr(table.layer, "oov", "zero"),
            name=table.layer.name,
            dtype=policy_of(table.layer),
        )
        for table, name in chosen
    }
    batch = next(iter(as_batches(train)), None)
    if batch is None:
        raise ValueError("`train` must hold a batch. Received no data.")
    built = model.built and all(table.layer.built for table in found)
    if built:
        same = {t.path: functools.partial(_same, t.layer) for t in found}
        check_copy(model, rebuild(model, same, batch, model_fn), batch)
    target = rebuild(model, made, batch, model_fn, carry=built)
    if getattr(model, "optimizer", None) is not None:
        compile_like(model, target, optimizer_like(model))
    return target


def _same(layer: Any) -> Any:
    return layer


def _match(
    found: list[Table],
    codes: EmbeddingCodes,
    tables: Mapping[str, str] | None,
) -> list[tuple[Table, str]]:
    """Each table that gets codes, with their name."""
    fitting = {t.path: t for t in found if not own_call(t.layer)}
    if not fitting:
        raise ValueError(
            "`model` must hold an embedding table (tf.keras.layers.Embedding "
            "or a subclass). Received a model without one."
        )
    if tables is None:
        tables = {path: path for path in fitting}
        missing = [path for path in fitting if path not in codes]
        if missing:
            raise ValueError(
                "`codes` must hold every table of the model, or `tables` say "
                f"which takes which. Received no {', '.join(missing)}, but "
                f"{', '.join(codes.names)}"
            )
    unknown = [path for path in tables if path not in fitting]
    if unknown or not tables:
        raise ValueError(
            "`tables` must name tables of the model: "
            f"{', '.join(fitting)}. Received: {unknown}"
        )
    return [(fitting[path], name) for path, name in tables.items()]


def _fitted(table: Table, stored: StoredTable) -> StoredTable:
    """The stored table in the width of a model's table.

    Raises:
        ValueError: if rows or vectors are not the same.
    """
    extra = table.dim - stored.dim
    # Where all columns are sums, the last may or may not be first-order.
    summed = stored.additive_dim == stored.dim
    dropped = {-1} if summed else {-stored.additive_dim}
    if isinstance(table.layer, TableLayer):
        vector = table.dim - table.additive_dim
        fits = stored.dim - vector in (
            {0, 1} if summed else {stored.additive_dim}
        )
    else:  # a plain layer does not tell its first-order columns apart
        fits = extra in {0, *dropped}
    if stored.rows != table.rows or not fits:
        raise ValueError(
            f"`codes` do not fit the table {table.path}, which has "
            f"{_shape(table)}. Received: {_shape(stored)}"
        )
    return stored.with_columns(extra) if extra else stored


def _shape(table: Table | StoredTable) -> str:
    return (
        f"{table.rows} rows of {table.dim} columns, "
        f"{table.additive_dim} of them summed"
    )
