"""Models as the TensorFlow Recommenders tutorials write them, unchanged.

Rebuilt from the tutorials "Recommending movies: ranking" and "retrieval":
string ids, `StringLookup` and `Embedding` in a Sequential, a constructor
without arguments, a `call` without `training`.
"""

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf.layers import CodeLookupEmbedding

USERS = [str(i) for i in range(300)]
MOVIES = [f"Movie {i}" for i in range(200)]


def tower(vocabulary):
    return tf.keras.Sequential(
        [
            tf.keras.layers.StringLookup(
                vocabulary=vocabulary, mask_token=None
            ),
            tf.keras.layers.Embedding(len(vocabulary) + 1, 32),
        ]
    )


class RankingModel(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.user_embeddings = tower(USERS)
        self.movie_embeddings = tower(MOVIES)
        self.ratings = tf.keras.Sequential(
            [
                tf.keras.layers.Dense(256, activation="relu"),
                tf.keras.layers.Dense(64, activation="relu"),
                tf.keras.layers.Dense(1),
            ]
        )

    def call(self, inputs):
        user_id, movie_title = inputs
        return self.ratings(
            tf.concat(
                [
                    self.user_embeddings(user_id),
                    self.movie_embeddings(movie_title),
                ],
                axis=1,
            )
        )


def ratings(size=3000):
    rng = np.random.default_rng(0)
    user = rng.integers(0, len(USERS), size)
    movie = rng.integers(0, len(MOVIES), size)
    taste = np.random.default_rng(1).normal(size=(2, 300))
    rating = 3 + taste[0, user] * taste[1, movie]
    return {
        "user_id": np.array(USERS)[user],
        "movie_title": np.array(MOVIES)[movie],
        "user_rating": rating.astype(np.float32),
    }


def test_ranking_model(tmp_path):
    data = ratings()
    inputs = (data["user_id"], data["movie_title"])
    batches = tf.data.Dataset.from_tensor_slices(
        (inputs, data["user_rating"])
    ).batch(256)
    model = RankingModel()
    model.compile(tf.keras.optimizers.Adagrad(0.1), "mse")
    model.fit(batches, epochs=2, verbose=0)
    full = model.evaluate(batches, verbose=0)

    result = mec_tf.compress(
        model,
        batches,
        validation_data=batches,
        policy=mec_tf.CompressionPolicy(ratio=8),
        epochs=4,
        verbose=0,
    )

    assert isinstance(result.model, RankingModel)
    assert result.report.ratio >= 8
    assert result.model.evaluate(batches, verbose=0) < full + 0.05
    assert model.evaluate(batches, verbose=0) == full
    few = (tf.constant(inputs[0][:9]), tf.constant(inputs[1][:9]))
    path = str(tmp_path / "model.keras")
    result.model.save(path)
    known = {"RankingModel": RankingModel}
    loaded = tf.keras.models.load_model(path, custom_objects=known)
    np.testing.assert_array_equal(loaded(few), result.model(few))


@pytest.mark.keras2_only
def test_tfrs_ranking_task():
    import tensorflow_recommenders as tfrs

    class MovielensModel(tfrs.models.Model):
        def __init__(self):
            super().__init__()
            self.ranking_model = RankingModel()
            self.task = tfrs.tasks.Ranking(
                loss=tf.keras.losses.MeanSquaredError(),
                metrics=[tf.keras.metrics.RootMeanSquaredError()],
            )

        def call(self, features):
            return self.ranking_model(
                (features["user_id"], features["movie_title"])
            )

        def compute_loss(self, features, training=False):
            features = dict(features)
            labels = features.pop("user_rating")
            return self.task(labels=labels, predictions=self(features))

    batches = tf.data.Dataset.from_tensor_slices(ratings()).batch(256)
    model = MovielensModel()
    model.compile(optimizer=tf.keras.optimizers.Adagrad(0.1))
    model.fit(batches, epochs=2, verbose=0)
    result = mec_tf.compress(
        model,
        batches,
        validation_data=batches,
        policy=mec_tf.CompressionPolicy(ratio=8),
        monitor="val_total_loss",
        epochs=2,
        verbose=0,
    )
    assert result.report.ratio >= 8
    _, before, after = result.report.score
    assert after <= before
    table = result.model.ranking_model.user_embeddings.layers[1]
    assert isinstance(table, CodeLookupEmbedding)


@pytest.mark.keras2_only
def test_tfrs_two_towers_with_model_fn():
    import tensorflow_recommenders as tfrs

    class TwoTowers(tfrs.Model):
        def __init__(self, user_model, movie_model):
            super().__init__()
            self.user_model, self.movie_model = user_model, movie_model
            self.task = tfrs.tasks.Retrieval()

        def compute_loss(self, features, training=False):
            return self.task(
                self.user_model(features["user_id"]),
                self.movie_model(features["movie_title"]),
                compute_metrics=False,
            )

    def make():
        return TwoTowers(tower(USERS), tower(MOVIES))

    batches = tf.data.Dataset.from_tensor_slices(ratings()).batch(256)
    model = make()
    model.compile(optimizer=tf.keras.optimizers.Adagrad(0.1))
    model.fit(batches, verbose=0)
    policy = mec_tf.CompressionPolicy(ratio=8)
    with pytest.raises(ValueError, match="model_fn"):
        mec_tf.compress(model, batches, policy=policy, verbose=0)
    result = mec_tf.compress(
        model, batches, policy=policy, epochs=1, verbose=0, model_fn=make
    )
    assert {t.path for t in result.report.tables} == {
        "user_model/1",
        "movie_model/1",
    }
    assert result.report.ratio >= 8
