"""Shrink a two-tower retrieval model of TensorFlow Recommenders.

    pip install 'mec_tf[tfrs]'
    TF_USE_LEGACY_KERAS=1 python examples/tfrs_retrieval.py --output_dir out

The model is that of the TFRS tutorial "Recommending movies: retrieval": towers
of string ids, an in-batch loss, and a `BruteForce` index for serving. The
views are made up.
"""

import pathlib

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
from absl import app, flags

import mec_tf

FLAGS = flags.FLAGS
flags.DEFINE_string("output_dir", None, "New directory.", required=True)
flags.DEFINE_integer("examples", 50_000, "Views to make up.")
flags.DEFINE_float("ratio", 20, "How many times smaller.")

USERS = [f"user {i}" for i in range(2000)]
MOVIES = [f"movie {i}" for i in range(1000)]
GENRES = 20


def views(size: int) -> dict[str, np.ndarray]:
    """Users watch movies of their genre, some more popular than others."""
    rng = np.random.default_rng(0)
    user = rng.integers(0, len(USERS), size)
    place = rng.zipf(1.5, size) % (len(MOVIES) // GENRES)
    movie = place * GENRES + user % GENRES
    return {"user": np.array(USERS)[user], "movie": np.array(MOVIES)[movie]}


def tower(vocabulary: list[str]) -> tf.keras.Model:
    return tf.keras.Sequential(
        [
            tf.keras.layers.StringLookup(
                vocabulary=vocabulary, mask_token=None
            ),
            tf.keras.layers.Embedding(len(vocabulary) + 1, 32),
        ]
    )


class TwoTowers(tfrs.Model):
    def __init__(self):
        super().__init__()
        self.user_model, self.movie_model = tower(USERS), tower(MOVIES)
        self.task = tfrs.tasks.Retrieval()

    def compute_loss(self, features, training=False):
        return self.task(
            self.user_model(features["user"]),
            self.movie_model(features["movie"]),
        )


def make_index(model: TwoTowers) -> tfrs.layers.factorized_top_k.BruteForce:
    """What is served: a user's name in, ten movies out."""
    index = tfrs.layers.factorized_top_k.BruteForce(model.user_model, k=10)
    movies = tf.data.Dataset.from_tensor_slices(MOVIES).batch(256)
    index.index_from_dataset(
        movies.map(lambda names: (names, model.movie_model(names)))
    )
    return index


def share_found(model: TwoTowers, data: dict[str, np.ndarray]) -> float:
    """How often the movie is among the ten of its user's."""
    _, movies = make_index(model)(tf.constant(data["user"]))
    return float(np.mean((movies == data["movie"][:, None]).numpy().any(1)))


def main(argv):
    del argv
    data = views(FLAGS.examples)
    cut = FLAGS.examples // 10
    held_out = {name: column[:cut] for name, column in data.items()}
    rest = {name: column[cut:] for name, column in data.items()}
    train = tf.data.Dataset.from_tensor_slices(rest)
    train = train.shuffle(FLAGS.examples).batch(1024, drop_remainder=True)

    model = TwoTowers()
    model.compile(tf.keras.optimizers.Adagrad(0.1))
    model.fit(train, epochs=3, verbose=2)

    # Trains on with the model's own loss, and keeps the best of what counts.
    result = mec_tf.compress(
        model,
        train,
        policy=mec_tf.CompressionPolicy(ratio=FLAGS.ratio),
        monitor=lambda each: share_found(each, held_out),
        epochs=3,
        verbose=2,
    )
    print(result.report)
    for name, each in (("full", model), ("compressed", result.model)):
        print(f"{name}: recall@10 {share_found(each, held_out):.4f}")

    path = str(pathlib.Path(FLAGS.output_dir) / "index" / "1")
    index = make_index(result.model)
    index(tf.constant(["user 7"]))  # tells Keras its inputs, to be saved
    tf.saved_model.save(index, path)
    _, movies = tf.saved_model.load(path)(tf.constant(["user 7"]))
    print("for user 7:", ", ".join(n.decode() for n in movies[0, :3].numpy()))


if __name__ == "__main__":
    app.run(main)
