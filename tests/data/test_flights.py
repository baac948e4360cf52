import importlib.util

import numpy as np
import pytest

from mec_tf.data import flights


@pytest.fixture(scope="module")
def log():
    return flights()


def test_has_the_agreed_shape(log):
    assert [log.num_rows(split) for split in log.splits] == [
        *(262_242, 32_228, 32_876)
    ]
    assert len(log.vocabularies) == 25
    assert sum(v.size for v in log.vocabularies.values()) == 277_542
    assert not log.numeric
    assert 0.23 < log.labels("test").mean() < 0.25


def test_values_are_readable(log):
    def popular(field):
        return log.vocabularies[field].values[0]

    assert popular("carrier") == "UA"
    assert popular("origin_x_dest") == "JFK|LAX"
    assert popular("carrier_x_dest_x_hour") == "US|CLT|6"
    assert "UA1545" in log.vocabularies["flight"].values
    assert "N14228|IAH" in log.vocabularies["tailnum_x_dest"].values
    assert set(log.vocabularies["day_of_week"].values) == {
        *("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
    }


def test_first_row_is_the_first_flight(log):
    features, label = next(iter(log.dataset("train", 1)))
    row = {
        field: log.vocabularies[field].values[features[field].numpy()[0] - 1]
        for field in features
    }
    assert row["flight"] == "UA1545"
    assert row["tailnum_x_flight"] == "N14228|UA1545"
    assert row["dest_x_month_x_hour"] == "IAH|1|5"
    assert row["sched_dep_time"] == "515"
    assert row["temperature"] == "35"
    assert row["precipitation_fine"] == "0.00"
    assert label.numpy().tolist() == [[0.0]]


def test_min_count_moves_rare_values_to_row_zero():
    log = flights(min_count=2)
    counts = log.counts["tailnum_x_flight"]
    assert counts[1:].min() == 2
    assert counts.sum() == 262_242
    assert counts[0] > 0
    train = np.bincount(log._rows["train"].ids[:, 0])
    assert np.array_equal(train, log.counts["carrier"])


def test_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'mec_tf\[demo\]'"):
        flights()
