import numpy as np

from mec_tf.models import GDCN
from tests.harness import raw_variable

IDS = {"a": np.array([1, 2]), "b": np.array([0, 3])}


def test_logits_follow_the_formula():
    model = GDCN(
        {"a": 5, "b": 4},
        {"x": (0.0, 1.0)},
        embedding_dim=3,
        hidden_units=(6,),
        num_cross_layers=2,
        embeddings_initializer="glorot_uniform",
    )
    logits = model({**IDS, "x": np.array([-4.0, 9.0], "float32")})

    tables = model.field_embeddings.tables
    a, b = (raw_variable(tables[n].embeddings).numpy()[IDS[n]] for n in IDS)
    number = np.array([[-np.log1p(4.0)], [np.log1p(9.0)]])
    flat = np.concatenate([a, b, number], axis=1)
    crossed = flat
    layers = model.cross.dense_layers
    for dense, gate in zip(layers[::2], layers[1::2], strict=True):
        kernel, bias = dense.get_weights()
        gates = 1 / (1 + np.exp(-crossed @ gate.get_weights()[0]))
        crossed = flat * (crossed @ kernel + bias) * gates + crossed
    kernel, bias = model.tower.get_weights()
    deep = np.maximum(flat @ kernel + bias, 0.0)
    kernel, bias = model.head.get_weights()
    expected = np.concatenate([crossed, deep], axis=1) @ kernel + bias
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)


def test_tables_have_no_first_order_column():
    model = GDCN({"a": 5}, embedding_dim=3, num_cross_layers=2)
    assert model.field_embeddings.tables["a"].output_dim == 3
    assert model.get_config()["num_cross_layers"] == 2
