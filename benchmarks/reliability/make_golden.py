r"""Writes the golden files that tests of every later release read again.

    python -m benchmarks.reliability.make_golden \
        --output tests/reliability/golden

makes the files of the Keras in use; run it again under TF_USE_LEGACY_KERAS=1
for those of Keras 2. Once a version is released, its files are never written
again: a new format gets a folder of its own beside them.

All numbers are multiples of 1/8 and small, so that every sum is exact and every
machine must give the same bits.
"""

import pathlib
import tempfile
from typing import Any

import numpy as np
import tensorflow as tf
from absl import app, flags

import mec_tf
from mec_tf import layers
from mec_tf.compression import DriftReport, StoredTable, TierDrift
from mec_tf.layers.variables import KERAS_3, raw

FLAGS = flags.FLAGS
ROWS, DIM = 60, 8
IDS = np.arange(-2, ROWS + 3, dtype=np.int32)
KERAS = "keras3" if KERAS_3 else "keras2"
# Codes are learned by these and held by others.
LEARNING = layers.QuantizedEmbedding, layers.LowPrecisionEmbedding


def define_flags() -> None:
    flags.DEFINE_string("output", None, "Folder.", required=True)


def tables() -> dict[str, Any]:
    """A layer of every kind of table and every way to store codes."""
    code = layers.CodeLookupEmbedding
    made = {
        "codes": code(ROWS, DIM, 4, 16, oov=0),
        "packed": code(ROWS, DIM, 2, 16, additive_dim=DIM, bit_packed=True),
        "rotated": code(
            ROWS, DIM, 2, 16, rotated=True, codebook_dtype="float16"
        ),
        "wide": code(ROWS, DIM, 2, 300, additive_dim=2, private_rows=40),
        "integer": layers.IntegerEmbedding(ROWS, DIM, bits=4),
        "low_rank": layers.LowRankEmbedding(ROWS, DIM, 3),
        "hashed": layers.HashedEmbedding(ROWS, DIM, 7, 2),
        "quotient": layers.QuotientRemainderEmbedding(ROWS, DIM, 5),
        "exact": layers.TableEmbedding(ROWS, DIM, private_rows=40),
        "tiered": layers.TieredEmbedding(
            ROWS, DIM,
            [layers.TableEmbedding(10, DIM), code(50, DIM, 2, 16)],
        ),
        "learning": layers.ProductQuantizedEmbedding(ROWS, DIM, 2, 16),
        "residual": layers.ResidualQuantizedEmbedding(ROWS, DIM, 2, 16),
        "low_precision": layers.LowPrecisionEmbedding(ROWS, DIM),
    }  # fmt: skip
    # Where any byte holds codes; where there are more than 16.
    sizes = {"packed": 256, "integer": 256, "wide": 300}
    for place, (name, layer) in enumerate(made.items()):
        layer._name = name  # the same in both Kerases
        layer(IDS[2:4])
        fill(layer, place, sizes.get(name, 16))
    return made


def fill(layer: Any, seed: int, size: int = 16) -> None:
    """Gives a layer weights: multiples of 1/8, integers below `size`."""
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        variable = raw(weight)
        if variable.dtype.is_integer:
            values = rng.integers(0, size, variable.shape)
        else:
            values = rng.integers(-8, 9, variable.shape) / 8
        variable.assign(values.astype(variable.dtype.as_numpy_dtype))


def table_model(made: dict[str, Any]) -> tf.keras.Model:
    """Vectors of every table for ids `[batch]`."""
    ids = tf.keras.Input((), dtype="int32", name="ids")
    return tf.keras.Model(ids, {name: made[name](ids) for name in made})


def ranking_model() -> tf.keras.Model:
    """A DeepFM of two tables of codes."""
    features = {"user": ROWS, "item": ROWS}
    made = {
        name: layers.CodeLookupEmbedding(
            ROWS, DIM + 1, 2, 16, additive_dim=1, name=name
        )
        for name in features
    }
    model = mec_tf.models.DeepFM(
        features, embedding_dim=DIM, hidden_units=(4,), embedding_layer=made
    )
    model(batch())
    fill(model, 99)
    return model


def batch() -> dict[str, np.ndarray]:
    """Inputs of `ranking_model`."""
    ids = np.arange(ROWS, dtype=np.int32)
    return {"user": ids, "item": ids[::-1].copy()}


def served_model(seed: int) -> tf.keras.Model:
    """One table of codes and a sum."""
    table = layers.CodeLookupEmbedding(ROWS, DIM, 4, 16, name="table")
    ids = tf.keras.Input((), dtype="int32", name="ids")
    score = tf.keras.layers.Dense(1, name="score")
    model = tf.keras.Model(ids, score(table(ids)))
    fill(model, seed)
    return model


def checkpoint(made: dict[str, Any]) -> tf.train.Checkpoint:
    """Of the variables: Keras 3 leaves layers in lists out of checkpoints."""
    return tf.train.Checkpoint(
        **{
            name: [raw(weight) for weight in layer.weights]
            for name, layer in made.items()
        }
    )


def main(_: list[str]) -> None:
    folder = pathlib.Path(FLAGS.output)
    folder.mkdir(parents=True, exist_ok=True)
    made = tables()
    model = table_model(made)
    ranking = ranking_model()
    mec_tf.export.save_keras(model, folder / f"tables_{KERAS}.keras")
    mec_tf.export.save_keras(ranking, folder / f"deepfm_{KERAS}.keras")
    np.save(folder / f"deepfm_{KERAS}.npy", ranking(batch()))
    checkpoint(made).write(str(folder / f"tables_{KERAS}"))
    if not KERAS_3:
        return
    counts = np.arange(ROWS)[::-1]
    frozen = {
        name: StoredTable.from_layer(layer, counts)
        for name, layer in made.items()
        if not isinstance(layer, LEARNING)
    }
    mec_tf.EmbeddingCodes(frozen).save(folder / "codes.safetensors")
    delta = folder / "delta.safetensors"
    delta.unlink(missing_ok=True)
    answers = []
    with tempfile.TemporaryDirectory() as work:
        served = [folder / "serving", pathlib.Path(work) / "2"]
        for seed, path in enumerate(served):
            one = served_model(seed)
            mec_tf.export.save(one, path, warmup=(1,), overwrite=True)
            answers.append(one(IDS[2:-3]).numpy())
        mec_tf.export.save_delta(*served, delta)
    tiers = {"rare": TierDrift(0.25, 100, 0.75, 0.125, 0.5)}
    DriftReport(0.75, 100, {"user": tiers}).save(folder / "drift.json")
    np.savez_compressed(
        folder / "expected.npz",
        served=answers[0],
        served_after_delta=answers[1],
        **{f"table_{name}": layer(IDS) for name, layer in made.items()},
    )


if __name__ == "__main__":
    define_flags()
    app.run(main)
