"""What a quantization-aware training step costs.

    python -m benchmarks.training --output training.json

One table serves all id columns of a small ranking model. Steps of each variant
are timed in turn, round by round, and medians are compared: `ratio` is the time
of a step over that of `reference`, at the same number of rows.

- `keras_adam`: `tf.keras.layers.Embedding` with Keras' Adam, which walks the
  whole table each step.
- `lazy`: a full-precision table with `LazyAdam`.
- `quantized`: `ProductQuantizedEmbedding` with `LazyAdam`.
"""

import statistics
import time

import numpy as np
import tensorflow as tf
from absl import app, flags

import mec_tf
from benchmarks.environment import peak_rss, write_rows

FLAGS = flags.FLAGS
flags.DEFINE_list("rows", ["100000", "1000000"], "Rows of the table.")
flags.DEFINE_integer("dim", 40, "Width of a vector.")
flags.DEFINE_integer("batch", 4096, "Examples a step.")
flags.DEFINE_integer("columns", 26, "Id columns of an example.")
flags.DEFINE_integer("subspaces", 2, "Codes a row.")
flags.DEFINE_list("variants", ["keras_adam", "lazy", "quantized"], "To time.")
flags.DEFINE_integer("rounds", 7, "Timed steps of each variant.")
flags.DEFINE_string("output", None, "Result file, JSON.", required=True)

REFERENCES = {"quantized": ("keras_adam", "lazy"), "lazy": ("keras_adam",)}


def make_table(variant: str, rows: int) -> tf.keras.layers.Layer:
    dim = FLAGS.dim
    if variant == "keras_adam":
        return tf.keras.layers.Embedding(rows, dim)
    if variant == "lazy":
        return mec_tf.layers.TableEmbedding(rows, dim)
    return mec_tf.layers.ProductQuantizedEmbedding(rows, dim, FLAGS.subspaces)


def make_step(variant: str, rows: int, ids: np.ndarray, labels: np.ndarray):
    """A function that runs one step, compiled and warm."""
    model = tf.keras.Sequential(
        [
            make_table(variant, rows),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(128, activation="relu"),
            tf.keras.layers.Dense(1),
        ]
    )
    adam = variant == "keras_adam"
    optimizer = tf.keras.optimizers.Adam if adam else mec_tf.optimizers.LazyAdam
    model.compile(
        optimizer(1e-3), tf.keras.losses.BinaryCrossentropy(from_logits=True)
    )

    def step() -> float:
        started = time.perf_counter()
        model.train_on_batch(ids, labels)
        return time.perf_counter() - started

    for _ in range(3):
        step()
    return step


def zipf_ids(rows: int, rng: np.random.Generator) -> np.ndarray:
    """Ids `[batch, columns]`, by popularity as in clicks: Zipf, 1.2."""
    shape = (FLAGS.batch, FLAGS.columns)
    ranks = rng.zipf(1.2, shape) - 1
    spread = np.where(ranks < rows, ranks, rng.integers(0, rows, shape))
    return spread.astype(np.int32)


def measure(rows: int) -> list[dict]:
    rng = np.random.default_rng(0)
    ids = zipf_ids(rows, rng)
    labels = rng.integers(0, 2, (FLAGS.batch, 1)).astype(np.float32)
    steps = {v: make_step(v, rows, ids, labels) for v in FLAGS.variants}
    times: dict[str, list[float]] = {variant: [] for variant in steps}
    for _ in range(FLAGS.rounds):
        for variant, step in steps.items():
            times[variant].append(step())
    medians = {v: statistics.median(t) for v, t in times.items()}
    results = []
    for variant, seconds in medians.items():
        for reference in REFERENCES.get(variant, ()):
            if reference not in medians:
                continue
            results.append(
                {
                    "rows": rows,
                    "dim": FLAGS.dim,
                    "batch": FLAGS.batch,
                    "columns": FLAGS.columns,
                    "unique_ids": len(np.unique(ids)),
                    "variant": variant,
                    "reference": reference,
                    "seconds_a_step": round(seconds, 5),
                    "per_second": round(FLAGS.batch / seconds, 1),
                    "ratio": round(seconds / medians[reference], 3),
                    "peak_rss": peak_rss(),
                }
            )
            print(
                f"{rows:>10,} rows: {variant} {1e3 * seconds:.1f} ms a step, "
                f"{results[-1]['ratio']:.2f} of {reference}",
                flush=True,
            )
    return results


def main(argv):
    del argv
    rows = []
    for size in FLAGS.rows:
        rows += measure(int(size))
        write_rows(FLAGS.output, rows)


if __name__ == "__main__":
    app.run(main)
