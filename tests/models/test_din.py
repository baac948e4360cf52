import numpy as np
import pytest
import tensorflow as tf

from mec_tf.models import DIN
from tests.harness import raw_variable

SIZES = {"user": 5, "item": 9, "history": 9}
FEATURES = {
    "user": np.array([1, 4]),
    "item": np.array([3, 8]),
    "history": np.array([[2, 7, 5], [6, 0, 0]]),
}


def make(**kwargs):
    return DIN(
        SIZES,
        sequences={"history": "item"},
        embedding_dim=4,
        hidden_units=(6,),
        embeddings_initializer="glorot_uniform",
        **kwargs,
    )


def test_logits_follow_the_formula():
    model = make()
    logits = model(FEATURES)
    tables = {
        name: raw_variable(table.embeddings).numpy()
        for name, table in model.field_embeddings.tables.items()
    }
    assert set(tables) == {"user", "item"}
    query = tables["item"][FEATURES["item"]]
    keys = tables["item"][FEATURES["history"]]
    mask = FEATURES["history"] > 0
    interest = model.attention["history"]([query, keys], mask=mask)
    assert np.abs(interest).min() > 0
    flat = np.concatenate(
        [tables["user"][FEATURES["user"]], query, interest], axis=1
    )
    kernel, bias = model.tower.get_weights()
    hidden = np.maximum(flat @ kernel + bias, 0.0)
    kernel, bias = model.head.get_weights()
    np.testing.assert_allclose(logits, hidden @ kernel + bias, rtol=1e-5)


def test_history_counts_by_the_target():
    # Two users of one history: what it is worth hangs on the item.
    model = make(attention_softmax=True, attention_units=(8, 4))
    twins = {
        "user": np.array([1, 1]),
        "item": np.array([3, 8]),
        "history": np.array([[2, 7], [2, 7]]),
    }
    pooled = {}
    attend = model.attention["history"]

    def pool(name, vectors, mask, target):
        pooled[name] = attend([target, vectors], mask=mask)
        return pooled[name]

    model.pool = pool
    model(twins)
    assert np.abs(pooled["history"][0] - pooled["history"][1]).max() > 1e-6


def test_keeps_its_settings():
    model = make(attention_softmax=True, attention_units=(8, 4), name="din")
    twin = DIN.from_config(model.get_config())
    assert twin.attention["history"].units == (8, 4)
    assert twin.attention["history"].softmax is True
    assert twin.get_config() == model.get_config()


def test_order_within_a_history_is_free():
    model = make()
    turned = {**FEATURES, "history": FEATURES["history"][:, ::-1].copy()}
    np.testing.assert_allclose(model(turned), model(FEATURES), rtol=1e-5)


@pytest.mark.parametrize("sequences", [None, {}])
def test_needs_a_sequence(sequences):
    with pytest.raises(ValueError, match="`sequences` must map"):
        DIN({"a": 3}, sequences=sequences)


def test_gradients_reach_history_rows_alone_where_they_are():
    model = make()
    model(FEATURES)
    table = raw_variable(model.field_embeddings.tables["item"].embeddings)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(FEATURES))
    gradient = tf.convert_to_tensor(tape.gradient(loss, table)).numpy()
    touched = np.flatnonzero(np.abs(gradient).sum(axis=1))
    assert touched.tolist() == [2, 3, 5, 6, 7, 8]


def test_as_part_of_a_functional_model():
    model = make()
    inputs = {
        name: tf.keras.Input(values.shape[1:], dtype="int32", name=name)
        for name, values in FEATURES.items()
    }
    whole = tf.keras.Model(inputs, tf.keras.layers.Dense(1)(model(inputs)))
    (kernel, bias) = whole.layers[-1].get_weights()
    values = {n: tf.constant(v, tf.int32) for n, v in FEATURES.items()}
    np.testing.assert_allclose(
        whole(values), model(FEATURES) @ kernel + bias, rtol=1e-5
    )
