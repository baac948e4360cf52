import sys

import numpy as np
import pytest

from benchmarks import encode


def test_rows_of_the_result(monkeypatch):
    def exact(table, books, threads):
        """Stands in for faiss, which the tests do not need."""
        assert threads == 2
        parts = table.reshape(len(table), len(books), 1, -1)
        gaps = np.square(parts - books).sum(-1)
        return lambda: gaps.argmin(-1).astype(np.uint8)

    monkeypatch.setattr(encode, "faiss_encoder", exact)
    rows = encode.measure(300, 8, 4, 16, threads=2, rounds=1)
    assert [row["variant"] for row in rows] == ["faiss", "encode", "freeze"]
    for row in rows:
        assert row["rows"] == 300 and row["per_second"] > 0
        assert row["differing"] == 0
    assert rows[0]["ratio"] == 1 and rows[1]["ratio"] > 0


def test_without_faiss(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(SystemExit, match="pip install faiss-cpu"):
        encode.load_faiss()
