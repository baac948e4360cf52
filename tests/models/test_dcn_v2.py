import numpy as np

from mec_tf.models import DCNv2
from tests.harness import raw_variable

IDS = {"a": np.array([1, 2]), "b": np.array([0, 3])}


def test_logits_follow_the_formula():
    model = DCNv2(
        {"a": 5, "b": 4},
        embedding_dim=3,
        hidden_units=(6,),
        num_cross_layers=2,
        embeddings_initializer="glorot_uniform",
    )
    logits = model(IDS)
    tables = model.field_embeddings.tables
    flat = np.concatenate(
        [raw_variable(tables[n].embeddings).numpy()[IDS[n]] for n in IDS], 1
    )
    crossed = flat
    for dense in model.cross.dense_layers:
        kernel, bias = dense.get_weights()
        crossed = flat * (crossed @ kernel + bias) + crossed
    kernel, bias = model.tower.get_weights()
    deep = np.maximum(flat @ kernel + bias, 0.0)
    kernel, bias = model.head.get_weights()
    expected = np.concatenate([crossed, deep], axis=1) @ kernel + bias
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)


def test_tables_have_no_first_order_column():
    model = DCNv2({"a": 5}, embedding_dim=3)
    assert model.field_embeddings.tables["a"].output_dim == 3
    assert model.get_config()["num_cross_layers"] == 3
