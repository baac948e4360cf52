"""Checks gradients of tensor functions against finite differences."""

import numpy as np
import tensorflow as tf


def assert_gradients_match(function, inputs, step=1e-6, rtol=1e-5):
    """Central differences of a scalar `function(*inputs)` in float64."""
    inputs = [np.asarray(x, np.float64) for x in inputs]
    tensors = [tf.constant(x) for x in inputs]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = function(*tensors)
    assert value.dtype == tf.float64
    gradients = tape.gradient(value, tensors)
    for index, gradient in enumerate(gradients):
        expected = np.empty_like(inputs[index])
        for place in np.ndindex(expected.shape):
            values = []
            for sign in (1.0, -1.0):
                moved = [x.copy() for x in inputs]
                moved[index][place] += sign * step
                values.append(function(*map(tf.constant, moved)).numpy())
            expected[place] = (values[0] - values[1]) / (2.0 * step)
        assert np.abs(expected).max() > 1e-4, "a gradient of zero proves little"
        np.testing.assert_allclose(gradient, expected, rtol=rtol, atol=1e-8)
