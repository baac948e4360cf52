"""New ids after freezing, against the unknown row and full retraining.

    python -m benchmarks.new_rows --output benchmarks/results/new_rows.json
    python -m benchmarks.new_rows --data FILE --feature item --output FILE

Holds 10% of the ids of one feature, spread over all popularities, out of
training: their examples are taken away, and the model is trained and
compressed without them. Then the ids are added by `fit_new_rows` on the
examples that were taken away. Compared on the test examples of these ids:

- "unknown": the compressed model before, which takes them for unknown;
- "new_rows": after `fit_new_rows`;
- "full" and "retrained": all examples from the start, at full precision, and
  compressed at the same ratio.

Full precision is trained at the L2 and learning rate given. The epochs of the
fit are chosen on validation examples of the new ids. Seeds that the output
holds already are not measured again.
"""

import copy
import dataclasses
import tempfile
import time
from typing import Any

import numpy as np
import tensorflow as tf
from absl import app, flags

import mec_tf
from benchmarks.environment import peak_rss, read_rows, write_rows
from mec_tf import compression, pipeline
from mec_tf.compression.tables import table_layers
from mec_tf.data import Log
from mec_tf.data.rows import Rows
from mec_tf.data.vocabulary import Vocabulary
from mec_tf.optimizers import LazyAdam
from mec_tf.training import FitSettings, evaluate, rank_auc

FLAGS = flags.FLAGS
GROUP = 10  # one id of so many is held out


def held_out_rows(size: int, seed: int) -> np.ndarray:
    """Rows of a vocabulary to hold out: one of ten by popularity, not 0."""
    rng = np.random.default_rng(seed)
    starts = np.arange(1, size, GROUP)
    drawn = starts + rng.integers(0, GROUP, len(starts))
    return drawn[drawn < size]


def renumbered(log: Log, feature: str, held: np.ndarray) -> Log:
    """The log with the held-out rows of a feature moved behind the others."""
    vocabulary = log.vocabularies[feature]
    kept = np.setdiff1d(np.arange(1, vocabulary.size), held)
    order = np.concatenate([[0], kept, held])
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order))
    moved = Vocabulary(
        vocabulary.values[order[1:] - 1], vocabulary.counts[order]
    )
    column = log.schema.categorical.index(feature)

    def change(rows: Rows) -> Rows:
        ids = np.array(rows.ids)
        ids[:, column] = place[ids[:, column]]
        return dataclasses.replace(rows, ids=ids)

    return _with(log, feature, moved, change)


def without_new(log: Log, feature: str, known: int) -> Log:
    """The log as it was before: no training example of rows from `known` on.

    In validation and test these rows are unknown.
    """
    vocabulary = log.vocabularies[feature]
    before = Vocabulary(
        vocabulary.values[: known - 1], vocabulary.counts[:known]
    )
    column = log.schema.categorical.index(feature)
    old = _with(log, feature, before, lambda rows: rows)
    for split in old.splits:
        rows = old._rows[split]
        ids = np.array(rows.ids)
        new = ids[:, column] >= known
        ids[new, column] = 0
        rows = dataclasses.replace(rows, ids=ids)
        old._rows[split] = _pick(rows, ~new) if split == "train" else rows
    # Popularity of the other columns, without what was taken away.
    ids = old._rows["train"].ids
    for place, name in enumerate(log.schema.categorical):
        present = old.vocabularies[name]
        counts = np.bincount(ids[:, place], minlength=present.size)
        old.vocabularies[name] = Vocabulary(present.values, counts)
    return old


def only_new(log: Log, feature: str, known: int) -> Log:
    """The examples of rows from `known` on."""
    column = log.schema.categorical.index(feature)
    return _with(
        log,
        feature,
        log.vocabularies[feature],
        lambda rows: _pick(rows, np.asarray(rows.ids)[:, column] >= known),
    )


