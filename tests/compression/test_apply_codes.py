"""Stage 2: codes of one model as the tables of another."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf import pipeline
from mec_tf.data import Log, Schema
from mec_tf.layers import CodeLookupEmbedding, TableEmbedding
from mec_tf.training import FitSettings, evaluate

ROWS = {"user": 300, "item": 200, "day": 7}
PATH = "field_embeddings/tables/"
layers = tf.keras.layers


def examples(size=2048, seed=0):
    rng = np.random.default_rng(seed)
    ids = {n: rng.integers(0, rows, size) for n, rows in ROWS.items()}
    taste = np.random.default_rng(1).normal(size=(2, 300))
    logit = taste[0, ids["user"]] + taste[1, ids["item"]]
    label = rng.random(size) < 1 / (1 + np.exp(-2 * logit))
    return ids, label.astype(np.float32)[:, None]


def dataset(**kwargs):
    return tf.data.Dataset.from_tensor_slices(examples(**kwargs)).batch(256)


def compiled(model):
    loss = tf.keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile(tf.keras.optimizers.Adam(0.01), loss)
    return model


def ranking(kind, **kwargs):
    return kind(ROWS, embedding_dim=8, hidden_units=(8,), **kwargs)


@pytest.fixture(scope="module")
def result():
    tf.keras.utils.set_random_seed(0)
    model = compiled(ranking(mec_tf.models.DeepFM))
    model.fit(dataset(), epochs=2, verbose=0)
    return mec_tf.compress(
        model,
        dataset(),
        policy=mec_tf.CompressionPolicy(
            ratio=6, tables={"*day": mec_tf.TableSettings(0)}
        ),
        epochs=1,
        verbose=0,
    )


def test_compress_returns_its_codes(result):
    codes = result.codes
    assert codes.names == tuple(t.path for t in result.report.tables)
    assert codes.bytes == result.report.bytes_after
    ids, _ = examples()
    tables = result.model.field_embeddings.tables
    for name in ROWS:
        np.testing.assert_array_equal(
            codes.vectors(name, ids[name][:50]), tables[name](ids[name][:50])
        )
        np.testing.assert_array_equal(
            codes.table(name).counts,
            np.bincount(ids[name], minlength=ROWS[name]),
        )


@pytest.mark.parametrize(("built", "trainable"), [(False, False), (True, True)])
def test_from_deepfm_to_dcn(result, built, trainable, tmp_path):
    target = ranking(mec_tf.models.DCNv2)
    if built:
        compiled(target).fit(dataset(), verbose=0)
    model = mec_tf.apply_codes(
        target, result.codes, dataset(), trainable_codebooks=trainable
    )
    tables = model.field_embeddings.tables
    kinds = {name: type(table) for name, table in tables.items()}
    assert kinds == {
        "user": CodeLookupEmbedding,
        "item": CodeLookupEmbedding,
        "day": TableEmbedding,
    }
    assert type(target.field_embeddings.tables["user"]) is TableEmbedding
    if built:
        np.testing.assert_array_equal(
            model.tower.get_weights()[0], target.tower.get_weights()[0]
        )
    else:
        assert not target.field_embeddings.tables["user"].built
        compiled(model)
    before = {n: t(np.arange(7)).numpy() for n, t in tables.items()}
    for name in ROWS:  # the first-order column is gone
        expected = result.codes.vectors(name, np.arange(7))[:, :8]
        np.testing.assert_array_equal(before[name], expected)
    start = model.evaluate(dataset(), verbose=0)
    model.fit(dataset(), epochs=2, verbose=0)
    assert model.evaluate(dataset(), verbose=0) < start
    for name, table in tables.items():
        moved = np.abs(table(np.arange(7)) - before[name]).max() > 0
        assert moved == trainable
        kept = result.codes.table(name).weights.get("codes")
        if kept is not None:
            np.testing.assert_array_equal(table.codes, kept)
    model.save(tmp_path / "target.keras")
    loaded = tf.keras.models.load_model(tmp_path / "target.keras")
    ids, _ = examples(64)
    np.testing.assert_allclose(loaded(ids), model(ids), atol=1e-6)


def test_codes_without_first_order_columns_get_zeros(result):
    dcn = mec_tf.apply_codes(
        ranking(mec_tf.models.DCNv2), result.codes, dataset()
    )
    codes = mec_tf.EmbeddingCodes.from_model(dcn)
    model = mec_tf.apply_codes(
        ranking(mec_tf.models.DeepFM),
        codes,
        dataset(),
        trainable_codebooks=True,
    )
    table = model.field_embeddings.tables["user"]
    vectors = table(np.arange(50)).numpy()
    np.testing.assert_array_equal(
        vectors[:, :8], result.codes.vectors("user", np.arange(50))[:, :8]
    )
    np.testing.assert_array_equal(vectors[:, 8], 0)
    compiled(model).fit(dataset(), verbose=0)
    assert np.abs(table(np.arange(50)).numpy()[:, 8]).max() > 0


def two_ids():
    return dataset().map(
        lambda ids, y: ({"user": ids["user"], "item": ids["item"]}, y)
    )


def functional(width=8):
    user = tf.keras.Input((), dtype="int64", name="user")
    item = tf.keras.Input((), dtype="int64", name="item")
    parts = [
        layers.Embedding(300, width, name="user_table")(user),
        layers.Embedding(200, width, name="item_table")(item),
        layers.Embedding(200, 3, name="item_bias")(item),
    ]
    hidden = layers.Dense(8, activation="relu")(layers.Concatenate()(parts))
    return tf.keras.Model({"user": user, "item": item}, layers.Dense(1)(hidden))


@pytest.mark.parametrize("width", [8, 9])
def test_into_a_users_functional_model(result, width, tmp_path):
    target = compiled(functional(width))
    model = mec_tf.apply_codes(
        target,
        result.codes,
        two_ids(),
        tables={"user_table": "user", "item_table": PATH + "item"},
    )
    kinds = [type(layer) for layer in model.layers]
    assert kinds.count(CodeLookupEmbedding) == 2
    assert kinds.count(layers.Embedding) == 1  # as `tables` says
    np.testing.assert_array_equal(
        model.get_layer("user_table")(np.arange(9)),
        result.codes.vectors("user", np.arange(9))[:, :width],
    )
    for name in ("item_bias", "dense"):
        one, other = (
            [layer for layer in m.layers if layer.name.startswith(name)][0]
            for m in (model, target)
        )
        for ours, theirs in zip(
            one.get_weights(), other.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(ours, theirs)
    start = model.evaluate(two_ids(), verbose=0)  # compiled alike
    model.fit(two_ids(), epochs=2, verbose=0)
    assert model.evaluate(two_ids(), verbose=0) < start
    model.save(tmp_path / "target.keras")
    loaded = tf.keras.models.load_model(tmp_path / "target.keras")
    ids, _ = next(iter(two_ids()))
    np.testing.assert_allclose(loaded(ids), model(ids), atol=1e-6)


class TwoTowers(tf.keras.Model):
    """Tables named as the codes are; unbuilt until called."""

    def __init__(self):
        super().__init__()
        self.user = layers.Embedding(300, 8, name="user")
        self.item = layers.Embedding(200, 8, name="item")

    def call(self, inputs):
        user, item = self.user(inputs["user"]), self.item(inputs["item"])
        return tf.reduce_sum(user * item, axis=-1, keepdims=True)


def test_short_names_match_in_an_unbuilt_subclassed_model(result):
    target = TwoTowers()
    model = mec_tf.apply_codes(target, result.codes, examples())
    assert isinstance(model, TwoTowers) and model is not target
    assert not target.user.built
    ids, _ = examples(32)
    user, item = (
        result.codes.vectors(name, ids[name])[:, :8]
        for name in ("user", "item")
    )
    np.testing.assert_allclose(
        model(ids)[:, 0], (user * item).sum(axis=1), atol=1e-6
    )


def test_what_does_not_fit_is_refused(result):
    apply, codes = mec_tf.apply_codes, result.codes
    with pytest.raises(
        ValueError, match="field_embeddings/tables/user.*300 rows of 4 columns"
    ):
        apply(mec_tf.models.DCNv2(ROWS, embedding_dim=4), codes, dataset())
    larger = {**ROWS, "item": 201}
    with pytest.raises(ValueError, match="201 rows.*Received: 200 rows"):
        apply(mec_tf.models.DCNv2(larger, embedding_dim=8), codes, dataset())
    # Nine columns, but here all of them are the vector.
    with pytest.raises(ValueError, match="9 columns, 0 of them summed"):
        apply(mec_tf.models.DCNv2(ROWS, embedding_dim=9), codes, dataset())
    with pytest.raises(ValueError, match="Received no user_table, .*user"):
        apply(functional(), codes, dataset())
    with pytest.raises(ValueError, match="`tables` must name tables of the"):
        apply(functional(), codes, dataset(), tables={"nothing": "user"})
    with pytest.raises(ValueError, match="`name` must be one of"):
        apply(functional(), codes, dataset(), tables={"user_table": "x"})
    dense = tf.keras.Sequential([tf.keras.Input((2,)), layers.Dense(1)])
    with pytest.raises(ValueError, match="must hold an embedding table"):
        apply(dense, codes, dataset())
    with pytest.raises(ValueError, match="`train` must hold a batch"):
        apply(
            functional(),
            codes,
            dataset().take(0),
            tables={"user_table": "user"},
        )


def test_train_target_trains_and_resumes(tmp_path):
    ids, label = examples(3000)
    columns = {**ids, "label": label[:, 0]}
    schema = Schema("label", tuple(ROWS), ())
    log = Log.from_columns("small", schema, columns, np.arange(3000) % 3)
    settings = FitSettings(0.02, 0.0, 64, epochs=1, evaluations=2, patience=2)
    small = {"embedding_dim": 8, "hidden_units": (8,)}
    job = pipeline.RankingJob("deepfm", small, settings)
    full, *_ = pipeline.train_full(job, log, tmp_path / "full", verbose=0)
    codes = mec_tf.EmbeddingCodes.from_model(
        full, pipeline.table_counts(full, log)
    )
    target = pipeline.RankingJob("dcnv2", small, settings)
    scores = [
        pipeline.train_target(
            target, log, codes, settings, tmp_path / "target", verbose=0
        )
        for _ in range(2)
    ]
    (model, first), (again, second) = scores
    assert first == second and first.auc > 0.6
    assert evaluate(model, log, "validation").auc == first.auc
    assert evaluate(again, log, "validation").auc == first.auc
    table = model.field_embeddings.tables["user"]
    np.testing.assert_array_equal(
        table(np.arange(9)), codes.vectors("user", np.arange(9))[:, :8]
    )


def test_a_target_may_learn_what_the_model_of_the_codes_answers(tmp_path):
    ids, label = examples(3000)
    split = np.arange(3000) % 3
    schema = Schema("label", tuple(ROWS), ())
    settings = FitSettings(0.02, 0.0, 64, epochs=1, evaluations=2, patience=2)
    small = {"embedding_dim": 8, "hidden_units": (8,)}
    job = pipeline.RankingJob("deepfm", small, settings)

    def log(label):
        columns = {**ids, "label": label[:, 0]}
        return Log.from_columns("small", schema, columns, split)

    full, *_ = pipeline.train_full(job, log(label), tmp_path, verbose=0)
    codes = mec_tf.EmbeddingCodes.from_model(
        full, pipeline.table_counts(full, log(label))
    )
    mistaught = log(np.where(split[:, None] == 0, 1 - label, label))

    def train(folder, teacher=full, log=mistaught, **changed):
        return pipeline.train_target(
            job, log, codes, dataclasses.replace(settings, **changed),
            tmp_path / folder, teacher=teacher, verbose=0,
        )  # fmt: skip

    model, scores = train("whole", epochs=2)
    assert scores.auc > 0.6 > 0.55 > train("labels", None)[1].auc

    train("parts", epochs=1)
    state = tmp_path / "parts" / "state.npz"
    with np.load(state) as saved:
        arrays = dict(saved)
    progress = str(arrays["state"]).replace('"done": true', '"done": false')
    np.savez(state, **{**arrays, "state": progress})
    again, _ = train("parts", epochs=2)
    for one, two in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)

    for folder, teacher in (("parts", None), ("labels", full)):
        with pytest.raises(mec_tf.ArtifactError, match="on other labels"):
            train(folder, teacher)
    with pytest.raises(ValueError, match="^`teacher` must have a loss"):
        train("new", mec_tf.models.DeepFM(ROWS))
    assert not (tmp_path / "new").exists()
