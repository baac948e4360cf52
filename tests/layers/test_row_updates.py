import numpy as np
import pytest
import tensorflow as tf

from mec_tf.layers.row_updates import ROW_OPTIMIZERS, distinct_rows


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("rows", [[7, 2, 7, 7, 0, 2], [3], [1, 1]])
def test_distinct_rows(rows, jit_compile):
    values = np.arange(2.0 * len(rows)).reshape(-1, 2).astype("float32")

    @tf.function(jit_compile=jit_compile)
    def group(rows, values):
        distinct = distinct_rows(rows)
        return distinct.rows, distinct.places, distinct.summed(values)

    found, places, sums = group(tf.constant(rows), values)
    np.testing.assert_array_equal(tf.gather(found, places), rows)
    assert set(found.numpy()) == set(rows)
    for row, total in zip(found.numpy(), sums.numpy(), strict=True):
        expected = values[np.array(rows) == row].sum(axis=0)
        np.testing.assert_array_equal(total, expected)


def test_adam_is_that_of_keras():
    start = np.array([[0.3, -0.2]], "float32")
    variable = tf.Variable(start)
    keras = tf.keras.optimizers.Adam(0.1, epsilon=1e-8)
    rows, slots = tf.constant(start), tf.zeros([1, 4])
    for count in range(1, 4):
        gradient = tf.constant([[0.5, -0.1 * count]])
        change, slots = ROW_OPTIMIZERS["adam"].direction(
            gradient, slots, tf.constant(float(count))
        )
        rows -= 0.1 * change
        keras.apply_gradients([(gradient, variable)])
    np.testing.assert_allclose(rows, variable, rtol=1e-4, atol=1e-6)


def test_adagrad_keeps_one_float_a_row():
    optimizer = ROW_OPTIMIZERS["adagrad"]
    assert optimizer.slot_width(16) == 1
    gradients = tf.constant([[3.0, 4.0], [0.0, 0.0]])
    change, slots = optimizer.direction(gradients, tf.zeros([2, 1]), 1)
    np.testing.assert_allclose(slots, [[12.5], [0.0]])
    np.testing.assert_allclose(
        change, gradients / [[np.sqrt(12.5)], [1.0]], rtol=1e-6
    )