def _with(log: Log, feature: str, vocabulary: Vocabulary, change: Any) -> Log:
    vocabularies = {c: log.vocabularies[c] for c in log.schema.categorical}
    rows = {split: change(log._rows[split]) for split in log.splits}
    return Log(
        log.name,
        log.schema,
        {**vocabularies, feature: vocabulary},
        log.numeric,
        rows,
    )


def _pick(rows: Rows, members: np.ndarray) -> Rows:
    return Rows(rows.ids[members], rows.numeric[members], rows.labels[members])


class BestRows(tf.keras.callbacks.Callback):
    """Keeps the new rows of the best validation AUC, fitted or not."""

    def __init__(self, log: Log):
        super().__init__()
        self.log = log
        self.best = -np.inf
        self.kept: Any = None
        self.aucs: list[float] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self._look()  # as unknown values are answered

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._look()

    def _look(self) -> None:
        self.aucs.append(evaluate(self.model, self.log, "validation").auc)
        if self.aucs[-1] > self.best:
            self.best = self.aucs[-1]
            self.kept = self.model.get_weights()

    def on_train_end(self, logs: Any = None) -> None:
        self.model.set_weights(self.kept)


def add_rows(
    model: tf.keras.Model, new: Log, feature: str, size: int, seed: int
) -> tuple[tf.keras.Model, dict[str, Any]]:
    """Fits and encodes; returns the model and what was chosen."""
    tf.keras.utils.set_random_seed(seed)
    best = BestRows(new)
    started = time.monotonic()
    steps = -(-new.num_rows("train") // FLAGS.batch_size)
    rate = tf.keras.optimizers.schedules.CosineDecay(
        FLAGS.fit_rate, steps * FLAGS.fit_epochs
    )
    grown = compression.fit_new_rows(
        model,
        {feature: size},
        new.dataset("train", FLAGS.batch_size, shuffle=True, seed=seed),
        counts={feature: new.counts[feature][-size:]},
        epochs=FLAGS.fit_epochs,
        optimizer=LazyAdam(rate),
        callbacks=[best],
        verbose=0,
    )
    return grown, {
        "seconds": round(time.monotonic() - started, 1),
        "fit_epochs": int(np.argmax(best.aucs)),
        "validation_aucs": best.aucs,
    }


def train(log: Log, seed: int) -> tuple[tf.keras.Model, Any, float]:
    """A full-precision model, its compressed form, and the seconds."""
    settings = FitSettings(
        learning_rate=FLAGS.learning_rate,
        embedding_l2=FLAGS.l2,
        batch_size=FLAGS.batch_size,
        epochs=FLAGS.epochs,
    )
    job = pipeline.RankingJob(
        FLAGS.backbone,
        settings=settings,
        policy=mec_tf.CompressionPolicy(ratio=FLAGS.ratio, seed=seed),
        seed=seed,
    )
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        full, _, _ = pipeline.train_full(job, log, folder, verbose=0)
    coded = pipeline.compress_full(job, full, log, settings, verbose=0).model
    return full, coded, round(time.monotonic() - started, 1)


def unchanged(old: Log, before: Any, after: Any, feature: str) -> bool:
    """Whether old ids answer the same, bit for bit, in table and model."""
    rows = old.vocabularies[feature].size
    tables = [
        next(
            layer
            for path, layer in table_layers(model).items()
            if path.split("/")[-1] == feature
        )
        for model in (before, after)
    ]
    answers = [table(np.arange(rows)).numpy() for table in tables]
    data = old.dataset("test", 8192)
    scores = [model.predict(data, verbose=0) for model in (before, after)]
    return bool(
        np.array_equal(*answers) and np.array_equal(scores[0], scores[1])
    )


def measure(log: Log, seed: int) -> list[dict[str, Any]]:
    """Rows of one seed."""
    feature = FLAGS.feature
    held = held_out_rows(log.vocabularies[feature].size, seed)
    log = renumbered(log, feature, held)
    known = log.vocabularies[feature].size - len(held)
    old, new = without_new(log, feature, known), only_new(log, feature, known)
    labels = new.labels("test")
    column = log.schema.categorical.index(feature)
    unknown = copy.copy(new)
    unknown._rows = dict(new._rows)
    ids = np.array(new._rows["test"].ids)
    ids[:, column] = 0
    unknown._rows["test"] = dataclasses.replace(new._rows["test"], ids=ids)
    rows: list[dict[str, Any]] = []

    def add(method: str, model: Any, data: Log, **values: Any) -> None:
        scores = model.predict(data.dataset("test", 8192), verbose=0)
        size = sum(compression.model_bytes(model).values())
        auc = rank_auc(labels, scores)
        rows.append(
            {
                "dataset": log.name,
                "backbone": FLAGS.backbone,
                "method": method,
                "seed": seed,
                "feature": feature,
                "new_ids": len(held),
                "examples": len(labels),
                "ratio": compression.full_bytes(model) / size,
                "bytes": size,
                "auc": auc,
                **values,
                "peak_rss": peak_rss(),
            }
        )
        print(f"seed {seed}: {method}: AUC {auc:.4f} on new ids", flush=True)

    _, coded, seconds = train(old, seed)
    add("unknown", coded, unknown, seconds=seconds)
    grown, chosen = add_rows(coded, new, feature, len(held), seed)
    same = unchanged(old, coded, grown, feature)
    add("new_rows", grown, new, **chosen, old_rows_unchanged=same)
    del grown, coded
    full, coded, seconds = train(log, seed)
    add("full", full, new, seconds=seconds)
    add("retrained", coded, new, seconds=seconds)
    return rows


def main(argv):
    del argv
    if not FLAGS.output:
        raise app.UsageError("--output must be given.")
    if FLAGS.data is None:
        log = mec_tf.data.flights()
    else:
        log = mec_tf.data.interactions(FLAGS.data)
    if FLAGS.feature not in log.schema.categorical:
        raise app.UsageError(
            f"--feature must be one of {', '.join(log.schema.categorical)}."
        )
    rows = read_rows(FLAGS.output)
    asked = (FLAGS.backbone, FLAGS.feature)
    if any((row["backbone"], row["feature"]) != asked for row in rows):
        raise app.UsageError(
            "--output holds rows of another backbone or feature."
        )
    done = {row["seed"] for row in rows}
    for seed in range(FLAGS.seeds):
        if seed in done:
            continue
        rows += measure(log, seed)
        write_rows(FLAGS.output, rows)
    for method in ("unknown", "new_rows", "full", "retrained"):
        aucs = [row["auc"] for row in rows if row["method"] == method]
        print(f"{method:10} AUC on new ids {np.mean(aucs):.4f}")
    kept = [r["old_rows_unchanged"] for r in rows if r["method"] == "new_rows"]
    print(f"old rows unchanged: {all(kept)}")


if __name__ == "__main__":
    flags.DEFINE_string(
        "data", None, "An interaction log `user item` a line. Default: flights."
    )
    flags.DEFINE_string("feature", "tailnum", "Whose ids are held out.")
    flags.DEFINE_string("backbone", "deepfm", "The model.")
    flags.DEFINE_float("ratio", 50.0, "Compression ratio.")
    flags.DEFINE_float("l2", 0.1, "Embedding L2 of the model.")
    flags.DEFINE_float("learning_rate", 0.001, "Of the training.")
    flags.DEFINE_integer("batch_size", 1024, "Examples a step.")
    flags.DEFINE_integer("epochs", 8, "Most epochs of a training.")
    flags.DEFINE_integer("fit_epochs", 10, "Most epochs of the fit.")
    flags.DEFINE_float("fit_rate", 0.002, "Learning rate of the fit.")
    flags.DEFINE_integer("seeds", 1, "Seeds, from 0.")
    flags.DEFINE_string("output", None, "Result file, JSON.")
    app.run(main)
