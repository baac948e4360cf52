"""TensorFlow Recommenders with tables of this package; Keras 2 only."""

import functools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_recommenders as tfrs

import mec_tf
from mec_tf.layers import (
    CodeLookupEmbedding,
    FieldEmbeddings,
    ProductQuantizedEmbedding,
    TableEmbedding,
)

USERS, ITEMS, DIM = 300, 200, 16
quantized = functools.partial(
    ProductQuantizedEmbedding, num_subspaces=2, codebook_size=16
)
# In so short a training, rows that start small learn little in some models.
quantized_large = functools.partial(
    quantized,
    embeddings_initializer=tf.keras.initializers.RandomUniform(
        -0.3, 0.3, seed=1
    ),
)


@pytest.fixture(scope="module")
def log():
    """Users like items of their own kind; random items too, of any kind.

    The best AUC is 0.875: a quarter of the random items are of the right kind.
    """
    rng = np.random.default_rng(0)
    user = rng.integers(0, USERS, 4000)
    item = rng.integers(0, ITEMS // 4, 4000) * 4 + user % 4
    random_item = rng.integers(0, ITEMS, 4000)
    return {
        "user": np.tile(user, 2),
        "item": np.concatenate([item, random_item]),
        "age": rng.normal(size=(8000, 3)).astype(np.float32),
        "liked": np.repeat(np.float32([1, 0]), 4000),
    }


def batches(columns, shuffled=True):
    data = tf.data.Dataset.from_tensor_slices(columns)
    if shuffled:
        data = data.shuffle(len(data), seed=0)
    return data.batch(400)


def nested(log):
    """The inputs of `tfrs.experimental.models.Ranking`."""
    ids = {"user": log["user"], "item": log["item"]}
    features = {"dense_features": log["age"], "sparse_features": ids}
    return features, log["liked"]


def ranking(table=TableEmbedding):
    """The ready-made model, on the field collection of this package."""
    return tfrs.experimental.models.Ranking(
        embedding_layer=FieldEmbeddings(
            {"user": table(USERS, DIM), "item": table(ITEMS, DIM)}
        ),
        bottom_stack=tfrs.layers.blocks.MLP([32, DIM], final_activation="relu"),
        top_stack=tfrs.layers.blocks.MLP([32, 1], final_activation="sigmoid"),
    )


class FlatRanking(tf.keras.Model):
    """The ready-made model with a flat dict of inputs, to be served.

    Itself it cannot answer a batch of one, which it squeezes away; an example
    more helps.
    """

    def __init__(self, ranking):
        super().__init__()
        self.ranking = ranking

    def call(self, features):
        more = {n: tf.concat([x, x[:1]], 0) for n, x in features.items()}
        dense = more.pop("age")
        answers = self.ranking(
            {"dense_features": dense, "sparse_features": more}
        )
        return answers[:-1]


class TaskModel(tfrs.Model):
    """A ranking model with a `tfrs.tasks.Ranking`, as tutorials have it."""

    def __init__(self, table=TableEmbedding):
        super().__init__()
        self.user, self.item = table(USERS, DIM), table(ITEMS, DIM)
        self.hidden = tf.keras.layers.Dense(32, "relu")
        self.answer = tf.keras.layers.Dense(1)
        self.task = tfrs.tasks.Ranking(
            loss=tf.keras.losses.BinaryCrossentropy(from_logits=True),
            metrics=[tf.keras.metrics.AUC(from_logits=True, name="auc")],
        )

    def call(self, features):
        user, item = self.user(features["user"]), self.item(features["item"])
        return self.answer(self.hidden(tf.concat([user, item], axis=-1)))

    def compute_loss(self, features, training=False):
        labels = features["liked"][:, None]
        predictions = self(features, training=training)
        return self.task(labels=labels, predictions=predictions)


class TwoTowers(tfrs.Model):
    """A retrieval model of two tables, with an in-batch loss."""

    def __init__(self, table=TableEmbedding):
        super().__init__()
        self.user, self.item = table(USERS, DIM), table(ITEMS, DIM)
        self.task = tfrs.tasks.Retrieval()

    def compute_loss(self, features, training=False):
        return self.task(
            self.user(features["user"], training=training),
            self.item(features["item"], training=training),
        )


def fitted(model, data, epochs=6):
    model.compile(tf.keras.optimizers.Adam(0.02))
    history = model.fit(data, epochs=epochs, verbose=0).history
    return model, history


def liked(log):
    return {name: log[name][:4000] for name in ("user", "item")}


def right_kind(index, users):
    """The share of the ten items found for each user that it likes."""
    _, found = index(tf.constant(users))
    return float(np.mean(found.numpy() % 4 == users[:, None] % 4))


def brute_force(model, k=10):
    """Items of the highest scores, indexed by their vectors."""
    index = tfrs.layers.factorized_top_k.BruteForce(model.user, k=k)
    items = tf.range(ITEMS)
    index.index_from_dataset(
        tf.data.Dataset.from_tensor_slices(items)
        .batch(64)
        .map(lambda ids: (ids, model.item(ids)))
    )
    return index


def test_ready_made_ranking_learns_on_quantized_fields(log):
    model, history = fitted(ranking(quantized), batches(nested(log)))
    assert history["auc"][-1] > 0.8
    fields = model._embedding_layer
    start = np.ones((2, 16, DIM // 2 + 1))[..., 0]
    for table in fields.tables.values():
        # EMA counts have moved from 1: the layer knew that it was training.
        assert not np.allclose(table.moving.numpy()[..., -1], start)
    features, _ = nested(log)
    few = tf.nest.map_structure(lambda column: column[:50], features)
    frozen = FieldEmbeddings({n: t.freeze() for n, t in fields.tables.items()})
    assert isinstance(frozen.tables["user"], CodeLookupEmbedding)
    served = tfrs.experimental.models.Ranking(
        embedding_layer=frozen,
        bottom_stack=model._bottom_stack,
        top_stack=model._top_stack,
    )
    np.testing.assert_array_equal(served(few), model(few))


def test_ready_made_ranking_is_compressed_and_exported(log, tmp_path):
    data = batches(nested(log))
    model, _ = fitted(ranking(), data)
    result = mec_tf.compress(
        model,
        data,
        validation_data=data,
        policy=mec_tf.CompressionPolicy(ratio=8),
        monitor="val_auc",
        epochs=2,
        verbose=0,
        model_fn=ranking,
    )
    assert result.report.ratio >= 8
    paths = {table.path for table in result.report.tables}
    assert paths == {
        "_embedding_layer/tables/user",
        "_embedding_layer/tables/item",
    }
    assert result.report.score[2] > 0.8
    few = {name: log[name][:20] for name in ("user", "item", "age")}
    flat = FlatRanking(result.model)
    report = mec_tf.export.save(flat, tmp_path / "1", example=few)
    assert report.bytes_on_disk == result.report.bytes_after
    served = tf.saved_model.load(str(tmp_path / "1"))
    answer = served.signatures["ids"](
        **{name: tf.constant(column) for name, column in few.items()}
    )
    np.testing.assert_allclose(answer["logits"], flat(few), rtol=1e-5)


def test_ranking_task_trains_quantized_tables_and_is_compressed(log):
    columns = {name: log[name] for name in ("user", "item", "liked")}
    data = batches(columns)
    model, history = fitted(TaskModel(quantized_large), data, epochs=9)
    assert history["auc"][-1] > 0.65
    assert np.ptp(model.user.moving.numpy()[..., -1]) > 0
    full, _ = fitted(TaskModel(), data)
    result = mec_tf.compress(
        full,
        data,
        validation_data=data,
        policy=mec_tf.CompressionPolicy(ratio=8),
        monitor="val_auc",
        epochs=3,
        verbose=0,
    )
    assert isinstance(result.model, TaskModel)
    assert result.report.ratio >= 8
    assert result.report.score[2] > 0.8
    assert isinstance(result.model.user, CodeLookupEmbedding)
    logs = result.model.evaluate(data, verbose=0, return_dict=True)
    assert logs["auc"] == pytest.approx(result.report.score[2], abs=1e-3)
    # It stays a model of its own: it trains on, on frozen codes.
    before = result.model.user.codes.numpy()
    result.model.fit(data, verbose=0)
    np.testing.assert_array_equal(result.model.user.codes.numpy(), before)


def test_retrieval_on_quantized_towers_is_indexed_and_exported(log, tmp_path):
    data = batches(liked(log))
    model, history = fitted(TwoTowers(quantized), data)
    assert history["loss"][-1] < history["loss"][0]
    model.user, model.item = model.user.freeze(), model.item.freeze()
    index = brute_force(model)
    users = np.arange(60)
    assert right_kind(index, users) > 0.9
    scores, items = index(tf.constant(users))
    path = str(tmp_path / "index")
    tf.saved_model.save(index, path)
    loaded = tf.saved_model.load(path)
    again = loaded(tf.constant(users))
    np.testing.assert_array_equal(again[0], scores)
    np.testing.assert_array_equal(again[1], items)


def test_compress_trains_retrieval_with_its_own_loss(log, tmp_path):
    data = batches(liked(log))
    valid = batches(liked(log), shuffled=False)  # the same negatives each time
    model, _ = fitted(TwoTowers(), data)
    before = model.evaluate(valid, verbose=0, return_dict=True)["total_loss"]
    result = mec_tf.compress(
        model,
        data,
        validation_data=valid,
        policy=mec_tf.CompressionPolicy(ratio=10),
        monitor="val_total_loss",
        epochs=4,
        verbose=0,
    )
    assert result.report.ratio >= 10
    name, quantized_only, trained = result.report.score
    assert name == "val_total_loss" and trained < quantized_only
    logs = result.model.evaluate(valid, verbose=0, return_dict=True)
    assert logs["total_loss"] == pytest.approx(trained, rel=1e-3)
    after = model.evaluate(valid, verbose=0, return_dict=True)["total_loss"]
    assert after == pytest.approx(before)  # the caller's model is as it was
    index = brute_force(result.model)
    assert right_kind(index, np.arange(60)) > 0.9
    one = tf.constant([7], tf.int64)
    tf.saved_model.save(index, str(tmp_path / "index"))
    loaded = tf.saved_model.load(str(tmp_path / "index"))
    np.testing.assert_array_equal(loaded(one)[1], index(one)[1])


def test_codes_of_retrieval_serve_another_model(log):
    data = batches(liked(log))
    model, _ = fitted(TwoTowers(), data)
    result = mec_tf.compress(
        model,
        data,
        policy=mec_tf.CompressionPolicy(ratio=10),
        epochs=1,
        verbose=0,
    )
    columns = {name: log[name] for name in ("user", "item", "liked")}
    ranking_data = batches(columns)
    target, _ = fitted(TaskModel(), ranking_data, epochs=1)
    target = mec_tf.apply_codes(
        target, result.codes, ranking_data, trainable_codebooks=True
    )
    book = target.user.codebooks.numpy()
    logs = target.fit(ranking_data, epochs=2, verbose=0).history
    assert logs["auc"][-1] > 0.8
    assert np.abs(target.user.codebooks.numpy() - book).max() > 0
