import numpy as np
import pytest

from mec_tf.models import PNN
from tests.harness import raw_variable


def test_logits_follow_the_formula():
    ids = {
        "a": np.array([1, 2]),
        "b": np.array([0, 3]),
        "c": np.array([2, 0]),
    }
    model = PNN(
        {"a": 5, "b": 4, "c": 3},
        {"x": (0.0, 1.0)},
        embedding_dim=3,
        hidden_units=(6,),
        embeddings_initializer="glorot_uniform",
    )
    logits = model({**ids, "x": np.array([-4.0, 9.0], "float32")})

    tables = model.field_embeddings.tables
    a, b, c = (raw_variable(tables[n].embeddings).numpy()[ids[n]] for n in ids)
    number = np.array([[-np.log1p(4.0)], [np.log1p(9.0)]])
    products = [(a * b).sum(1), (a * c).sum(1), (b * c).sum(1)]
    inputs = np.concatenate([a, b, c, number, np.stack(products, 1)], axis=1)
    kernel, bias = model.tower.get_weights()
    hidden = np.maximum(inputs @ kernel + bias, 0.0)
    kernel, bias = model.head.get_weights()
    np.testing.assert_allclose(
        logits, hidden @ kernel + bias, rtol=1e-5, atol=1e-6
    )


def test_tables_have_no_first_order_column():
    model = PNN({"a": 5, "b": 4}, embedding_dim=3)
    assert model.field_embeddings.tables["a"].output_dim == 3


def test_there_must_be_a_pair_of_vectors():
    with pytest.raises(ValueError, match="at least two features"):
        PNN({"a": 5}, {"x": (0.0, 1.0)})
