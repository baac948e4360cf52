import numpy as np
import pytest
import tensorflow as tf

from mec_tf.layers import TableEmbedding, TableLayer
from tests.harness import raw_variable, run_layer_test

IDS = np.array([[1, 2, 0], [4, 5, 3]], "int32")


def test_contract():
    run_layer_test(
        TableEmbedding,
        {
            "input_dim": 6,
            "output_dim": 4,
            "additive_dim": 1,
            "private_rows": 5,
            "mask_zero": True,
            "oov": 2,
            "embeddings_initializer": "glorot_uniform",
        },
        IDS,
        expected_output_shape=(2, 3, 4),
        expected_mask=IDS != 0,
        expected_num_trainable_weights=1,
        expected_num_non_trainable_weights=0,
        supports_ragged=True,
    )


def test_rows_beyond_the_private_ones_share_row_zero():
    layer = TableEmbedding(6, 2, private_rows=4)
    rows = layer(tf.range(6)).numpy()
    table = raw_variable(layer.embeddings).numpy()
    assert table.shape == (4, 2)
    np.testing.assert_array_equal(rows, table[[0, 1, 2, 3, 0, 0]])


def test_gradients_are_sparse():
    layer = TableEmbedding(6, 2)
    layer.build()
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(layer(tf.constant([1, 1])))
    gradient = tape.gradient(value, raw_variable(layer.embeddings))
    assert isinstance(gradient, tf.IndexedSlices)
    dense = tf.convert_to_tensor(gradient)
    np.testing.assert_array_equal(dense[:3], [[0, 0], [2, 2], [0, 0]])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"input_dim": 0}, "`input_dim` must be .* input_dim=0"),
        ({"output_dim": 1.5}, "`output_dim` must be .* output_dim=1.5"),
        ({"additive_dim": 9}, "`additive_dim` .* additive_dim=9"),
        ({"private_rows": 7}, "`private_rows` .* private_rows=7"),
        ({"private_rows": 0}, "`private_rows` .* private_rows=0"),
        ({"oov": 6}, "`oov` must be"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        TableLayer(**{"input_dim": 6, "output_dim": 4, **arguments})
