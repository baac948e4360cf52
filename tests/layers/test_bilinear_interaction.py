import itertools

import numpy as np
import pytest

from mec_tf.layers import BilinearInteraction
from tests.harness import run_layer_test

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(2, 4, 3)).astype("float32")
PAIRS = list(itertools.combinations(range(4), 2))


@pytest.mark.parametrize(
    "bilinear_type, matrix_of",
    [
        ("all", lambda pair: 0),
        ("each", lambda pair: PAIRS[pair][0]),
        ("interaction", lambda pair: pair),
    ],
    ids=["all", "each", "interaction"],
)
def test_layer(bilinear_type, matrix_of):
    layer = run_layer_test(
        BilinearInteraction,
        {"bilinear_type": bilinear_type},
        VECTORS,
        expected_output_shape=(2, 6, 3),
        expected_num_trainable_weights=1,
    )
    (kernel,) = layer.get_weights()
    matrices = {matrix_of(pair) for pair in range(6)}
    assert kernel.shape == (len(matrices), 3, 3)
    expected = [
        VECTORS[:, f] @ kernel[matrix_of(pair)] * VECTORS[:, g]
        for pair, (f, g) in enumerate(PAIRS)
    ]
    np.testing.assert_allclose(
        layer(VECTORS), np.stack(expected, axis=1), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("bilinear_type", ["all", "each", "interaction"])
def test_initial_matrices_keep_the_scale(bilinear_type):
    vectors = RNG.normal(size=(200, 5, 64)).astype("float32")
    products = BilinearInteraction(bilinear_type)(vectors).numpy()
    assert 0.9 < products.std() < 1.1


def test_bad_arguments():
    with pytest.raises(ValueError, match="bilinear_type='some'"):
        BilinearInteraction("some")
    with pytest.raises(ValueError, match="at least two fields"):
        BilinearInteraction().build((None, 1, 3))
