"""Trainings that can be killed and started again, for `interruptions`.

Each takes a folder for its state and returns everything that it learned.
"""

import inspect
import json
import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from mec_tf import data, layers, pipeline
from mec_tf.compression import CompressionPolicy
from mec_tf.layers.variables import raw
from mec_tf.optimizers import LazyAdam
from mec_tf.training import FitSettings, fit
from mec_tf.training.training_state import state_variables

Arrays = dict[str, np.ndarray]

ROWS, VALUES, DIM = 6000, 400, 8
FEATURES = ("a", "b", "c", "d")
STARTS = "starts.txt"


def with_backup(folder: pathlib.Path, epochs: int) -> Arrays:
    """A plain `fit` with Keras's `BackupAndRestore`.

    Without dropout, whose state Keras 3 leaves out of its files
    (keras-team/keras#19796).
    """
    log = make_log()
    model = make_model(log)
    model.compile(
        LazyAdam(0.01), tf.keras.losses.BinaryCrossentropy(from_logits=True)
    )
    options = {"delete_checkpoint": False}
    backup = tf.keras.callbacks.BackupAndRestore
    if "double_checkpoint" in inspect.signature(backup).parameters:
        options["double_checkpoint"] = True
    model.fit(
        log.dataset("train", 128),
        epochs=epochs,
        shuffle=False,
        callbacks=[
            backup(str(folder / "backup"), **options),
            Starts(folder),
        ],
        verbose=0,
    )
    return numbered("variable", state_variables(model))


