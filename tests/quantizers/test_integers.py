import numpy as np
import pytest
import tensorflow as tf

from mec_tf.quantizers import integers

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("bits", integers.BITS)
@pytest.mark.parametrize("dim", [1, 5, 8])
def test_packing_goes_there_and_back(bits, dim):
    low, high = integers.integer_range(bits)
    whole = RNG.integers(low, high + 1, size=(7, dim))
    packed = integers.pack(tf.constant(whole, tf.float32), bits)
    assert packed.dtype == tf.uint8
    assert packed.shape == (7, integers.packed_width(dim, bits))
    np.testing.assert_array_equal(integers.unpack(packed, dim, bits), whole)
    table = integers.unpack_table(packed.numpy(), dim, bits)
    assert table.dtype == np.int8
    np.testing.assert_array_equal(table, whole)


def test_packed_bytes_are_offset_binary_little_end_first():
    whole = tf.constant([[-8.0, 7.0, 0.0]])
    np.testing.assert_array_equal(integers.pack(whole, 4), [[0xF0, 0x08]])
    whole = tf.constant([[-2.0, -1.0, 0.0, 1.0]])
    np.testing.assert_array_equal(integers.pack(whole, 2), [[0b11100100]])


def test_quantize_rounds_to_the_nearest_and_clips():
    values = tf.constant([[-100.0, -0.26, -0.24, 0.24, 0.26, 100.0]])
    whole = integers.quantize(values, 0.5, 4)
    np.testing.assert_array_equal(whole, [[-8, -1, 0, 0, 1, 7]])


def test_stochastic_rounding_is_right_on_average():
    values = np.linspace(-0.3, 0.3, 25, dtype="float32")
    noise = RNG.random((20000, 25), dtype="float32")
    whole = integers.quantize(values[None], 0.1, 4, noise).numpy()
    assert np.abs(whole - values / 0.1).max() <= 1.0
    np.testing.assert_allclose(whole.mean(0) * 0.1, values, atol=0.002)


def test_step_slope():
    values = tf.constant([-5.0, -2.0, -0.7, 0.3, 1.0, 9.0])
    slope = integers.step_slope(values, tf.constant(1.0), 2)
    np.testing.assert_allclose(slope, [-2, -2, -0.3, -0.3, 1, 1], rtol=1e-6)


@pytest.mark.parametrize("bits", integers.BITS)
def test_step_sizes(bits):
    table = RNG.normal(size=(40, 16)).astype("float32")
    table[3] = 0
    high = integers.integer_range(bits)[1]
    largest = integers.step_sizes_of(table, bits, "max")
    expected = np.abs(table).max(1) / high
    expected[3] = integers.MIN_STEP
    np.testing.assert_allclose(largest, expected, rtol=1e-6)

    def error(steps):
        whole = integers.quantize(table, steps[:, None], bits)
        return np.square(whole * steps[:, None] - table).sum(axis=1)

    best = integers.step_sizes_of(table, bits)
    assert (error(best) <= error(largest) + 1e-6).all()


def test_bytes():
    assert integers.table_bytes(10, 5, 4) == 10 * 3 + 40
    assert integers.table_bytes(10, 5, 2, "table", "float16") == 10 * 2 + 2


def test_bad_arguments():
    with pytest.raises(ValueError, match="`bits` must be 8, 4 or 2.*bits=3"):
        integers.check_bits(3)
    with pytest.raises(ValueError, match="`method` must be.*method='x'"):
        integers.step_sizes_of(np.ones((2, 2)), 8, "x")
