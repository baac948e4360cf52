"""The comparison of lazy and dense Adam, on few examples."""

import json

import numpy as np
import pytest

from benchmarks import lazy_adam
from mec_tf import data
from mec_tf.data import Log, Schema


@pytest.fixture
def few_examples(monkeypatch):
    rng = np.random.default_rng(0)
    columns = {
        "id": rng.integers(0, 20, 600),
        "label": rng.integers(0, 2, 600).astype(np.float32),
    }
    schema = Schema("label", ("id",), ())
    log = Log.from_columns("few", schema, columns, np.arange(600) % 3)
    monkeypatch.setattr(data, "flights", lambda: log)


def test_each_optimizer_has_its_best_rate(few_examples, tmp_path, capsys):
    path = tmp_path / "lazy_adam.json"
    lazy_adam.compare(seeds=2, embedding_l2=0.1, output=str(path))
    rows = json.loads(path.read_text())["rows"]
    for name in lazy_adam.OPTIMIZERS:
        own = [row for row in rows if row["optimizer"] == name]
        *tried, last = own
        assert [row["learning_rate"] for row in tried] == [*lazy_adam.RATES]
        best = max(tried, key=lambda row: row["validation_auc"])
        assert last["seed"] == 1
        assert last["learning_rate"] == best["learning_rate"]
    assert "lazy less dense" in capsys.readouterr().out
