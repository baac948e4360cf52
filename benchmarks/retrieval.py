"""Recall of a two-tower model, compressed against full precision.

    export TF_USE_LEGACY_KERAS=1
    python -m benchmarks.retrieval --data interactions.txt.xz --output r.json

A TensorFlow Recommenders model (`tfrs.tasks.Retrieval`) learns which item a
user touches next from the items before; both towers share one item table.
Each user's last interaction is held out for test and the one before for
validation, of which a sample of users is used. The full-precision model is
tuned on the first seed by recall@100 on validation; `mec_tf.compress` goes on
from it, for each seed. Candidates are all items of the vocabulary that the
user's history does not hold.

Started again with the same `--output` it goes on where it stopped: rows in
the file are not measured again, weights of full-precision models are in
`--work_dir`.
"""

import dataclasses
import functools
import pathlib
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from absl import app, flags

import mec_tf
from benchmarks.environment import peak_rss, read_rows, write_rows
from benchmarks.summary import paired
from benchmarks.two_towers import (
    TowerSettings,
    TwoTowers,
    positives,
    recall_at,
)
from mec_tf import compression
from mec_tf.optimizers import LazyAdam

FLAGS = flags.FLAGS
# One after the other, each with the best of those before.
GRID = {
    "dim": (64, 128),
    "temperature": (0.1, 0.15, 0.2),
    "dropout": (0.2, 0.4),
    "l2": (0.0, 0.01),
    "learning_rate": (0.001, 0.002),
}
# What is left to learn is fine: at the rate of the training, codes flutter.
COMPRESSION_RATE = 0.0005
CODEBOOK_SIZE = 64  # leaves most bytes to codes
SPLITS = ("train", "validation", "test")
Examples = Mapping[str, np.ndarray]


class Retrieval:
    """The data of a run, and what is trained and measured on it.

    Args:
        path: an interaction log, `user item` a line.
        history_length: items of a history.
        batch_size: examples a step.
        epochs: most epochs of a training.
        patience: epochs without a better recall before it stops.
        validation_users: users that validation is measured on.
    """

    def __init__(
        self,
        path: str,
        history_length: int,
        batch_size: int,
        epochs: int,
        patience: int,
        validation_users: int,
    ):
        self.log = mec_tf.data.interactions(
            path, negatives=1, history_length=history_length
        )
        self.examples = {s: positives(self.log, s) for s in SPLITS}
        self.examples["validation"] = sample(
            self.examples["validation"], validation_users
        )
        self.popularity = np.bincount(
            self.examples["train"]["item"],
            minlength=self.log.vocabularies["item"].size,
        )
        self.batch_size = batch_size
        self.epochs = epochs
        self.patience = patience

    def make(self, settings: TowerSettings) -> TwoTowers:
        """A fresh model, compiled."""
        model = TwoTowers(self.popularity, settings)
        model.compile(LazyAdam(settings.learning_rate))
        return model

    def batches(self, seed: int) -> tf.data.Dataset:
        """Batches of training examples, shuffled anew at each pass."""
        train = self.examples["train"]
        data = tf.data.Dataset.from_tensor_slices(dict(train))
        data = data.shuffle(len(train["item"]), seed=seed)
        # In a small last batch there would be few negatives.
        return data.batch(self.batch_size, drop_remainder=True).prefetch(2)

    def recall(self, split: str, model: TwoTowers, k: int = 100) -> float:
        return recall_at(model, self.examples[split], k)

    def train(
        self, settings: TowerSettings, seed: int
    ) -> tuple[TwoTowers, float]:
        """A full-precision model at its best, and its validation recall."""
        tf.keras.utils.set_random_seed(seed)
        model, data = self.make(settings), self.batches(seed)
        best, weights, waited = -1.0, None, 0
        for _ in range(self.epochs):
            model.fit(data, verbose=0)
            recall = self.recall("validation", model)
            waited += 1
            if recall > best:
                best, weights, waited = recall, model.get_weights(), 0
            if waited == self.patience:
                break
        model.set_weights(weights)
        return model, best

    def compress(
        self,
        model: TwoTowers,
        policy: mec_tf.CompressionPolicy,
        seed: int,
    ) -> mec_tf.compression.CompressionResult:
        tf.keras.utils.set_random_seed(seed)
        return mec_tf.compress(
            model,
            self.batches(seed),
            policy=policy,
            epochs=self.epochs,
            patience=self.patience,
            optimizer=LazyAdam(COMPRESSION_RATE),
            monitor=functools.partial(self.recall, "validation"),
            verbose=0,
            model_fn=lambda: TwoTowers(self.popularity, model.settings),
        )

    def trained(
        self, settings: TowerSettings, seed: int, folder: pathlib.Path
    ) -> tuple[TwoTowers, float]:
        """As of `train`; once, whose result then stays in `folder`."""
        words = [f"{k}{v:g}" for k, v in dataclasses.asdict(settings).items()]
        path = folder / f"{'-'.join(words)}-seed{seed}.npz"
        if not path.exists():
            model, recall = self.train(settings, seed)
            folder.mkdir(parents=True, exist_ok=True)
            fresh = path.with_suffix(".fresh.npz")
            np.savez(fresh, *model.get_weights(), recall=recall)
            fresh.replace(path)
            return model, recall
        with np.load(path) as saved:
            model = self.make(settings)
            model({"history": self.examples["test"]["history"][:1]})
            model.set_weights(
                [saved[f"arr_{i}"] for i in range(len(saved) - 1)]
            )
            return model, float(saved["recall"])

    def scores(self, model: TwoTowers) -> dict[str, Any]:
        """Bytes of the item table, on disk too, and recall on test."""
        sizes = compression.model_bytes(model)
        query = {"history": self.examples["test"]["history"][:8]}
        with tempfile.TemporaryDirectory() as folder:
            exported = mec_tf.export.save(
                model, f"{folder}/1", example=query, warmup=()
            )
        return {
            "ratio": compression.full_bytes(model) / sum(sizes.values()),
            "bytes": sum(sizes.values()),
            "bytes_on_disk": exported.bytes_on_disk,
            "recall_at_100": self.recall("test", model),
            "recall_at_10": self.recall("test", model, 10),
        }


