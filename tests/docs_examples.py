"""What the examples of the docs take for granted: a user's model and data."""

import numpy as np
import tensorflow as tf

ROWS = {"user": 1000, "item": 500, "city": 20}


def model(units=8):
    """A trained model as a user has it: tables, a tower, a logit."""
    inputs = {
        f"{name}_id": tf.keras.Input((), dtype="int32", name=f"{name}_id")
        for name in ROWS
    }
    vectors = [
        tf.keras.layers.Embedding(ROWS[name], 16, name=name)(
            inputs[f"{name}_id"]
        )
        for name in ROWS
    ]
    hidden = tf.keras.layers.Dense(units, "relu")(
        tf.keras.layers.Concatenate()(vectors)
    )
    made = tf.keras.Model(inputs, tf.keras.layers.Dense(1)(hidden))
    made.compile("adam", tf.keras.losses.BinaryCrossentropy(from_logits=True))
    return made


def batches(size=3000, seed=0, rows=None, only=tuple(ROWS)):
    """Examples with ids ordered by popularity."""
    rng = np.random.default_rng(seed)
    ids = {
        name: np.minimum(rng.zipf(1.3, size) - 1, (rows or ROWS)[name] - 1)
        for name in only
    }
    features = {
        f"{name}_id": values.astype(np.int32) for name, values in ids.items()
    }
    labels = rng.integers(0, 2, (size, 1)).astype(np.float32)
    return tf.data.Dataset.from_tensor_slices((features, labels)).batch(500)


def counts(data):
    """Training counts `[rows]` by feature."""
    found = {
        f"{name}_id": np.zeros(rows, np.int64) for name, rows in ROWS.items()
    }
    for features, _ in data:
        for name, ids in features.items():
            np.add.at(found[name], ids.numpy(), 1)
    return found


def write_clicks(path, size=4000):
    """A CSV log: two id columns, a number, a label."""
    rng = np.random.default_rng(0)
    lines = ["user,item,price,click"]
    for user, item in zip(
        rng.zipf(1.5, size) % 300, rng.zipf(1.5, size) % 200, strict=True
    ):
        price, click = rng.random(), rng.integers(0, 2)
        lines.append(f"u{user},i{item},{price:.3f},{click}")
    path.write_text("\n".join(lines) + "\n")


def names():
    """Names that the examples use."""
    train = batches()
    trained = model()
    trained.fit(train, verbose=0)
    return {
        "model": trained,
        "other_model": model(units=12),
        "train": train,
        "valid": batches(1000, seed=1),
        "recent": batches(500, seed=2, rows={**ROWS, "item": 530}),
        "recent_days": batches(1000, seed=3),
        "users_only": batches(only=("user",)),
        "counts": counts(train),
    }


def tfrs_names():
    """The same of a model of TensorFlow Recommenders, which needs Keras 2."""
    import tensorflow_recommenders as tfrs

    class Ranking(tfrs.models.Model):
        def __init__(self, units):
            super().__init__()
            self.user = tf.keras.layers.Embedding(ROWS["user"], 16)
            self.tower = tf.keras.Sequential(
                [
                    tf.keras.layers.Dense(units, "relu"),
                    tf.keras.layers.Dense(1),
                ]
            )
            self.task = tfrs.tasks.Ranking(
                loss=tf.keras.losses.BinaryCrossentropy(from_logits=True)
            )

        def call(self, features):
            return self.tower(self.user(features["user_id"]))

        def compute_loss(self, inputs, training=False):
            features, labels = inputs
            return self.task(labels=labels, predictions=self(features))

    def make():
        return Ranking(units=8)

    trained, train = make(), batches(only=("user",))
    trained.compile("adam")
    trained.fit(train, verbose=0)
    return {
        "tfrs_model": trained,
        "make_tfrs_model": make,
        "train": train,
        "valid": batches(1000, seed=1, only=("user",)),
    }
