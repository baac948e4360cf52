"""What a quantization-aware training step costs.

    python -m benchmarks.training --output training.json

One table serves all id columns of a small ranking model. Steps of each variant
are timed in turn, round by round, and medians are compared:

- `keras_adam`: `tf.keras.layers.Embedding` with Keras' Adam, which walks the
  whole table each step; left out above `--plain_limit` rows, which would take
  12 bytes a number for its moments and updates.
- `lazy`: a full-precision table with `LazyAdam`.
- `quantized`: `ProductQuantizedEmbedding` with `LazyAdam`.

`per_second` counts examples. `ratio` is the time of a step over that of
`keras_adam`, `ratio_to_lazy` over that of `lazy`, of as many rows; `growth`
over that of the same variant with the fewest of `--rows`, which takes its turn
in each round. Below 1 is faster. `--rows 100000,1000000,4000000,10000000`
needs 11 GB of memory.
"""

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from absl import app, flags

import mec_tf
from benchmarks.environment import peak_rss, write_rows
from benchmarks.lookup import draw_ids

FLAGS = flags.FLAGS
PLAIN, LAZY, QUANTIZED = "keras_adam", "lazy", "quantized"
VARIANTS = (PLAIN, LAZY, QUANTIZED)
# Different ids each step: a table is larger than the cache.
BATCHES = 4
WARM_UP = 3

Step = Callable[[], float]
Batches = list[tuple[np.ndarray, np.ndarray]]


def define_flags() -> None:
    flags.DEFINE_list("rows", ["100000", "1000000"], "Rows of the table.")
    flags.DEFINE_integer("dim", 40, "Width of a vector.")
    flags.DEFINE_integer("batch", 4096, "Examples a step.")
    flags.DEFINE_integer("columns", 26, "Id columns of an example.")
    flags.DEFINE_integer("subspaces", 2, "Codes a row.")
    flags.DEFINE_integer("plain_limit", 4_000_000, "Most rows of keras_adam.")
    flags.DEFINE_integer("rounds", 9, "Timed steps of each variant.")
    flags.DEFINE_string("output", None, "Result file, JSON.", required=True)


def make_table(
    variant: str, rows: int, dim: int, subspaces: int
) -> tf.keras.layers.Layer:
    if variant == PLAIN:
        return tf.keras.layers.Embedding(rows, dim)
    if variant == LAZY:
        return mec_tf.layers.TableEmbedding(rows, dim)
    return mec_tf.layers.ProductQuantizedEmbedding(rows, dim, subspaces)


def make_step(
    variant: str, rows: int, dim: int, subspaces: int, batches: Batches
) -> Step:
    """A function that runs one step and returns its seconds; warm."""
    columns = batches[0][0].shape[1]
    model = tf.keras.Sequential(
        [
            tf.keras.Input((columns,), dtype=tf.int32),
            make_table(variant, rows, dim, subspaces),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(128, activation="relu"),
            tf.keras.layers.Dense(1),
        ]
    )
    plain = variant == PLAIN
    optimizer = (
        tf.keras.optimizers.Adam if plain else mec_tf.optimizers.LazyAdam
    )
    model.compile(
        optimizer(1e-3), tf.keras.losses.BinaryCrossentropy(from_logits=True)
    )
    done = 0

    def step() -> float:
        nonlocal done
        batch = batches[done % len(batches)]
        done += 1
        started = time.perf_counter()
        model.train_on_batch(*batch)
        return time.perf_counter() - started

    for _ in range(WARM_UP):
        step()
    return step


def make_batches(rows: int, batch: int, columns: int) -> Batches:
    """Ids by popularity as in clicks, and labels."""
    rng = np.random.default_rng(0)
    return [
        (
            draw_ids("zipf", rows, (batch, columns), rng),
            rng.integers(0, 2, (batch, 1)).astype(np.float32),
        )
        for _ in range(BATCHES)
    ]


def measure(
    rows: int,
    smallest: int,
    dim: int,
    batch: int,
    columns: int,
    subspaces: int,
    plain_limit: int,
    rounds: int,
) -> list[dict[str, Any]]:
    """Rows of the result, of one number of table rows."""
    steps: dict[tuple[int, str], Step] = {}
    unique = 0
    for size in dict.fromkeys((rows, smallest)):
        batches = make_batches(size, batch, columns)
        unique = unique or len(np.unique(batches[0][0]))
        for variant in VARIANTS:
            if variant == PLAIN and rows > plain_limit:
                continue
            steps[size, variant] = make_step(
                variant, size, dim, subspaces, batches
            )
    times: dict[tuple[int, str], list[float]] = {key: [] for key in steps}
    for _ in range(rounds):
        for key, step in steps.items():
            times[key].append(step())
    medians = {key: statistics.median(t) for key, t in times.items()}

    def against(seconds: float, size: int, variant: str) -> float | None:
        other = medians.get((size, variant))
        return round(seconds / other, 3) if other else None

    return [
        {
            "rows": rows,
            "dim": dim,
            "batch": batch,
            "columns": columns,
            "unique_ids": unique,
            "variant": variant,
            "seconds_a_step": round(seconds, 5),
            "per_second": round(batch / seconds, 1),
            "ratio": against(seconds, rows, PLAIN),
            "ratio_to_lazy": against(seconds, rows, LAZY),
            "growth": against(seconds, smallest, variant),
            "peak_rss": peak_rss(),
        }
        for (size, variant), seconds in medians.items()
        if size == rows
    ]


def main(argv: list[str]) -> None:
    del argv
    found: list[dict[str, Any]] = []
    sizes = [int(rows) for rows in FLAGS.rows]
    for size in sizes:
        fresh = measure(
            size,
            min(sizes),
            FLAGS.dim,
            FLAGS.batch,
            FLAGS.columns,
            FLAGS.subspaces,
            FLAGS.plain_limit,
            FLAGS.rounds,
        )
        for row in fresh:
            print(
                f"{row['rows']:>10,} rows: {row['variant']:<11}"
                f"{1e3 * row['seconds_a_step']:8.1f} ms a step, "
                f"{row['ratio']} of keras_adam, {row['ratio_to_lazy']} of "
                f"lazy, {row['growth']} of {min(sizes):,} rows",
                flush=True,
            )
        found += fresh
        write_rows(FLAGS.output, found)
        # Or the next tables would be made beside these.
        tf.keras.backend.clear_session()
        gc.collect()


if __name__ == "__main__":
    define_flags()
    app.run(main)
