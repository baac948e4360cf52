"""One small table of every kind, under any out-of-range policy."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf import layers
from mec_tf.layers.variables import raw

ROWS, DIM, STORED = 23, 6, 9
WIDE = 10**12  # more ids than int32 has


@dataclasses.dataclass
class Subject:
    """A table, and what ids it is to be asked for.

    Args:
        name: of the kind of table.
        layer: built.
        oov: "zero", "error" or a row.
        call: ids to vectors, by the layer.
        input_dim: number of ids.
        pooled: whether the last axis of ids is summed.
        exact: whether vectors are read, not computed: the same bit for bit.
    """

    name: str
    layer: tf.keras.layers.Layer
    oov: str | int
    call: Callable[[Any], Any]
    input_dim: int = ROWS
    pooled: bool = False
    exact: bool = True


def table(seed: int = 0) -> np.ndarray:
    """Rows without a zero in them, float32 `[ROWS, DIM]`."""
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1, 1], (ROWS, DIM))
    return (signs * rng.uniform(0.1, 1, (ROWS, DIM))).astype(np.float32)


@functools.cache
def tables(oov: str | int) -> tuple[Subject, ...]:
    """All kinds of tables with one policy; the same ones each time."""
    return tuple(subjects(oov))


def subjects(oov: str | int) -> list[Subject]:
    """All kinds of tables with one policy."""
    shape = (ROWS, DIM)
    rare = {"private_rows": STORED, "oov": oov}
    whole = {"oov": oov}
    codes = layers.CodeLookupEmbedding.from_table
    integers = layers.IntegerEmbedding.from_table
    low = functools.partial(
        layers.LowPrecisionEmbedding, *shape, learned_steps=False
    )
    made = {
        "table": layers.TableEmbedding(*shape, **whole),
        "table, padding": layers.TableEmbedding(
            *shape, mask_zero=True, **whole
        ),
        "table, shared": layers.TableEmbedding(*shape, **rare),
        "product": layers.ProductQuantizedEmbedding(*shape, 3, 8, **whole),
        "product, shared": layers.ProductQuantizedEmbedding(
            *shape, 1, 4, additive_dim=1, **rare
        ),
        "residual": layers.ResidualQuantizedEmbedding(*shape, 2, 8, **whole),
        "codes": codes(table(), 3, 16, **whole),
        "codes, packed": codes(table(), 3, 5, bit_packed=True, **whole),
        "codes, rows share bytes": codes(
            table()[:STORED], 2, 4, bit_packed=True, input_dim=ROWS, **rare
        ),
        "codes, residual": codes(table(), 2, 16, quantizer="residual", **whole),
        "codes, rotated": codes(table(), 2, 16, quantizer="rotated", **whole),
        "tiers": _tiers(oov, None),
        "tiers, shared": _tiers(oov, STORED),
        "low precision": low(**whole),
        "low precision, 2 bits": low(bits=2, **rare),
        "integers": integers(table(), 8, **whole),
        "integers, 4 bits": integers(table(), 4, step_sizes="table", **whole),
        "low rank": layers.LowRankEmbedding(*shape, 3, **whole),
        "hash": layers.HashedEmbedding(*shape, 7, num_hashes=2, **whole),
        "hash, wide": layers.HashedEmbedding(WIDE, DIM, 7, **whole),
        "quotients": layers.QuotientRemainderEmbedding(*shape, 5, **whole),
    }
    computed = {"codes, rotated", "low rank"}
    found = [
        Subject(
            name,
            _filled(layer),
            oov,
            layer,
            layer.input_dim,
            exact=name not in computed,
        )  # fmt: skip
        for name, layer in made.items()
    ]
    return [*found, *_pooled(oov), *_fused(oov)]


def _tiers(oov: str | int, private: int | None) -> tf.keras.layers.Layer:
    stored = private or ROWS
    popular = layers.CodeLookupEmbedding.from_table(table()[:4], 3, 4)
    rare = layers.TableEmbedding(stored - 4, DIM)
    return layers.TieredEmbedding(
        ROWS, DIM, [popular, rare], oov=oov, private_rows=private
    )


def _pooled(oov: str | int) -> list[Subject]:
    tables = {
        "pooled table": _filled(layers.TableEmbedding(ROWS, DIM, oov=oov)),
        "pooled codes": layers.CodeLookupEmbedding.from_table(
            table(), 2, 16, oov=oov
        ),
    }
    found = []
    for name, inner in tables.items():
        layer = layers.PooledEmbedding(inner, "sum")
        layer(tf.zeros([1, 1], tf.int32))
        found.append(Subject(name, layer, oov, layer, pooled=True, exact=False))
    return found


def _fused(oov: str | int) -> list[Subject]:
    """Fields beside others of other sizes and policies."""
    # "error" is for all tables of a group or for none.
    other = "error" if oov == "error" else "zero"
    parts = {
        "rows": lambda **kw: layers.TableEmbedding(ROWS, DIM, **kw),
        "codes": lambda **kw: layers.CodeLookupEmbedding.from_table(
            table(), 3, 5, bit_packed=True, **kw
        ),
        "tiers": lambda oov: _tiers(oov, STORED),
    }
    tables = {}
    for name, make in parts.items():
        tables[f"{name} beside"] = _filled(make(oov=other))
        tables[name] = _filled(make(oov=oov))
    fields = layers.FieldEmbeddings(tables)
    fields({name: tf.zeros([1], tf.int32) for name in tables})
    fused = layers.FusedFieldEmbeddings.from_fields(fields)

    def asked(name: str) -> Callable[[Any], Any]:
        # The others get the same ids where theirs is the same range.
        return lambda ids: fused(dict.fromkeys(tables, ids))[name]

    return [Subject(f"fused {name}", fused, oov, asked(name)) for name in parts]


def _filled(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
    """The layer, built, no column of its rows zero where it is random."""
    layer(tf.zeros([1, 1], tf.int32))
    for place, weight in enumerate(layer.trainable_weights):
        variable = raw(weight)
        if variable.shape.rank == 2 and variable.dtype == tf.float32:
            rng = np.random.default_rng(place)
            variable.assign(rng.uniform(0.1, 1, variable.shape))
    return layer
