import numpy as np
import pytest

from mec_tf.layers import NumericFeatures
from tests.harness import run_layer_test

VALUES = np.array([[0.0, -3.0, 1e5], [7.0, 0.5, -1e-3]], "float32")


def test_contract_and_values():
    layer = run_layer_test(
        NumericFeatures,
        {"means": [0.5, 0.0, 8.0], "stds": [2.0, 1.0, 0.0]},
        VALUES,
        expected_output_shape=(2, 3),
        expected_num_trainable_weights=0,
    )
    logs = np.sign(VALUES) * np.log1p(np.abs(VALUES))
    # A standard deviation of 0 counts as 1.
    expected = (logs - [0.5, 0.0, 8.0]) / [2.0, 1.0, 1.0]
    np.testing.assert_allclose(layer(VALUES), expected, rtol=1e-5, atol=1e-6)


def test_missing_values_are_the_mean():
    layer = NumericFeatures([3.0] * 4, [2.0] * 4)
    values = np.array([[np.nan, np.inf, -np.inf, 0.0]], "float32")
    np.testing.assert_array_equal(layer(values), [[0.0, 0.0, 0.0, -1.5]])


def test_large_numbers_survive_mixed_precision():
    layer = NumericFeatures([0.0], [1.0], dtype="mixed_float16")
    output = layer(np.array([[1e9]], "float32"))
    assert output.dtype == "float16"
    np.testing.assert_allclose(output, [[np.log1p(1e9)]], rtol=1e-3)


@pytest.mark.parametrize(
    "means, stds, message",
    [
        ([1.0], [1.0, 2.0], "1 means and 2 stds"),
        ([1.0], [-1.0], r"stds=\[-1.0\]"),
        ([1.0], [float("nan")], "`stds` must be at least 0"),
    ],
)
def test_bad_arguments(means, stds, message):
    with pytest.raises(ValueError, match=message):
        NumericFeatures(means, stds)
