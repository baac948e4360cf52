import numpy as np
import pytest
import tensorflow as tf

from mec_tf.layers import (
    FieldEmbeddings,
    ProductQuantizedEmbedding,
    TableEmbedding,
)
from tests.harness import raw_variable, run_layer_test

IDS = np.array([[1, 2, 0], [4, 5, 3]], "int32")


def tables():
    # Keras 2 sorts the items of a dict, Keras 3 does not: not in order.
    return {"b": TableEmbedding(6, 4), "a": TableEmbedding(6, 3)}


def test_contract():
    run_layer_test(
        FieldEmbeddings,
        {"tables": tables(), "fields": {"z": "b", "y": "a", "x": "b"}},
        {"x": IDS, "y": IDS, "z": IDS},
        expected_output_shape={"x": (2, 3, 4), "y": (2, 3, 3), "z": (2, 3, 4)},
        expected_num_trainable_weights=2,
        supports_mixed=False,  # the dtypes are the tables' own
    )


def test_features_look_up_their_tables():
    layer = FieldEmbeddings(tables(), {"z": "b", "y": "a", "x": "b"})
    inputs = {"x": IDS, "y": IDS[:1], "z": IDS[0], "other": np.zeros(7)}
    outputs = layer(inputs)
    assert list(outputs) == ["z", "y", "x"]
    table = {n: raw_variable(t.embeddings) for n, t in layer.tables.items()}
    np.testing.assert_array_equal(outputs["x"], table["b"].numpy()[IDS])
    np.testing.assert_array_equal(outputs["y"], table["a"].numpy()[IDS[:1]])
    np.testing.assert_array_equal(outputs["z"], table["b"].numpy()[IDS[0]])


def test_by_default_each_feature_has_its_own_table():
    layer = FieldEmbeddings(tables())
    assert dict(layer.fields) == {"b": "b", "a": "a"}


class Summed(tf.keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.head = tf.keras.layers.Dense(1)

    # Keras 3 tells layers of training only where the model takes it.
    def call(self, inputs, training=False):
        return self.head(tf.concat(list(self.layer(inputs).values()), -1))


def test_a_replaced_table_is_trained_and_saved(tmp_path):
    def make():
        layer = FieldEmbeddings(tables())
        layer.tables["b"] = ProductQuantizedEmbedding(6, 4, 2, 4)
        return Summed(layer)

    model = make()
    model.compile("adam", "mse")
    inputs = {"a": IDS[:, 0], "b": IDS[:, 1]}
    model.fit(inputs, np.ones((2, 1)), verbose=0)
    replaced = model.layer.tables["b"]
    assert any(replaced.embeddings is w for w in model.trainable_weights)
    # Two tables; codebooks, moving averages, popularity, draws; head.
    assert len(model.weights) == 2 + 4 + 2
    counts = raw_variable(replaced.moving).numpy()[..., -1]
    assert np.abs(counts - 1.0).max() > 1e-3, "training did not reach it"

    path = str(tmp_path / "model.weights.h5")
    model.save_weights(path)
    twin = make()
    twin(inputs)
    twin.load_weights(path)
    np.testing.assert_array_equal(twin(inputs), model(inputs))


def test_a_copy_from_the_config_is_not_built():
    layer = FieldEmbeddings(tables())
    layer({"a": IDS, "b": IDS})
    copy = FieldEmbeddings.from_config(layer.get_config())
    assert not copy.built
    assert not any(table.built for table in copy.tables.values())


def test_a_missing_feature_is_named():
    with pytest.raises(ValueError, match=r"Missing: \['a'\]"):
        FieldEmbeddings(tables()).call({"b": IDS, "c": IDS})


@pytest.mark.parametrize(
    "fields", [{}, {"x": "a"}, {"x": "a", "y": "b", "z": "c"}]
)
def test_fields_must_fit_the_tables(fields):
    with pytest.raises(ValueError, match="`fields` must name a feature"):
        FieldEmbeddings(tables(), fields)
