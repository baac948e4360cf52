import numpy as np
import pytest

from mec_tf.quantizers import code_dtype, pack


@pytest.mark.parametrize(
    "size, dtype",
    [(1, "uint8"), (256, "uint8"), (257, "uint16"), (65536, "uint16")],
)
def test_smallest_dtype_that_holds_the_codes(size, dtype):
    assert code_dtype(size) == np.dtype(dtype)
    packed = pack(np.array([[0, size - 1]]), size)
    assert packed.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(packed, [[0, size - 1]])


@pytest.mark.parametrize("size", [0, -1, 65537])
def test_codebook_size_out_of_range(size):
    with pytest.raises(ValueError, match=f"codebook_size={size}"):
        code_dtype(size)


@pytest.mark.parametrize("code", [-1, 256])
def test_code_out_of_range(code):
    with pytest.raises(ValueError, match=r"must lie in \[0, 256\)"):
        pack(np.array([0, code]), 256)


def test_no_codes():
    assert pack(np.empty((0, 2), np.int64), 300).dtype == np.uint16
