import numpy as np

from benchmarks import training


def test_rows_of_the_result():
    rows = training.measure(600, 200, 4, 8, 3, 2, plain_limit=600, rounds=1)
    assert [row["variant"] for row in rows] == list(training.VARIANTS)
    for row in rows:
        assert row["rows"] == 600 and row["per_second"] > 0
        assert row["growth"] > 0 and row["ratio"] > 0
        assert row["ratio_to_lazy"] > 0
    assert rows[0]["ratio"] == rows[1]["ratio_to_lazy"] == 1


def test_large_tables_are_not_compared_with_plain_adam():
    rows = training.measure(600, 600, 4, 8, 3, 2, plain_limit=500, rounds=1)
    assert [row["variant"] for row in rows] == ["lazy", "quantized"]
    for row in rows:
        assert row["ratio"] is None and row["growth"] == 1


def test_batches_differ_and_stay_in_range():
    batches = training.make_batches(50, 16, 3)
    ids = np.stack([batch[0] for batch in batches])
    assert ids.min() >= 0 and ids.max() < 50
    assert len(np.unique(ids.reshape(len(ids), -1), axis=0)) == len(ids)
