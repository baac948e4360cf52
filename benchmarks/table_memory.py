"""Resident memory of a table and its optimizer state, in training.

    python -m benchmarks.table_memory --output table_memory.json

Each variant trains a table and one dense layer for a few steps, in a process
of its own; its memory is the process's anonymous resident memory after them,
less that of the same model with a table of one batch's rows. Rows: `variant`,
`rows`, `dim`, `resident_bytes`, `bytes_a_row`, `ratio` (to the full-precision
table with Adam).
"""

import functools
import multiprocessing
import pathlib
import re

from absl import app, flags

from benchmarks.environment import write_rows

FLAGS = flags.FLAGS

BATCH = 4096
STEPS = 5


def _table(rows, dim):
    from mec_tf.layers import TableEmbedding

    return TableEmbedding(rows, dim)


def _low_precision(rows, dim, bits, learned_steps, row_optimizer):
    from mec_tf.layers import LowPrecisionEmbedding

    return LowPrecisionEmbedding(
        rows,
        dim,
        bits=bits,
        learned_steps=learned_steps,
        row_optimizer=row_optimizer,
        seed=0,
    )


def _integers(bits, learned_steps, row_optimizer):
    return functools.partial(
        _low_precision,
        bits=bits,
        learned_steps=learned_steps,
        row_optimizer=row_optimizer,
    )


# Tables by variant; the first one's memory is what the others are compared to.
VARIANTS = {
    "full precision, Adam": _table,
    "ALPT 8 bit, row-wise Adagrad": _integers(8, True, "adagrad"),
    "ALPT 4 bit, row-wise Adagrad": _integers(4, True, "adagrad"),
    "ALPT 2 bit, row-wise Adagrad": _integers(2, True, "adagrad"),
    "ALPT 8 bit, SGD": _integers(8, True, "sgd"),
    "ALPT 8 bit, Adam": _integers(8, True, "adam"),
    "LPT 8 bit, row-wise Adagrad": _integers(8, False, "adagrad"),
}


def trained_bytes(variant: str, rows: int, dim: int) -> int:
    """Anonymous resident memory of this process after a few steps."""
    import numpy as np
    import tensorflow as tf

    from mec_tf.optimizers import LazyAdam
    from mec_tf.training import use_alpt

    table = VARIANTS[variant](rows, dim)
    model = tf.keras.Sequential([table, tf.keras.layers.Dense(1)])
    model.compile(LazyAdam(), "mse")
    if getattr(table, "learned_steps", False):
        use_alpt(model)
    rng = np.random.default_rng(0)
    ids = rng.integers(0, rows, STEPS * BATCH).astype(np.int32)
    targets = np.zeros((len(ids), 1), np.float32)
    # What initial values took on the way is then free for the optimizer.
    model(ids[:1])
    model.fit(ids, targets, batch_size=BATCH, verbose=0)
    status = pathlib.Path("/proc/self/status").read_text()
    found = re.search(r"RssAnon:\s+(\d+) kB", status)
    if found is None:
        raise RuntimeError("this system does not tell RssAnon")
    return int(found[1]) * 1024


def measure(rows: int, dim: int) -> list[dict]:
    """A row for every variant."""
    measured: list[dict] = []
    context = multiprocessing.get_context("spawn")
    for variant in VARIANTS:
        sizes = []
        for each in (rows, BATCH):
            with context.Pool(1) as pool:
                sizes.append(pool.apply(trained_bytes, (variant, each, dim)))
        used = sizes[0] - sizes[1]
        measured.append(
            {
                "variant": variant,
                "rows": rows,
                "dim": dim,
                "resident_bytes": used,
                "bytes_a_row": round(used / rows, 1),
                "ratio": used
                / (measured or [{"resident_bytes": used}])[0]["resident_bytes"],
            }
        )
        print(
            f"{variant}: {measured[-1]['bytes_a_row']} bytes a row, "
            f"{measured[-1]['ratio']:.2f} of full precision with Adam",
            flush=True,
        )
    return measured


def main(argv):
    del argv
    rows = measure(FLAGS.rows, FLAGS.dim)
    if FLAGS.output:
        write_rows(FLAGS.output, rows)


if __name__ == "__main__":
    flags.DEFINE_integer("rows", 4_000_000, "Rows of the table.")
    flags.DEFINE_integer("dim", 16, "Width of a vector.")
    flags.DEFINE_string("output", None, "Result file, JSON.")
    app.run(main)
