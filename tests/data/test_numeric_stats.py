import numpy as np
import pytest

from mec_tf.data.numeric_stats import Moments, NumericStats


def test_statistics_of_the_transform():
    values = np.array([0.0, -3.0, np.nan, 100.0, np.inf])
    stats = NumericStats.from_values(values)
    seen = np.array([0.0, -np.log1p(3), np.log1p(100)])
    assert stats.mean == pytest.approx(seen.mean())
    assert stats.std == pytest.approx(seen.std())
    assert stats.missing == 2


def test_blocks_make_no_difference():
    values = np.random.default_rng(0).normal(50, 1, 1000)
    whole = NumericStats.from_values(values)
    moments = Moments()
    for block in np.split(values, [1, 10, 500]):
        moments.update(block)
    moments.update([])
    assert moments.stats().mean == pytest.approx(whole.mean, rel=1e-12)
    assert moments.stats().std == pytest.approx(whole.std, rel=1e-12)


@pytest.mark.parametrize(
    ("values", "distinct"),
    [([], 0), ([2, 2], 1), ([2, 3], 2), ([2, np.nan], 2), ([np.nan], 1)],
)
def test_distinct(values, distinct):
    moments = Moments()
    moments.update(values)
    assert moments.distinct == distinct
