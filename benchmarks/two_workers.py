"""Two worker processes train the quickstart's compressed tables as one does.

    python -m benchmarks.two_workers --output two_workers.json

The quickstart's model (flights, DeepFM) is trained at full precision once, for
the plan. The same model with quantized tables is then trained from scratch by
one process, and again by two processes on this machine under a
`MultiWorkerMirroredStrategy`, with the same plan, seeds and global batches: on
this log a warm start is at its best before any training, and would say
nothing of the workers. The result file holds a row each: quality on the test
days of the best state, validation AUC at each evaluation, bytes, seconds.
Seconds of workers that share cores say nothing of machines that do not.
"""

import json
import os
import pathlib
import pickle
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from typing import Any

import numpy as np
import tensorflow as tf
from absl import app, flags

import mec_tf
from benchmarks.environment import peak_rss, write_rows
from mec_tf import compression, data, pipeline
from mec_tf.training import FitSettings, evaluate
from mec_tf.training.evaluation import score

FLAGS = flags.FLAGS
flags.DEFINE_float("ratio", 50.0, "Bytes of all tables before / after.")
flags.DEFINE_integer("epochs", 8, "Passes over the data, at most.")
flags.DEFINE_integer("max_rows", 0, "Training rows a pass; 0 for all.")
flags.DEFINE_integer("seed", 0, "Of everything random.")
flags.DEFINE_string("stored_log", None, "A stored log. Default: flights.")
flags.DEFINE_string("work_dir", None, "Kept; default: a temporary folder.")
flags.DEFINE_string("output", None, "Result file, JSON.", required=True)
flags.DEFINE_boolean("worker", False, "Used by the program itself.")

WORKERS = 2
BATCH = 8192  # of evaluation


def log() -> data.Log:
    if FLAGS.stored_log:
        return data.Log.load(FLAGS.stored_log)
    return data.flights()


def job() -> pipeline.RankingJob:
    """As of `mec-tf quickstart`, with the settings that its tuning finds."""
    return pipeline.RankingJob(
        settings=FitSettings(
            learning_rate=0.001, embedding_l2=0.1, epochs=FLAGS.epochs
        ),
        policy=compression.CompressionPolicy(
            ratio=FLAGS.ratio, start="cold", seed=FLAGS.seed
        ),
        seed=FLAGS.seed,
    )


def full_model(flights: data.Log, folder: pathlib.Path) -> tf.keras.Model:
    """Trained at full precision, by the first that asks."""
    return pipeline.train_full(job(), flights, folder / "full", verbose=0)[0]


def validation_auc(model: tf.keras.Model, flights: data.Log) -> float:
    """On this process alone: `predict` would share batches out to workers."""
    answer = tf.function(lambda features: model(features, training=False))
    logits = [
        answer(features).numpy()
        for features, _ in flights.dataset("validation", BATCH)
    ]
    return score(flights.labels("validation"), np.concatenate(logits)).auc


def compressed(
    folder: pathlib.Path, strategy: tf.distribute.Strategy | None
) -> dict[str, Any]:
    """Compresses the full model; the row of the result file."""
    flights, ranking = log(), job()
    model = full_model(flights, folder)
    plan = pickle.loads((folder / "plan").read_bytes())
    settings = ranking.settings
    rows = flights.num_rows("train")
    steps = settings.steps(min(rows, FLAGS.max_rows or rows))
    course: list[float] = []

    def monitor(trained: tf.keras.Model) -> float:
        course.append(validation_auc(trained, flights))
        return course[-1]

    tf.keras.utils.set_random_seed(FLAGS.seed)
    started = time.monotonic()
    result = mec_tf.compress(
        model,
        flights.dataset(
            "train", settings.batch_size, shuffle=True, seed=FLAGS.seed + 1
        ),
        policy=ranking.policy,
        plan=plan,
        epochs=settings.epochs * settings.evaluations,
        steps_per_epoch=steps,
        patience=pipeline.PASSES_TO_WAIT * settings.evaluations,
        monitor=monitor,
        counts=pipeline.table_counts(model, flights),
        verbose=0,
        strategy=strategy,
    )
    return {
        "replicas": 1 if strategy is None else strategy.num_replicas_in_sync,
        "ratio": result.report.ratio,
        "bytes": result.report.bytes_after,
        **evaluate(result.model, flights, "test").to_dict(),
        "validation_auc": result.report.score[2],
        "validation_course": course,
        "steps_per_evaluation": steps,
        "seconds": round(time.monotonic() - started, 1),
        "peak_rss": peak_rss(),
    }


