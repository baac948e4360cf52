"""Compression of tables of millions of rows: AUC, memory and time.

    python -m benchmarks.large_tables --output large_tables.json

Generates a Criteo-shaped log (`benchmarks.generate_log`), trains the
full-precision model (its L2 chosen on validation), and compresses it in a
process of its own, which loads the full model without its optimizer. Peak
memory of each process is its largest resident set.
"""

import dataclasses
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import tensorflow as tf
from absl import app, flags

import mec_tf
from benchmarks.environment import peak_rss, write_rows
from mec_tf import compression, pipeline
from mec_tf.training import FitSettings, evaluate

FLAGS = flags.FLAGS
flags.DEFINE_integer("rows", 3_000_000, "Examples.")
flags.DEFINE_integer("values", 10_000_000, "Possible values, all columns.")
flags.DEFINE_float("exponent", 0.9, "Of the Zipf popularity.")
flags.DEFINE_integer("dim", 16, "Width of a vector.")
flags.DEFINE_string("backbone", "deepfm", "Model.")
flags.DEFINE_list("ratios", ["200"], "Compression ratios.")
flags.DEFINE_list("l2", ["0.01", "0.1"], "Embedding L2 tried.")
flags.DEFINE_integer("epochs", 1, "Passes over the data, at most.")
flags.DEFINE_bool("distill", False, "Learn the full model's answers.")
flags.DEFINE_integer("seed", 0, "Seed.")
flags.DEFINE_string("work_dir", None, "Kept; default: a temporary folder.")
flags.DEFINE_string("output", None, "Result file, JSON.", required=True)
flags.DEFINE_string("stage", None, "Used by the program itself.")

COLUMNS = 26


def read(folder: pathlib.Path) -> mec_tf.data.Log:
    names = tuple(f"c{i}" for i in range(COLUMNS))
    return mec_tf.data.read_log(
        folder / "log.parquet",
        "label",
        cache_dir=folder / "log",
        schema=mec_tf.data.Schema("label", names, strings=()),
        progress=False,
    )


def job(ratio: float | None = None) -> pipeline.RankingJob:
    settings = FitSettings(
        batch_size=4096, epochs=FLAGS.epochs, evaluations=4, patience=2
    )
    return pipeline.RankingJob(
        FLAGS.backbone,
        {"embedding_dim": FLAGS.dim, "hidden_units": (128, 64)},
        settings,
        {"embedding_l2": [float(value) for value in FLAGS.l2]},
        compression.CompressionPolicy(ratio=ratio),
        FLAGS.seed,
        FLAGS.distill,
    )


def train(folder: pathlib.Path) -> dict:
    log = read(folder)
    started = time.monotonic()
    model, valid, settings = pipeline.train_full(
        job(), log, folder / "full", verbose=2
    )
    seconds = time.monotonic() - started
    model.save_weights(folder / "full.weights.h5")
    (folder / "l2").write_text(str(settings.embedding_l2))
    return {
        "method": "full",
        "ratio": 1.0,
        "bytes": compression.full_bytes(model),
        "table_rows": sum(v.size for v in log.vocabularies.values()),
        "examples": log.num_rows("train"),
        **evaluate(model, log, "test").to_dict(),
        "validation_auc": valid.auc,
        "seconds": round(seconds, 1),
        "peak_rss": peak_rss(),
    }


def compress(folder: pathlib.Path, ratio: float) -> dict:
    log = read(folder)
    todo = job(ratio)
    settings = dataclasses.replace(
        todo.settings, embedding_l2=float((folder / "l2").read_text())
    )
    model = todo.make_model(log, settings)
    model.compile(
        mec_tf.optimizers.LazyAdam(settings.learning_rate),
        tf.keras.losses.BinaryCrossentropy(from_logits=True),
    )
    model(next(iter(log.dataset("train", 2)))[0])
    model.load_weights(folder / "full.weights.h5")
    result = pipeline.compress_full(todo, model, log, settings, verbose=2)
    return {
        "method": "mec_distilled" if FLAGS.distill else "mec",
        "target_ratio": ratio,
        "ratio": compression.full_bytes(model) / result.report.bytes_after,
        "bytes": result.report.bytes_after,
        **evaluate(result.model, log, "test").to_dict(),
        "validation_auc": evaluate(result.model, log, "validation").auc,
        "seconds": result.report.seconds,
        "peak_rss": peak_rss(),
    }


def in_own_process(stage: str, folder: pathlib.Path) -> dict:
    """Runs a stage of this program; returns what it measured."""
    arguments = [a for a in sys.argv[1:] if not a.startswith("--work_dir")]
    subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.large_tables",
            *arguments,
            f"--work_dir={folder}",
            f"--stage={stage}",
        ],
        check=True,
    )
    return json.loads((folder / f"{stage}.json").read_text())


def run_stage(stage: str, folder: pathlib.Path) -> None:
    if stage == "read":
        read(folder)
        result = {"peak_rss": peak_rss()}
    elif stage == "train":
        result = train(folder)
    else:
        result = compress(folder, float(stage.removeprefix("compress-")))
    (folder / f"{stage}.json").write_text(json.dumps(result))


def generate(folder: pathlib.Path) -> None:
    subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.generate_log",
            f"--output={folder / 'log.parquet'}",
            f"--rows={FLAGS.rows}",
            f"--columns={COLUMNS}",
            f"--values={FLAGS.values}",
            f"--exponent={FLAGS.exponent}",
            f"--seed={FLAGS.seed}",
        ],
        check=True,
    )


def measure(folder: pathlib.Path) -> None:
    if not (folder / "log.parquet").exists():
        generate(folder)
    in_own_process("read", folder)
    stages = ["train", *(f"compress-{ratio}" for ratio in FLAGS.ratios)]
    key = {"dataset": "generated", "backbone": FLAGS.backbone}
    rows = []
    for stage in stages:
        rows.append(
            {**key, "seed": FLAGS.seed, **in_own_process(stage, folder)}
        )
        write_rows(FLAGS.output, rows)
        row = rows[-1]
        print(
            f"{stage}: {row['ratio']:.1f}x, test AUC {row['auc']:.4f}, "
            f"log-loss {row['log_loss']:.4f}, {row['seconds']} s, peak memory "
            f"{row['peak_rss'] / 1e9:.2f} GB",
            flush=True,
        )


def main(argv):
    del argv
    if FLAGS.stage:
        run_stage(FLAGS.stage, pathlib.Path(FLAGS.work_dir))
    elif FLAGS.work_dir:
        pathlib.Path(FLAGS.work_dir).mkdir(parents=True, exist_ok=True)
        measure(pathlib.Path(FLAGS.work_dir))
    else:
        with tempfile.TemporaryDirectory() as folder:
            measure(pathlib.Path(folder))


if __name__ == "__main__":
    app.run(main)