def with_own_state(folder: pathlib.Path, epochs: int) -> Arrays:
    """`mec_tf.training.fit` of the same model."""
    log = make_log()
    settings = FitSettings(0.01, 0.0, 128, epochs // 2, 2, patience=epochs)
    note_state(folder, folder / "fit" / "state.npz")
    model, scores = fit(
        lambda _: make_model(log, dropout=0.1),
        log,
        settings,
        folder / "fit",
        verbose=0,
    )
    return {
        **numbered("variable", state_variables(model)),
        **saved(folder / "fit" / "state.npz"),
        "auc": np.array(scores.auc),
    }


def compressing(folder: pathlib.Path, epochs: int) -> Arrays:
    """`train_full` and `compress_full`, as `mec-tf compress` calls them."""
    return _compressing(folder, epochs, "mec")


def compressing_alpt(folder: pathlib.Path, epochs: int) -> Arrays:
    """The same with low-precision tables and learned step sizes."""
    return _compressing(folder, epochs, "alpt")


def _compressing(folder: pathlib.Path, epochs: int, method: str) -> Arrays:
    log = make_log()
    job = pipeline.RankingJob(
        model={"embedding_dim": DIM, "hidden_units": (16,)},
        settings=FitSettings(0.01, 1e-3, 128, max(1, epochs // 4), 4),
        policy=CompressionPolicy(ratio=4, method=method, pwr_weight=1e-4),
    )
    full, _, settings = pipeline.train_full(job, log, folder, verbose=0)
    state = folder / "compressed" / "state.npz"
    note_state(folder, state)
    result = pipeline.compress_full(
        job, full, log, settings, folder=state.parent, verbose=0
    )
    return {
        **numbered("weight", [raw(w) for w in result.model.weights]),
        **saved(state),
        "score": np.array(result.report.score[1:]),
    }


# By name: what trains, and for how many epochs.
TRAININGS: dict[str, Callable[[pathlib.Path, int], Arrays]] = {
    "BackupAndRestore": with_backup,
    "training.fit": with_own_state,
    "compress": compressing,
    "compress_alpt": compressing_alpt,
}
# And the file that changes when a state is saved.
STATES = {
    "BackupAndRestore": "backup/latest.weights.h5"
    if hasattr(tf.keras, "ops")
    else "backup/chief/checkpoint",
    "training.fit": "fit/state.npz",
    "compress": "compressed/state.npz",
    "compress_alpt": "compressed/state.npz",
}


def run(name: str, folder: pathlib.Path, epochs: int) -> None:
    """Trains in a process of its own, and leaves `final.npz`."""
    tf.keras.utils.set_random_seed(7)
    tf.config.experimental.enable_op_determinism()
    if not hasattr(tf.keras, "ops"):
        # Else Keras 2's dropout has no state that could be saved.
        tf.keras.backend.experimental.enable_tf_random_generator()
    arrays = TRAININGS[name](folder, epochs)
    fresh = folder / "final.fresh.npz"
    np.savez(fresh, **arrays)
    fresh.replace(folder / "final.npz")


class Starts(tf.keras.callbacks.Callback):
    """Notes the epoch that each start goes on from."""

    def __init__(self, folder: pathlib.Path):
        super().__init__()
        self.folder = folder
        self.noted = False

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        if not self.noted:
            self.noted = True
            note(self.folder, epoch)


def note_state(folder: pathlib.Path, path: pathlib.Path) -> None:
    """Notes the epoch that a state in a file goes on from."""
    epoch = 0
    if path.exists():
        with np.load(path) as state:
            epoch = json.loads(str(state["state"]))["progress"]["epoch"]
    note(folder, epoch)


def note(folder: pathlib.Path, epoch: int) -> None:
    with (folder / STARTS).open("a") as file:
        file.write(f"{epoch}\n")


def numbered(name: str, variables: list[tf.Variable]) -> Arrays:
    return {f"{name}_{i}": v.numpy() for i, v in enumerate(variables)}


def saved(path: pathlib.Path) -> Arrays:
    """All of the last state: moving averages, optimizer, counters, best."""
    with np.load(path) as state:
        return {f"state_{name}": state[name] for name in state.files}


def make_log() -> data.Log:
    rng = np.random.default_rng(0)
    ids = np.minimum(rng.zipf(1.3, (len(FEATURES), ROWS)), VALUES)
    taste = rng.normal(size=(len(FEATURES), VALUES + 1))
    logits = sum(taste[i][ids[i]] for i in range(len(FEATURES)))
    label = rng.random(ROWS) < 1 / (1 + np.exp(-logits))
    columns = dict(zip(FEATURES, ids, strict=True))
    columns["label"] = label.astype(np.float32)
    split = np.minimum(np.arange(ROWS) % 8, 7)
    split = np.where(split < 6, 0, split - 5)
    schema = data.Schema("label", FEATURES, ())
    return data.Log.from_columns("small", schema, columns, split)


def make_model(log: data.Log, dropout: float = 0.0) -> tf.keras.Model:
    """A model that holds each kind of table that learns."""
    sizes = {name: log.vocabularies[name].size for name in FEATURES}
    losses = {"pwr_weight": 1e-4, "contrastive_weight": 1e-2}
    popular = layers.ProductQuantizedEmbedding(20, DIM, 4, 16)
    rare = layers.ProductQuantizedEmbedding(sizes["c"] - 20, DIM, 1, 8)
    tables = {
        "a": layers.ProductQuantizedEmbedding(sizes["a"], DIM, 2, 32, **losses),
        "b": layers.ResidualQuantizedEmbedding(
            sizes["b"], DIM, 2, 16, codebook_update="gradient"
        ),
        "c": layers.TieredEmbedding(sizes["c"], DIM, [popular, rare]),
        "d": layers.LowPrecisionEmbedding(
            sizes["d"], DIM, bits=4, learned_steps=False
        ),
    }
    inputs = {
        name: tf.keras.Input((), dtype="int32", name=name) for name in FEATURES
    }
    vectors = [tables[name](inputs[name]) for name in FEATURES]
    hidden = tf.keras.layers.Concatenate()(vectors)
    hidden = tf.keras.layers.Dropout(dropout)(hidden)
    hidden = tf.keras.layers.Dense(16, "relu")(hidden)
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(1)(hidden))
    for name in "abc":
        tables[name].add_counts(log.counts[name])
    return model
