import numpy as np

from mec_tf.models import DeepFM
from tests.harness import raw_variable

IDS = {"a": np.array([1, 2]), "b": np.array([0, 3])}


def rows(model):
    """Looked-up rows: `[batch, fields, embedding_dim + 1]`."""
    tables = model.field_embeddings.tables
    return np.stack(
        [raw_variable(tables[n].embeddings).numpy()[IDS[n]] for n in IDS], 1
    )


def test_logits_follow_the_formula():
    model = DeepFM(
        {"a": 5, "b": 4},
        {"x": (0.5, 2.0)},
        embedding_dim=3,
        hidden_units=(6,),
        embeddings_initializer="glorot_uniform",
    )
    prices = np.array([-4.0, 9.0], "float32")
    logits = model({**IDS, "x": prices})

    looked_up = rows(model)
    vectors, first_order = looked_up[..., :3], looked_up[..., 3]
    number = (np.sign(prices) * np.log1p(np.abs(prices)) - 0.5) / 2.0
    flat = np.concatenate([vectors.reshape(2, 6), number[:, None]], axis=1)
    kernel, bias = model.tower.get_weights()
    hidden = np.maximum(flat @ kernel + bias, 0.0)
    kernel, bias = model.head.get_weights()
    (linear,) = model.linear.get_weights()
    expected = (
        hidden @ kernel
        + bias
        + first_order.sum(axis=1, keepdims=True)
        + (vectors[:, 0] * vectors[:, 1]).sum(axis=1, keepdims=True)
        + number[:, None] * linear
    )
    np.testing.assert_allclose(logits, expected, rtol=1e-5)


def test_without_a_tower():
    model = DeepFM({"a": 5, "b": 4}, embedding_dim=3, hidden_units=())
    logits = model(IDS)
    looked_up = rows(model)
    kernel, bias = model.head.get_weights()
    expected = (
        looked_up[..., :3].reshape(2, 6) @ kernel
        + bias
        + looked_up[..., 3].sum(axis=1, keepdims=True)
        + (looked_up[:, 0, :3] * looked_up[:, 1, :3]).sum(1, keepdims=True)
    )
    np.testing.assert_allclose(logits, expected, rtol=1e-5)
