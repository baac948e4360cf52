import numpy as np
import pytest
import tensorflow as tf

from mec_tf.quantizers import packing


@pytest.mark.parametrize(
    ("num_codes", "size"),
    [(1, 2), (1, 4), (2, 2), (1, 16), (2, 16), (4, 64), (3, 64), (5, 32),
     (2, 256), (1, 1000), (3, 1024), (4, 4096), (2, 65536), (7, 1)],
)  # fmt: skip
def test_bits_come_back(num_codes, size):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, size, (1003, num_codes))
    packed = packing.pack_bits(codes, size)
    assert packed.dtype == np.uint8
    assert packed.shape == packing.packed_shape(1003, num_codes, size)
    assert packed.nbytes == packing.codes_bytes(1003, num_codes, size, True)
    back = packing.unpack_bits(packed, 1003, num_codes, size)
    np.testing.assert_array_equal(back, codes)
    assert back.dtype == packing.code_dtype(size)
    rows = rng.integers(0, 1003, (5, 2))

    @tf.function(jit_compile=True)
    def gathered(rows):
        table = tf.constant(packed)
        return packing.gather_bits(table, rows, num_codes, size)

    np.testing.assert_array_equal(gathered(tf.constant(rows)), codes[rows])


def test_bytes_of_a_table():
    assert packing.codes_bytes(1000, 1, 16, True) == 500
    assert packing.codes_bytes(1000, 4, 64, True) == 3000
    assert packing.codes_bytes(1000, 4, 64, False) == 4000
    assert packing.saves(4, 64) and packing.saves(2, 4096)
    assert not packing.saves(4, 256) and not packing.saves(1, 128)


def test_codes_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"`codes` must lie in \[0, 4\)"):
        packing.pack_bits(np.array([[4]]), 4)
