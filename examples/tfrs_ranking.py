"""Shrink a ranking model of TensorFlow Recommenders, and serve it.

    pip install 'mec_tf[tfrs]'
    TF_USE_LEGACY_KERAS=1 python examples/tfrs_ranking.py --output_dir out

The model is TFRS's own DLRM; its `embedding_layer` is mec_tf's field
collection, which takes any embedding layer. The clicks are made up.
"""

import pathlib

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
from absl import app, flags

import mec_tf
from mec_tf.layers import FieldEmbeddings, TableEmbedding

FLAGS = flags.FLAGS
flags.DEFINE_string("output_dir", None, "New directory.", required=True)
flags.DEFINE_integer("examples", 100_000, "Clicks to make up.")
flags.DEFINE_float("ratio", 20, "How many times smaller.")

ROWS = {"user": 3000, "movie": 1000, "device": 20}
DIM = 16


def clicks(size: int) -> tuple[dict, np.ndarray]:
    """Users click movies of their taste; popular ids come first."""
    rng = np.random.default_rng(0)
    ids = {name: rng.zipf(1.3, size) % rows for name, rows in ROWS.items()}
    age = rng.normal(size=(size, 1)).astype(np.float32)
    taste = {n: rng.normal(size=(rows, 4)) for n, rows in ROWS.items()}
    match = (taste["user"][ids["user"]] * taste["movie"][ids["movie"]]).sum(1)
    clicked = rng.random(size) < 1 / (1 + np.exp(-match - age[:, 0]))
    features = {"dense_features": age, "sparse_features": ids}
    return features, clicked.astype(np.float32)


def make_model() -> tfrs.Model:
    """A DLRM as TFRS makes it."""
    tables = {name: TableEmbedding(rows, DIM) for name, rows in ROWS.items()}
    return tfrs.experimental.models.Ranking(
        embedding_layer=FieldEmbeddings(tables),
        bottom_stack=tfrs.layers.blocks.MLP([32, DIM], final_activation="relu"),
        top_stack=tfrs.layers.blocks.MLP([64, 1], final_activation="sigmoid"),
    )


class Served(tf.keras.Model):
    """Takes a flat dict, as requests are; TFRS's model wants a nested one.

    TFRS's model squeezes a batch of one away, so an example is added.
    """

    def __init__(self, ranking: tf.keras.Model):
        super().__init__()
        self.ranking = ranking

    def call(self, features: dict) -> dict:
        more = {n: tf.concat([x, x[:1]], 0) for n, x in features.items()}
        dense = more.pop("age")
        answers = self.ranking(
            {"dense_features": dense, "sparse_features": more}
        )
        return {"probability": answers[:-1]}


def main(argv):
    del argv
    out = pathlib.Path(FLAGS.output_dir)
    data = tf.data.Dataset.from_tensor_slices(clicks(FLAGS.examples))
    valid = data.take(FLAGS.examples // 10).batch(1024)
    train = data.skip(FLAGS.examples // 10).shuffle(FLAGS.examples).batch(1024)

    model = make_model()
    model.compile(tf.keras.optimizers.Adam(0.003))
    model.fit(train, epochs=3, validation_data=valid, verbose=2)

    result = mec_tf.compress(
        model,
        train,
        validation_data=valid,
        policy=mec_tf.CompressionPolicy(ratio=FLAGS.ratio),
        monitor="val_auc",
        epochs=3,
        verbose=2,
        model_fn=make_model,  # TFRS models do not tell their configuration
    )
    print(result.report)
    for name, each in (("full", model), ("compressed", result.model)):
        scores = each.evaluate(valid, verbose=0, return_dict=True)
        print(f"{name}: AUC {scores['auc']:.4f}")

    request = {"user": [7], "movie": [3], "device": [1], "age": [[0.5]]}
    example = {
        name: np.array(value, "float32" if name == "age" else "int32")
        for name, value in request.items()
    }
    path = out / "serving" / "1"
    print(mec_tf.export.save(Served(result.model), path, example=example))
    served = tf.saved_model.load(str(path)).signatures["serving_default"]
    answer = served(**{n: tf.constant(x) for n, x in example.items()})
    print(f"clicked with probability {answer['probability'][0]:.2f}")


if __name__ == "__main__":
    app.run(main)
