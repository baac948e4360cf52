import numpy as np
import pytest

from mec_tf.models import DLRM
from tests.harness import raw_variable

IDS = {"a": np.array([1, 2]), "b": np.array([0, 3])}


def vectors(model):
    tables = model.field_embeddings.tables
    return [raw_variable(tables[n].embeddings).numpy()[IDS[n]] for n in IDS]


def test_logits_follow_the_formula():
    model = DLRM(
        {"a": 5, "b": 4},
        {"x": (0.0, 1.0)},
        embedding_dim=3,
        hidden_units=(6,),
        bottom_units=(7,),
        embeddings_initializer="glorot_uniform",
    )
    logits = model({**IDS, "x": np.array([-4.0, 9.0], "float32")})

    number = np.array([[-np.log1p(4.0)], [np.log1p(9.0)]])
    first, bias, second, other = model.bottom.get_weights()
    hidden = np.maximum(number @ first + bias, 0.0)
    bottom = np.maximum(hidden @ second + other, 0.0)
    a, b = vectors(model)
    dots = [(bottom * a).sum(1), (bottom * b).sum(1), (a * b).sum(1)]
    inputs = np.concatenate([bottom, np.stack(dots, axis=1)], axis=1)
    kernel, bias = model.tower.get_weights()
    hidden = np.maximum(inputs @ kernel + bias, 0.0)
    kernel, bias = model.head.get_weights()
    np.testing.assert_allclose(
        logits, hidden @ kernel + bias, rtol=1e-5, atol=1e-6
    )


def test_without_numeric_features_only_dots_enter_the_tower():
    model = DLRM({"a": 5, "b": 4}, embedding_dim=3, hidden_units=())
    logits = model(IDS)
    a, b = vectors(model)
    kernel, bias = model.head.get_weights()
    expected = (a * b).sum(axis=1, keepdims=True) * kernel + bias
    np.testing.assert_allclose(logits, expected, rtol=1e-5)


def test_there_must_be_a_pair_of_vectors():
    with pytest.raises(ValueError, match="must hold two features"):
        DLRM({"a": 5})
    assert DLRM({"a": 5}, {"x": (0.0, 1.0)}).feature_names == ("a", "x")
