import numpy as np
import pytest

from mec_tf.data import Windows

WINDOWS = Windows(
    np.arange(1, 9, dtype=np.int32), [0, 0, 3, 5], [0, 2, 8, 5], length=3
)
ROWS = [[0, 0, 0], [2, 1, 0], [8, 7, 6], [0, 0, 0]]


def test_cuts_the_last_values_and_pads():
    assert WINDOWS.shape == (4, 3) and len(WINDOWS) == 4
    assert WINDOWS[0:4].tolist() == ROWS
    assert WINDOWS[0:4].dtype == np.int32
    assert WINDOWS[np.array([2, 1])].tolist() == [ROWS[2], ROWS[1]]


def test_takes_rows_without_cutting_them():
    some = WINDOWS.take(np.array([2, 1, 2]))
    assert some.stream is WINDOWS.stream
    assert some[1:3].tolist() == [ROWS[1], ROWS[2]]


def test_refuses_bad_arguments():
    with pytest.raises(ValueError, match="2 and 1"):
        Windows(np.arange(3), [0, 0], [1], 2)
    with pytest.raises(ValueError, match="length=0"):
        Windows(np.arange(3), [0], [1], 0)
