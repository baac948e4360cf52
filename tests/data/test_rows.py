import numpy as np
import pytest

from mec_tf.data import Rows
from mec_tf.data.rows import shuffled_rows


def make_rows(n):
    ids = np.arange(2 * n, dtype=np.int32).reshape(n, 2)
    return Rows(ids, np.zeros((n, 0), np.float32), np.zeros(n, np.float32))


def test_batches_in_order():
    batches = [rows.ids for rows in make_rows(10).batches(4)]
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert np.concatenate(batches)[:, 0].tolist() == list(range(0, 20, 2))


def test_shuffled_batches_hold_each_row_once():
    rng = np.random.default_rng(0)
    batches = [rows.ids for rows in make_rows(10).batches(4, rng)]
    assert [len(batch) for batch in batches] == [4, 4, 2]
    found = np.concatenate(batches)[:, 0]
    assert found.tolist() != list(range(0, 20, 2))
    assert sorted(found) == list(range(0, 20, 2))


def test_windows_hold_each_row_once_and_mix():
    n = 600_000
    rng = np.random.default_rng(0)
    chunks = list(shuffled_rows(n, rng, full_rows=1000))
    assert len(chunks) > 1
    assert max(map(len, chunks)) <= 1 << 18
    rows = np.concatenate(chunks)
    assert np.array_equal(np.sort(rows), np.arange(n))
    # The first window draws from the whole range, evenly.
    assert abs(chunks[0].mean() / n - 0.5) < 0.05


def test_refuses_unequal_lengths():
    with pytest.raises(ValueError, match=r"\[2, 2, 3\]"):
        Rows(np.zeros((2, 1)), np.zeros((2, 0)), np.zeros(3))
    sequences = {"s": np.zeros((3, 4))}
    with pytest.raises(ValueError, match=r"\[2, 2, 2, 3\]"):
        Rows(np.zeros((2, 1)), np.zeros((2, 0)), np.zeros(2), sequences)
