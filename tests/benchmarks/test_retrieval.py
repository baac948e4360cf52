"""The retrieval benchmark: its recall, and a run on a small log."""

import json

import numpy as np
import pytest
import tensorflow as tf

pytestmark = pytest.mark.keras2_only


class Towers:
    """Scores that are known: user `u` of history [u] scores item `i`."""

    def __init__(self, scores):
        self.scores = np.float32(scores)
        rows = self.scores.shape[1]
        self.items = tf.keras.layers.Embedding(rows, 1)

    def item_vectors(self, ids):
        return tf.gather(tf.transpose(self.scores), ids)

    def __call__(self, features):
        return tf.one_hot(features["history"][:, 0], len(self.scores))


def recalls(scores, history, item, k):
    from benchmarks.two_towers import recall_at

    data = {"history": np.int32(history), "item": np.int32(item)}
    return recall_at(Towers(scores), data, k)


def test_recall_leaves_out_padding_touched_and_unknown_items():
    # Item 0 is padding, item 1 is touched: both score above all others.
    scores = [[0] * 6, [9, 8, 5, 4, 3, 2]]
    history = [[1, 0]]
    found = [recalls(scores, history, [item], 2) for item in range(2, 6)]
    assert found == [1, 1, 0, 0]
    assert recalls(scores, history, [0], 2) == 0  # unknown: never found


def test_recall_of_ties_is_that_of_a_random_order():
    scores = [[0] * 6, [0, 0, 5, 4, 4, 4]]
    assert recalls(scores, [[1, 0]], [4], 2) == pytest.approx(1 / 3)
    assert recalls(scores, [[1, 0]], [4], 3) == pytest.approx(2 / 3)
    assert recalls(scores, [[1, 0]], [4], 4) == 1
    assert recalls(scores, [[1, 0]], [4], 1) == 0


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    items = [rng.choice(30, 5, replace=False) for _ in range(150)]
    path = tmp_path / "log.txt"
    lines = [f"{user} {item}" for user in range(150) for item in items[user]]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_a_small_run_compresses_what_it_trained(data, tmp_path):
    from benchmarks.retrieval import Retrieval
    from benchmarks.two_towers import TowerSettings
    from mec_tf import CompressionPolicy

    retrieval = Retrieval(
        data, 4, 64, epochs=1, patience=1, validation_users=50
    )
    assert len(retrieval.examples["validation"]["item"]) == 50
    settings = TowerSettings(dim=8, hidden=8)
    model, recall = retrieval.trained(settings, 0, tmp_path / "work")
    again, same = retrieval.trained(settings, 0, tmp_path / "work")
    assert same == recall
    few = {"history": retrieval.examples["test"]["history"][:9]}
    np.testing.assert_array_equal(model(few), again(few))
    result = retrieval.compress(model, CompressionPolicy(ratio=6), 0)
    scores = retrieval.scores(result.model)
    assert scores["ratio"] >= 6
    assert scores["bytes"] == scores["bytes_on_disk"]
    assert 0 <= scores["recall_at_10"] <= scores["recall_at_100"] <= 1
    json.dumps(scores)
