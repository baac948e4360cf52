import numpy as np
import pytest

from mec_tf.layers import SqueezeExcitation
from tests.harness import raw_variable, run_layer_test

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(3, 5, 4)).astype("float32")


def test_layer():
    layer = run_layer_test(
        SqueezeExcitation,
        {"reduction_ratio": 2},
        VECTORS,
        expected_output_shape=(3, 5, 4),
        expected_num_trainable_weights=2,
    )
    squeeze, excite = layer.get_weights()
    assert squeeze.shape == (5, 2) and excite.shape == (2, 5)
    hidden = np.maximum(VECTORS.mean(axis=2) @ squeeze, 0)
    weights = np.maximum(hidden @ excite, 0)
    assert (weights > 0).any() and (weights == 0).any()
    np.testing.assert_allclose(
        layer(VECTORS), VECTORS * weights[..., None], rtol=1e-5, atol=1e-7
    )


def test_the_layer_in_between_has_at_least_one_unit():
    layer = SqueezeExcitation(reduction_ratio=9)
    layer(VECTORS)
    assert tuple(raw_variable(layer.squeeze).shape) == (5, 1)


@pytest.mark.parametrize("ratio", [0, 1.5])
def test_bad_arguments(ratio):
    with pytest.raises(ValueError, match=f"reduction_ratio={ratio}"):
        SqueezeExcitation(ratio)
