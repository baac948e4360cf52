import numpy as np
import pytest

from mec_tf.layers import GatedCrossNetwork
from tests.harness import raw_variable, run_layer_test

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(2, 4)).astype("float32")


def test_layer():
    layer = run_layer_test(
        GatedCrossNetwork,
        {"num_layers": 2},
        ROWS,
        expected_output_shape=(2, 4),
        expected_num_trainable_weights=6,
    )
    dense, gates = layer.dense_layers[::2], layer.dense_layers[1::2]
    for each in dense:
        raw_variable(each.bias).assign(RNG.normal(size=4))
    expected = ROWS
    for each, gate in zip(dense, gates, strict=True):
        kernel, bias = each.get_weights()
        opened = 1 / (1 + np.exp(-expected @ gate.get_weights()[0]))
        expected = ROWS * (expected @ kernel + bias) * opened + expected
    np.testing.assert_allclose(layer(ROWS), expected, rtol=1e-5)


@pytest.mark.parametrize("num_layers", [0, 1.5])
def test_bad_arguments(num_layers):
    with pytest.raises(ValueError, match=f"num_layers={num_layers}"):
        GatedCrossNetwork(num_layers)
