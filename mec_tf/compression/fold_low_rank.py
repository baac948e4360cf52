"""Low-rank tables folded into the dense layer that reads them."""

import functools
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.compression.objective import compile_like, optimizer_like
from mec_tf.compression.rebuild import rebuild
from mec_tf.compression.tables import walk
from mec_tf.layers import LowRankEmbedding, TableEmbedding
from mec_tf.layers.ids import OOV_ZERO
from mec_tf.layers.variables import raw


def fold_low_rank(model: tf.keras.Sequential, batch: Any) -> tf.keras.Model:
    """A copy of a Sequential model without the bases of its low-rank tables.

    Where a `LowRankEmbedding` is followed by `Flatten` and `Dense`, nothing
    but a linear map lies between a stored row and the dense layer: its basis
    and mean go into the kernel and bias, and the table answers the stored rows
    themselves. The copy answers alike, and reads `rank` (and first-order)
    columns for `output_dim`. Where ids out of range give zeros, not the mean
    (`oov="zero"`, the default), one more column, of ones, carries the mean; it
    is trained with the others if the copy is trained. In the ranking models of
    this package vectors also meet in products, so that folding would not be
    exact.

    Args:
        model: a built Sequential model; stays as it is.
        batch: `(x, y, ...)` or `x`, to build the copy on.

    Raises:
        TypeError: if `model` is not a Sequential model.
        ValueError: if there is nothing to fold, or a table that is followed so
            has float16 rows, which would become float32.
    """
    if not isinstance(model, tf.keras.Sequential):
        raise TypeError(
            "`model` must be a tf.keras.Sequential. Received: "
            f"{type(model).__name__}"
        )
    pairs = [
        (table, dense)
        for table, flatten, dense in zip(
            model.layers, model.layers[1:], model.layers[2:], strict=False
        )
        if isinstance(table, LowRankEmbedding)
        and isinstance(flatten, tf.keras.layers.Flatten)
        and type(dense) is tf.keras.layers.Dense
    ]
    if not pairs:
        raise ValueError(
            "`model` must hold a LowRankEmbedding before Flatten and Dense. "
            f"Received: {[type(layer).__name__ for layer in model.layers]}"
        )
    made: dict[str, Any] = {}
    for table, dense in pairs:
        _check(table)
        made[table.name] = functools.partial(_stored_rows, table)
        made[dense.name] = functools.partial(_dense, table, dense)
    copy = rebuild(model, made, batch)
    layers = dict(walk(copy))
    for table, dense in pairs:
        rows = raw(table.rows).numpy()
        ones = np.ones((len(rows), int(_has_ones(table))), rows.dtype)
        layers[table.name].set_weights([np.hstack([ones, rows])])
        layers[dense.name].set_weights(folded(table, dense))
        for layer in (table, dense):
            layers[layer.name].trainable = layer.trainable
    if getattr(model, "optimizer", None) is not None:
        compile_like(model, copy, optimizer_like(model))
    return copy


def folded(
    table: LowRankEmbedding, dense: tf.keras.layers.Dense
) -> list[np.ndarray]:
    """Weights of a dense layer that reads the table's stored rows."""
    low, extra = table.rank, table.additive_dim
    basis = np.zeros((low + extra, table.output_dim))
    basis[:low, : table.split_dim] = raw(table.basis).numpy()
    basis[low:, table.split_dim :] = np.eye(extra)
    mean = np.pad(raw(table.mean).numpy().astype(np.float64), (0, extra))
    kernel = raw(dense.kernel).numpy()
    kernel = kernel.reshape(-1, table.output_dim, dense.units)
    bias = np.zeros(dense.units)
    if dense.use_bias:
        bias += raw(dense.bias).numpy()
    if _has_ones(table):
        basis = np.vstack([mean, basis])
    else:
        bias += np.einsum("d,pdu->u", mean, kernel)
    kernel = np.einsum("rd,pdu->pru", basis, kernel).reshape(-1, dense.units)
    return [kernel, bias] if _has_bias(table, dense) else [kernel]


def _check(table: LowRankEmbedding) -> None:
    if table.row_dtype != "float32":
        raise ValueError(
            f"`model` must have float32 rows in {table.name}, as of "
            'LowRankSettings(row_dtype="float32"). '
            f"Received: row_dtype={table.row_dtype!r}"
        )


def _has_ones(table: LowRankEmbedding) -> bool:
    """Whether a first column of ones carries the mean of the folded table."""
    return table.oov == OOV_ZERO


def _stored_rows(table: LowRankEmbedding) -> TableEmbedding:
    return TableEmbedding(
        table.input_dim,
        table.rank + table.additive_dim + int(_has_ones(table)),
        additive_dim=table.additive_dim,
        private_rows=table.private_rows,
        mask_zero=table.mask_zero,
        oov=table.oov,
        name=table.name,
        dtype=table.dtype_policy.name,
    )


def _has_bias(table: LowRankEmbedding, dense: tf.keras.layers.Dense) -> bool:
    return dense.use_bias or not _has_ones(table)


def _dense(
    table: LowRankEmbedding, dense: tf.keras.layers.Dense
) -> tf.keras.layers.Dense:
    config = {**dense.get_config(), "use_bias": _has_bias(table, dense)}
    return tf.keras.layers.Dense.from_config(config)
