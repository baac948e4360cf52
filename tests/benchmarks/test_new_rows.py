"""How the benchmark of new rows cuts its log."""

import numpy as np

from benchmarks import new_rows
from mec_tf.data import Log
from mec_tf.data.schema import Schema


def column(data, split, feature):
    batches = [x[feature] for x, _ in data.dataset(split, 512)]
    return np.concatenate(batches)


def made():
    rng = np.random.default_rng(0)
    size = 3000
    columns = {
        "item": np.minimum(rng.zipf(1.4, size), 60),
        "user": rng.integers(0, 20, size),
        "label": rng.integers(0, 2, size),
    }
    schema = Schema(label="label", categorical=("user", "item"), strings=())
    split = np.array([0, 0, 0, 0, 0, 0, 0, 0, 1, 2])[np.arange(size) % 10]
    return Log.from_columns("made", schema, columns, split), columns, split


def test_one_id_of_ten_at_every_popularity():
    held = new_rows.held_out_rows(95, seed=0)
    assert len(held) in (9, 10) and held.min() >= 1 and held.max() < 95
    assert ((held - 1) // 10 == np.arange(len(held))).all()


def test_cutting_loses_and_invents_nothing():
    log, columns, split = made()
    held = new_rows.held_out_rows(log.vocabularies["item"].size, seed=0)
    moved = new_rows.renumbered(log, "item", held)
    vocabulary = moved.vocabularies["item"]
    for place, name in enumerate(("train", "validation", "test")):
        expected = vocabulary.encode(columns["item"][split == place])
        np.testing.assert_array_equal(column(moved, name, "item"), expected)
    known = vocabulary.size - len(held)
    old = new_rows.without_new(moved, "item", known)
    new = new_rows.only_new(moved, "item", known)
    total = old.num_rows("train") + new.num_rows("train")
    assert total == moved.num_rows("train")
    assert old.num_rows("test") == moved.num_rows("test")
    assert (column(new, "test", "item") >= known).all()
    assert column(old, "test", "item").max() < known
    unknown = (column(old, "test", "item") == 0).sum()
    assert unknown >= new.num_rows("test") > 0
    for feature in ("user", "item"):
        counted = np.bincount(
            column(old, "train", feature),
            minlength=old.vocabularies[feature].size,
        )
        np.testing.assert_array_equal(old.counts[feature], counted)
    grown = old.vocabularies["item"].extended(
        vocabulary.values[known - 1 :], vocabulary.counts[known:]
    )
    assert grown.values.tolist() == vocabulary.values.tolist()