def work(folder: pathlib.Path) -> None:
    """What a worker process does: writes its row to the folder."""
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    row = {"method": f"worker {index}", **compressed(folder, strategy)}
    (folder / f"{index}.json").write_text(json.dumps(row))


def workers(folder: pathlib.Path) -> list[dict[str, Any]]:
    """Rows of the worker processes, each of which has the whole model."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(WORKERS)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in sockets]
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    command = [sys.executable, "-m", "benchmarks.two_workers", "--worker"]
    command += [f"--work_dir={folder}"]
    names = ("ratio", "epochs", "max_rows", "seed", "stored_log", "output")
    command += [
        f"--{name}={FLAGS[name].value}"
        for name in names
        if FLAGS[name].value is not None
    ]
    running = []
    for index in range(WORKERS):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": cluster, "task": task})
        environ = {**os.environ, "TF_CONFIG": config}
        running.append(subprocess.Popen(command, env=environ))
    try:
        codes = [each.wait() for each in running]
    finally:
        for each in running:
            each.kill()
    if any(codes):
        raise SystemExit(f"Workers ended with {codes}.")
    return [
        json.loads((folder / f"{index}.json").read_text())
        for index in range(WORKERS)
    ]


def measure(folder: pathlib.Path) -> list[dict[str, Any]]:
    """All rows, written to the result file."""
    flights, started = log(), time.monotonic()
    key = {"dataset": flights.name, "backbone": "deepfm", "seed": FLAGS.seed}
    model = full_model(flights, folder)
    full = evaluate(model, flights, "test").to_dict()
    seconds = round(time.monotonic() - started, 1)
    rows = [{**key, "method": "full", "ratio": 1.0, **full, "seconds": seconds}]
    plan = compression.make_plan(
        compression.find_tables(model),
        job().policy,
        pipeline.table_counts(model, flights),
        progress=False,
    )
    (folder / "plan").write_bytes(pickle.dumps(plan))
    print("Planned. Compressing by one process ...", flush=True)
    one = {"method": "one process", **compressed(folder, None)}
    print(f"{one}\nCompressing by {WORKERS} workers ...", flush=True)
    rows += [{**key, **row} for row in (one, *workers(folder))]
    write_rows(FLAGS.output, rows)
    return rows


def report(rows: list[dict[str, Any]]) -> str:
    """The lines that are printed at the end."""
    one = next(row for row in rows if row["method"] == "one process")
    lines = [
        f"{row['method']:12} {row['ratio']:5.1f}x  test AUC {row['auc']:.6f} "
        f"({row['auc'] - one['auc']:+.6f})  log-loss {row['log_loss']:.5f}  "
        f"{row['seconds']:.0f} s"
        for row in rows
    ]
    courses = [
        row["validation_course"] for row in rows if "validation_course" in row
    ]
    apart = np.ptp(courses, axis=0).max()
    lines.append(
        f"validation AUC at {len(courses[0])} evaluations: at most {apart:.6f} "
        "apart"
    )
    return "\n".join(lines)


def main(argv: list[str]) -> None:
    del argv
    if FLAGS.worker:
        work(pathlib.Path(FLAGS.work_dir))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(FLAGS.work_dir or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        print(report(measure(folder)))


if __name__ == "__main__":
    app.run(main)
