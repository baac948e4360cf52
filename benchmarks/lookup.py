"""How many rows a second embedding layers look up.

    python -m benchmarks.lookup --output lookup.json

One table: `batch * fields` ids at once, of `tf.keras.layers.Embedding`, of this
package's full-precision table and of the compressed one. Many tables: the same
rows split over `fields` tables, ids of each, vectors stacked; the layers of the
package once as separate lookups and once fused.

Layers of one table, or of many, take turns, round by round; `ratio` is their
median lookups per second over those of `Embedding`. `--rows 20000000` needs
14 GB of memory.
"""

import functools
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks.environment import write_rows
from mec_tf.layers import (
    CodeLookupEmbedding,
    FieldEmbeddings,
    FusedFieldEmbeddings,
    TableEmbedding,
)

FLAGS = flags.FLAGS
SUBSPACES, CODEBOOK_SIZE = 2, 256
REFERENCE = "Embedding"
# A timing of one call would measure the clock.
SECONDS = 0.02
BATCHES = 8
# Written once: random numbers would need as much memory again.
FILLED = {"embeddings_initializer": "ones"}

Look = Callable[[tf.Tensor], tf.Tensor]


def define_flags() -> None:
    flags.DEFINE_list("rows", ["100000", "1000000"], "Rows of all tables.")
    flags.DEFINE_integer("dim", 40, "Width of a vector.")
    flags.DEFINE_list("batch", ["64", "4096"], "Examples a request.")
    flags.DEFINE_integer("fields", 26, "Ids an example.")
    flags.DEFINE_list("ids", ["uniform", "zipf"], "Popularity of rows.")
    flags.DEFINE_list("mode", ["graph", "xla"], "How layers are run.")
    flags.DEFINE_integer("rounds", 9, "Timings of each layer.")
    flags.DEFINE_string("output", None, "Result file, JSON.", required=True)


def draw_ids(
    kind: str, rows: int, shape: Sequence[int], rng: np.random.Generator
) -> np.ndarray:
    """Ids "uniform", or "zipf" (1.2) with the popular rows first."""
    uniform = rng.integers(0, rows, shape)
    if kind == "uniform":
        return uniform.astype(np.int32)
    ranks = rng.zipf(1.2, shape) - 1
    return np.where(ranks < rows, ranks, uniform).astype(np.int32)


def compressed(rows: int, dim: int) -> CodeLookupEmbedding:
    """A table of random codes: their values do not change its speed."""
    rng = np.random.default_rng(rows)
    size = min(rows, CODEBOOK_SIZE)
    codes = rng.integers(0, size, (rows, SUBSPACES), np.uint16)
    books = rng.normal(size=(SUBSPACES, size, dim // SUBSPACES))
    return CodeLookupEmbedding.from_codes(codes, books)


def one_table(rows: int, dim: int) -> dict[str, Look]:
    layers = {
        REFERENCE: tf.keras.layers.Embedding(rows, dim, **FILLED),
        "TableEmbedding": TableEmbedding(rows, dim, **FILLED),
        "CodeLookupEmbedding": compressed(rows, dim),
    }
    for layer in layers.values():
        if not layer.built:
            layer.build((None,))
    return layers


def many_tables(rows: int, dim: int, fields: int) -> dict[str, Look]:
    """Layers that take ids `[batch, fields]`."""
    each = max(1, rows // fields)
    makers = {
        REFERENCE: functools.partial(tf.keras.layers.Embedding, **FILLED),
        "TableEmbedding": functools.partial(TableEmbedding, **FILLED),
        "CodeLookupEmbedding": compressed,
    }
    names = [f"field_{place}" for place in range(fields)]

    def looked_up(layer: Any) -> Look:
        return lambda ids: layer.stacked(
            dict(zip(names, tf.unstack(ids, axis=1), strict=True)),
            names,
            "float32",
        )[0][0]

    looks = {}
    for name, make in makers.items():
        layer = FieldEmbeddings({field: make(each, dim) for field in names})
        layer.build()
        looks[name] = looked_up(layer)
        if name != REFERENCE:
            fused = FusedFieldEmbeddings.from_fields(layer)
            looks[f"{name}, fused"] = looked_up(fused)
    return looks


def make_looks(rows: int, dim: int, tables: int) -> dict[str, Look]:
    if tables == 1:
        return one_table(rows, dim)
    return many_tables(rows, dim, tables)


def rates(
    looks: dict[str, Look], batches: list[tf.Tensor], rounds: int, xla: bool
) -> dict[str, float]:
    """Median lookups per second of each, timed in turn."""
    batch, *rest = batches[0].shape
    # A server's batches differ in size; XLA compiles for each.
    spec = tf.TensorSpec([batch if xla else None, *rest], tf.int32)
    runs, calls = {}, {}
    for name, look in looks.items():
        run = tf.function(look, input_signature=[spec], jit_compile=xla)
        run(batches[0])
        started = time.perf_counter()
        run(batches[0])
        once = time.perf_counter() - started
        runs[name], calls[name] = run, max(2, int(SECONDS / once))
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            run(batches[-1])  # after another layer the caches are cold
            started = time.perf_counter()
            for call in range(calls[name]):
                run(batches[call % len(batches)])
            times[name].append((time.perf_counter() - started) / calls[name])
    size = int(np.prod(batches[0].shape))
    return {name: size / statistics.median(t) for name, t in times.items()}


def measure(
    rows: int,
    dim: int,
    batch_sizes: Sequence[int],
    fields: int,
    kinds: Sequence[str],
    modes: Sequence[str],
    rounds: int,
) -> list[dict[str, Any]]:
    """Rows of the result, of one number of table rows."""
    rng = np.random.default_rng(0)
    found = []
    for tables in (1, fields):
        looks = make_looks(rows, dim, tables)
        for batch in batch_sizes:
            shape = (batch * fields,) if tables == 1 else (batch, fields)
            for kind in kinds:
                ids = [
                    tf.constant(draw_ids(kind, rows // tables, shape, rng))
                    for _ in range(BATCHES)
                ]
                for mode in modes:
                    rate = rates(looks, ids, rounds, mode == "xla")
                    found += [
                        {
                            "layer": name,
                            "tables": tables,
                            "rows": rows,
                            "dim": dim,
                            "batch": batch,
                            "fields": fields,
                            "ids": kind,
                            "mode": mode,
                            "lookups_per_second": round(value),
                            "ratio": round(value / rate[REFERENCE], 3),
                        }
                        for name, value in rate.items()
                    ]
        del looks  # before the next ones are made; functions are in cycles
        gc.collect()
    return found


def main(argv: list[str]) -> None:
    del argv
    rows: list[dict[str, Any]] = []
    for size in FLAGS.rows:
        fresh = measure(
            int(size),
            FLAGS.dim,
            [int(batch) for batch in FLAGS.batch],
            FLAGS.fields,
            FLAGS.ids,
            FLAGS.mode,
            FLAGS.rounds,
        )
        for row in fresh:
            print(
                f"{row['rows']:>10,} rows in {row['tables']:>2}, "
                f"{row['batch']:>5} x {row['fields']} {row['ids']:<8}"
                f"{row['mode']:<6}{row['layer']:<27}"
                f"{row['lookups_per_second'] / 1e6:8.1f} M/s"
                f"{row['ratio']:7.2f}",
                flush=True,
            )
        rows += fresh
        write_rows(FLAGS.output, rows)


if __name__ == "__main__":
    define_flags()
    app.run(main)