def sample(data: Examples, size: int) -> dict[str, np.ndarray]:
    """At most `size` of the examples, always the same."""
    order = np.random.default_rng(0).permutation(len(data["item"]))
    return {name: column[order[:size]] for name, column in data.items()}


def tuned(
    retrieval: Retrieval, measure: Callable[..., dict], folder: pathlib.Path
) -> TowerSettings:
    """The settings of the best validation recall, one tuned at a time."""
    best = TowerSettings()
    for name, values in GRID.items():
        found = []
        for value in values:
            settings = dataclasses.replace(best, **{name: value})

            def tune(settings: TowerSettings = settings) -> dict[str, Any]:
                return {"validation": retrieval.trained(settings, 0, folder)[1]}

            row = measure(
                "tuning", 0, tune, settings=dataclasses.asdict(settings)
            )
            found.append((row["validation"], value))
        best = dataclasses.replace(best, **{name: max(found)[1]})
    return best


def rotated(num_codes: int, rank: int) -> mec_tf.TableSettings:
    """Codes of rows on their `rank` strongest directions, balanced."""
    return mec_tf.TableSettings(
        num_codes, CODEBOOK_SIZE, quantizer="rotated", rank=rank
    )


def fifty(rows: int, dim: int) -> mec_tf.TableSettings:
    """51x at 22,438 rows of 128 floats.

    Items that are looked up most get most bits: an error of theirs costs most
    recall.
    """
    return mec_tf.TableSettings(
        dim // 32,
        CODEBOOK_SIZE,
        heads=(
            (rows // 10, rotated(dim // 4, dim // 2)),
            (rows * 4 // 15, rotated(dim // 8, dim * 3 // 8)),
        ),
    )


def twenty(rows: int, dim: int) -> mec_tf.TableSettings:
    """21x at 22,438 rows of 128 floats."""
    return dataclasses.replace(
        rotated(dim // 8, dim // 2),
        heads=((rows * 5 // 14, rotated(dim // 2, dim)),),
    )


# How the item table is compressed, by method.
LAYOUTS: dict[str, Callable[[int, int], mec_tf.TableSettings]] = {
    "mec": fifty,
    "mec, more bits": twenty,
}


def policy(
    method: str, rows: int, dim: int, seed: int
) -> mec_tf.CompressionPolicy:
    """How the item table is compressed; `method` is a key of `LAYOUTS`."""
    codes = LAYOUTS[method](rows, dim)
    return mec_tf.CompressionPolicy(tables={"items": codes}, seed=seed)


def report(rows: list[dict[str, Any]]) -> str:
    """Mean recall of both, and differences paired by seed."""
    found = {
        method: {row["seed"]: row for row in rows if row["method"] == method}
        for method in ("full", *LAYOUTS)
    }
    lines = []
    for method in LAYOUTS:
        least = min(row["ratio"] for row in found[method].values())
        lines.append(f"{method}: item table at least {least:.1f}x smaller")
        for k in (100, 10):
            full, mec = (
                {seed: row[f"recall_at_{k}"] for seed, row in by_seed.items()}
                for by_seed in (found["full"], found[method])
            )
            gap = paired([mec[seed] - full[seed] for seed in full])
            lines.append(
                f"  recall@{k} on test: full {np.mean(list(full.values())):.4f}"
                f", compressed {np.mean(list(mec.values())):.4f}, difference "
                f"{gap.mean:+.4f} ± {gap.sd:.4f}, {len(full)} seeds"
            )
    return "\n".join(lines)


def main(argv):
    del argv
    if not FLAGS.data or not FLAGS.output:
        raise app.UsageError("--data and --output must be given.")
    retrieval = Retrieval(
        FLAGS.data,
        FLAGS.history_length,
        FLAGS.batch_size,
        FLAGS.epochs,
        FLAGS.patience,
        FLAGS.validation_users,
    )
    folder = pathlib.Path(FLAGS.work_dir or f"{FLAGS.output}.work")
    rows = read_rows(FLAGS.output)

    def measure(method: str, seed: int, run: Callable, **key: Any) -> dict:
        key = {
            "dataset": retrieval.log.name,
            "backbone": "two_towers",
            "method": method,
            "seed": seed,
            **key,
        }
        for row in rows:
            if all(row.get(name) == value for name, value in key.items()):
                return row
        started = time.monotonic()
        row = {**key, **run()}
        row["seconds"] = round(time.monotonic() - started, 1)
        row["peak_rss"] = peak_rss()
        rows.append(row)
        write_rows(FLAGS.output, rows)
        print(row, flush=True)
        return row

    settings = tuned(retrieval, measure, folder)
    for seed in range(FLAGS.seeds):

        def full(seed: int = seed) -> dict[str, Any]:
            model, validation = retrieval.trained(settings, seed, folder)
            return {"validation": validation, **retrieval.scores(model)}

        def compressed(method: str, seed: int = seed) -> dict[str, Any]:
            model, _ = retrieval.trained(settings, seed, folder)
            how = policy(method, model.items.input_dim, settings.dim, seed)
            result = retrieval.compress(model, how, seed)
            return {
                "validation": result.report.score[2],
                "how": [table.how for table in result.report.tables],
                **retrieval.scores(result.model),
            }

        measure("full", seed, full)
        for method in LAYOUTS:
            measure(method, seed, functools.partial(compressed, method))
    print(report(rows))


if __name__ == "__main__":
    flags.DEFINE_string("data", None, "An interaction log, `user item` a line.")
    flags.DEFINE_integer("seeds", 3, "Seeds, from 0.")
    flags.DEFINE_integer("history_length", 10, "Items of a history.")
    flags.DEFINE_integer("batch_size", 1024, "Examples a step.")
    flags.DEFINE_integer("epochs", 25, "Most epochs of a training.")
    flags.DEFINE_integer("patience", 3, "Epochs without a better recall.")
    flags.DEFINE_integer("validation_users", 6000, "Users of validation.")
    flags.DEFINE_string("output", None, "Result file, JSON.")
    flags.DEFINE_string("work_dir", None, "Weights. Default: <output>.work.")
    app.run(main)
