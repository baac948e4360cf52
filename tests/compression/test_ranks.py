import numpy as np
import pytest

from mec_tf.compression import DenseReport, OutputStatistics
from mec_tf.compression.ranks import in_budget, keeping_variance, with_ranks


def statistics(variances):
    """Of vectors with these variances along the axes."""
    found = OutputStatistics(len(variances))
    found.add_moments(1.0, np.zeros(len(variances)), np.diag(variances))
    return found


LAYERS = (
    DenseReport("kept", 100, 8, note="left alone: the first of its owner"),
    DenseReport("steep", 100, 8),
    DenseReport("flat", 100, 8),
    DenseReport("head", 100, 1),
)
STATISTICS = {
    "steep": statistics([100.0, 1.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1]),
    "flat": statistics([1.0] * 8),
}


def test_bytes():
    layer = DenseReport("a", 100, 8, rank=3)
    assert layer.bytes_before == 101 * 8 * 4
    assert layer.bytes_after == (101 * 3 + 4 * 8) * 4
    assert layer.factor_bytes(layer.most_rank) < layer.bytes_before
    assert layer.factor_bytes(layer.most_rank + 1) >= layer.bytes_before
    assert DenseReport("head", 100, 1).most_rank == 0
    assert DenseReport("b", 100, 8, use_bias=False).bytes_before == 3200


def test_a_budget_goes_where_it_keeps_most():
    total = sum(layer.bytes_before for layer in LAYERS)
    for budget in range(int(0.46 * total), total, 500):
        chosen = in_budget(LAYERS, STATISTICS, budget)
        assert sum(layer.bytes_after for layer in chosen) <= budget
        kept, steep, flat, head = chosen
        assert kept == LAYERS[0] and "not be smaller" in head.note
        if flat.rank is not None and steep.rank is not None:
            assert flat.rank >= steep.rank - 1
    best = in_budget(LAYERS, STATISTICS, int(0.6 * total))
    assert best[1].rank == 1 and best[2].rank > 1


def test_a_budget_of_the_whole_leaves_all_alone():
    total = sum(layer.bytes_before for layer in LAYERS)
    chosen = in_budget(LAYERS, STATISTICS, total)
    assert all(layer.rank is None and layer.note for layer in chosen)


def test_a_budget_that_cannot_be_met():
    with pytest.raises(ValueError, match="`ratio` must be at most 2"):
        in_budget(LAYERS, STATISTICS, 3000)


def test_variance_decides_the_rank():
    _, steep, flat, head = keeping_variance(LAYERS, STATISTICS, 0.98)
    assert steep.rank == 1 and steep.kept_variance > 0.98
    assert "not be smaller" in flat.note and "not be smaller" in head.note


def test_one_rank_for_all_or_one_each():
    _, steep, flat, head = with_ranks(LAYERS, STATISTICS, 2)
    assert (steep.rank, flat.rank, head.rank) == (2, 2, None)
    assert flat.kept_variance == pytest.approx(0.25)
    _, steep, flat, _ = with_ranks(LAYERS, STATISTICS, {"flat": 8})
    assert flat.rank == 8 and "not in `ranks`" in steep.note
    assert "rank 8 keeps 100.0% of the variance" in str(flat)
    assert str(steep) == "steep: 100 x 8, left alone: not in `ranks`"
