"""Search the settings of codes with KerasTuner.

    pip install mec_tf keras-tuner tensorboard
    python examples/keras_tuner_search.py --output_dir out

`build` makes a model whose tables learn codes inside a plain `fit`, so a tuner
drives it like any other. The clicks are made up. At the end the best model is
frozen: codes and codebooks alone stay.
"""

import argparse
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.compression import full_bytes, model_bytes
from mec_tf.layers import ProductQuantizedEmbedding
from mec_tf.optimizers import LazyAdam

ROWS = {"user": 2000, "item": 1000}
DIM = 16


def clicks(size: int) -> tuple[dict, np.ndarray]:
    """Users click items of their taste; popular ids come first."""
    rng = np.random.default_rng(0)
    ids = {name: rng.zipf(1.3, size) % rows for name, rows in ROWS.items()}
    taste = {name: rng.normal(size=(rows, 4)) for name, rows in ROWS.items()}
    match = (taste["user"][ids["user"]] * taste["item"][ids["item"]]).sum(1)
    clicked = rng.random(size) < 1 / (1 + np.exp(-match))
    features = {name: values.astype("int32") for name, values in ids.items()}
    return features, clicked.astype("float32")[:, None]


def build(hp: Any) -> tf.keras.Model:
    """A model of the settings that the tuner proposes."""
    num_subspaces = hp.Choice("num_subspaces", [1, 2, 4])
    codebook_size = hp.Choice("codebook_size", [16, 64, 256])
    commitment = hp.Float("commitment_weight", 0.01, 1.0, sampling="log")
    inputs, vectors = {}, []
    for name, rows in ROWS.items():
        inputs[name] = tf.keras.Input((), dtype="int32", name=name)
        table = ProductQuantizedEmbedding(
            rows,
            DIM,
            num_subspaces,
            codebook_size,
            commitment_weight=commitment,
            name=f"{name}_table",
        )
        vectors.append(table(inputs[name]))
    match = tf.keras.layers.Multiply()(vectors)
    hidden = tf.keras.layers.Concatenate()([*vectors, match])
    hidden = tf.keras.layers.Dense(32, activation="relu")(hidden)
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(1)(hidden))
    model.compile(
        LazyAdam(hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")),
        tf.keras.losses.BinaryCrossentropy(from_logits=True),
        metrics=[tf.keras.metrics.AUC(from_logits=True, name="auc")],
    )
    return model


def freeze(model: tf.keras.Model) -> tf.keras.Model:
    """The same model with codes and codebooks in the place of its tables."""

    def frozen(layer: Any) -> Any:
        if isinstance(layer, ProductQuantizedEmbedding):
            return layer.freeze(name=layer.name)
        return type(layer).from_config(layer.get_config())

    copy = tf.keras.models.clone_model(model, clone_function=frozen)
    for layer in model.layers:
        if not isinstance(layer, ProductQuantizedEmbedding):
            copy.get_layer(layer.name).set_weights(layer.get_weights())
    return copy


def main(argv: Sequence[str] | None = None) -> None:
    import keras_tuner

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output_dir", type=pathlib.Path, required=True)
    parser.add_argument("--examples", type=int, default=20_000)
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args(argv)

    tuner = keras_tuner.RandomSearch(
        build,
        objective=keras_tuner.Objective("val_auc", "max"),
        max_trials=args.trials,
        directory=args.output_dir,
        project_name="codes",
        seed=0,
    )
    features, labels = clicks(args.examples)
    tuner.search(
        features,
        labels,
        validation_split=0.2,
        batch_size=512,
        epochs=args.epochs,
        verbose=2,
    )
    print(tuner.get_best_hyperparameters()[0].values)
    model = freeze(tuner.get_best_models()[0])
    stored = sum(model_bytes(model).values())
    print(f"tables: {full_bytes(model):,} -> {stored:,} bytes")
    model.save(args.output_dir / "model.keras")


if __name__ == "__main__":
    main()
