"""What each table costs by itself."""

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf.compression import table_losses
from mec_tf.compression.table_losses import binary_scores, gives_logits
from mec_tf.compression.tables import table_layers
from mec_tf.models import DeepFM

PATH = "field_embeddings/tables/"


def examples(size=2000):
    """Labels that hang on the item alone."""
    rng = np.random.default_rng(0)
    user, item = rng.integers(0, 80, (2, size)).astype("int32")
    taste = np.random.default_rng(1).normal(size=80)
    chance = 1.0 / (1.0 + np.exp(-3.0 * taste[item]))
    label = (rng.random(size) < chance).astype("float32")
    return {"user": user, "item": item}, label[:, None]


@pytest.fixture(scope="module")
def models():
    tf.keras.utils.set_random_seed(0)
    model = DeepFM({"user": 80, "item": 80}, embedding_dim=4, hidden_units=(8,))
    model.compile(
        tf.keras.optimizers.Adam(0.02),
        tf.keras.losses.BinaryCrossentropy(from_logits=True),
    )
    data = tf.data.Dataset.from_tensor_slices(examples()).batch(100)
    model.fit(data, epochs=3, verbose=0)
    settings = mec_tf.TableSettings(1, 2)
    policy = mec_tf.CompressionPolicy(max_bytes=10**6, tables={"*": settings})
    result = mec_tf.compress(model, data, policy=policy, epochs=0, verbose=0)
    return model, result, data


def test_the_table_that_matters_costs(models):
    model, result, data = models
    features, _ = examples()
    before = model.predict(features, verbose=0)
    losses = table_losses(model, result.model, data)
    assert set(losses) == {PATH + "user", PATH + "item"}
    assert losses[PATH + "item"]["auc"] < losses[PATH + "user"]["auc"] - 0.02
    assert losses[PATH + "item"]["log_loss"] > 0.02
    np.testing.assert_array_equal(before, model.predict(features, verbose=0))
    report = result.report.with_table_losses(losses)
    assert report.to_dict()["tables"][0]["alone"].keys() == {
        "auc",
        "log_loss",
    }
    assert f"{PATH}item compressed alone: auc -0." in str(report)


def test_own_scores_see_one_table_replaced(models):
    model, result, data = models

    def coded(candidate):
        kinds = [type(t).__name__ for t in table_layers(candidate).values()]
        return {"coded": kinds.count("CodeLookupEmbedding")}

    losses = table_losses(model, result.model, data, score=coded)
    assert [change["coded"] for change in losses.values()] == [1, 1]


def test_probabilities_and_logits_score_alike(models):
    model, _, data = models
    logits = binary_scores(model, data, from_logits=True)
    inputs = {
        name: tf.keras.Input((), dtype="int32", name=name)
        for name in ("user", "item")
    }
    outputs = tf.keras.layers.Activation("sigmoid")(model(inputs))
    squashed = tf.keras.Model(inputs, outputs)
    shares = binary_scores(squashed, data, from_logits=False)
    np.testing.assert_allclose(shares["auc"], logits["auc"], atol=1e-4)
    np.testing.assert_allclose(
        shares["log_loss"], logits["log_loss"], atol=1e-4
    )
    assert gives_logits(model)
    squashed.compile("sgd", "binary_crossentropy")
    assert not gives_logits(squashed)


def test_a_model_without_compressed_tables_is_refused(models):
    model, _, data = models
    with pytest.raises(ValueError, match="compressed tables"):
        table_losses(model, model, data)
    with pytest.raises(ValueError, match="no data"):
        table_losses(model, model, data.take(0))
