import numpy as np
import pytest

from benchmarks import usage
from mec_tf.layers import CodeLookupEmbedding


def test_tiers_answer_a_third_of_the_lookups_each():
    counts = np.array([1, 30, 1, 10, 10, 10, 1] + [1] * 27)
    popular, middle, rare = usage.popularity_tiers(counts)
    assert popular.tolist() == [1]
    assert middle.tolist() == [3, 4, 5]
    assert len(rare) == 30
    assert [len(t) for t in usage.popularity_tiers(np.zeros(4, int))] == [
        4,
        0,
        0,
    ]


def test_perplexity():
    codes = np.array([[0, 0], [1, 0], [2, 0], [3, 0]])
    assert usage.perplexity(codes, 8) == pytest.approx((4 + 1) / 2)
    counts = np.array([1, 1, 0, 0])
    assert usage.perplexity(codes[:, :1], 8, counts) == pytest.approx(2)
    assert usage.perplexity(codes[:0], 8) == 0


def test_usage_of_a_table():
    codes = np.array([[0], [1], [1], [1]])
    codebooks = np.array([[[1.0, 0.0], [0.0, 1.0], [5.0, 5.0], [6.0, 6.0]]])
    layer = CodeLookupEmbedding.from_codes(codes, codebooks)
    original = np.array([[1, 0], [0, 1], [0, 2], [0, 0]], "float32")
    found = usage.table_usage(layer, np.array([3, 3, 2, 1]), original)
    assert found["dead_share"] == 0.5
    popular, middle, rare = (found["tiers"][name] for name in usage.TIERS)
    assert popular["error_share"] == middle["error_share"] == 0
    assert rare["error_share"] == pytest.approx(1)
    assert rare["relative_error"] == pytest.approx(2 / 4)
    assert rare["distinct_share"] == 0.5
    assert found["lookup_perplexity"] < 0.5
