"""What becomes of quality when only the rows of a batch are updated.

    python -m benchmarks.lazy_adam --output lazy_adam.json

Trains DeepFM on flights at full precision with Keras's `Adam`, which moves
every row at every step, and with `LazyAdam`; all else is the same, each has its
own best learning rate by validation AUC (with the first seed). `seconds` are
those of a training until it stops, evaluations included.
"""

import functools
import tempfile
import time
from typing import Any

import tensorflow as tf
from absl import app, flags

from benchmarks.environment import peak_rss, write_rows
from benchmarks.summary import paired
from mec_tf import data, pipeline
from mec_tf.optimizers import LazyAdam
from mec_tf.training import FitSettings, evaluate, fit

FLAGS = flags.FLAGS
OPTIMIZERS = {"adam": tf.keras.optimizers.Adam, "lazy_adam": LazyAdam}
RATES = (0.0005, 0.001, 0.002)


def define_flags() -> None:
    flags.DEFINE_integer("seeds", 3, "Seeds, from 0.")
    flags.DEFINE_float("embedding_l2", 0.1, "As the quickstart finds it.")
    flags.DEFINE_string("output", None, "Result file, JSON.", required=True)


def measure(
    log: data.Log, optimizer: str, rate: float, embedding_l2: float, seed: int
) -> dict[str, Any]:
    """A row of the result."""
    settings = FitSettings(rate, embedding_l2)
    job = pipeline.RankingJob(settings=settings, seed=seed)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        model, valid = fit(
            functools.partial(job.make_model, log),
            log,
            settings,
            folder,
            optimizer=OPTIMIZERS[optimizer],
            seed=seed,
            verbose=0,
        )
    seconds = round(time.monotonic() - started, 1)
    row = {
        "dataset": log.name,
        "backbone": job.backbone,
        "optimizer": optimizer,
        "learning_rate": rate,
        "seed": seed,
        **evaluate(model, log, "test").to_dict(),
        "validation_auc": valid.auc,
        "seconds": seconds,
        "peak_rss": peak_rss(),
    }
    print(row, flush=True)
    return row


def compare(seeds: int, embedding_l2: float, output: str) -> None:
    """Writes all rows, and prints how far the optimizers are apart."""
    log, rows = data.flights(), []
    best: dict[str, list[dict[str, Any]]] = {}
    for optimizer in OPTIMIZERS:
        tried = []
        for rate in RATES:
            tried.append(measure(log, optimizer, rate, embedding_l2, 0))
            rows.append(tried[-1])
            write_rows(output, rows)
        first = max(tried, key=lambda row: row["validation_auc"])
        best[optimizer] = [first]
        for seed in range(1, seeds):
            rate = first["learning_rate"]
            row = measure(log, optimizer, rate, embedding_l2, seed)
            best[optimizer].append(row)
            rows.append(row)
            write_rows(output, rows)
    pairs = zip(best["adam"], best["lazy_adam"], strict=True)
    gap = paired([lazy["auc"] - adam["auc"] for adam, lazy in pairs])
    print(f"test AUC, lazy less dense: {gap.mean:+.4f} ± {gap.sd:.4f}")


def main(argv: list[str]) -> None:
    del argv
    compare(FLAGS.seeds, FLAGS.embedding_l2, FLAGS.output)


if __name__ == "__main__":
    define_flags()
    app.run(main)
