import numpy as np
import pytest
import tensorflow as tf

from mec_tf.data import Log, Schema


@pytest.fixture
def log():
    n = 100
    rng = np.random.default_rng(0)
    return Log.from_columns(
        "tiny",
        Schema("y", ("user", "item"), ("x",)),
        {
            "user": rng.integers(0, 9, n),
            "item": np.char.add("i", rng.integers(0, 5, n).astype(str)),
            "x": np.where(np.arange(n) % 7, np.arange(n), np.nan),
            "y": rng.integers(0, 2, n),
        },
        split=np.repeat([0, 1, 2], [70, 20, 10]),
    )


def test_popularity_is_counted_on_training_rows(log):
    for column, counts in log.counts.items():
        assert counts.sum() == 70
        assert counts[0] == 0
        assert len(counts) == log.vocabularies[column].size
        assert (np.diff(counts[1:]) <= 0).all()
    assert log.numeric["x"].missing == 10


def test_values_seen_only_later_have_row_zero():
    log = Log.from_columns(
        "tiny",
        Schema("y", ("a",)),
        {"a": ["p", "p", "q", "p"], "y": [0, 1, 0, 1]},
        split=[0, 0, 1, 2],
    )
    rows = {s: next(iter(log.dataset(s, 9)))[0]["a"] for s in log.splits}
    assert {s: r.numpy().tolist() for s, r in rows.items()} == {
        "train": [1, 1],
        "validation": [0],
        "test": [1],
    }


def test_dataset_spec_and_cardinality(log):
    dataset = log.dataset("train", 32)
    features, label = dataset.element_spec
    assert features == {
        "user": tf.TensorSpec([None], tf.int32),
        "item": tf.TensorSpec([None], tf.int32),
        "x": tf.TensorSpec([None], tf.float32),
    }
    assert label == tf.TensorSpec([None, 1], tf.float32)
    assert dataset.cardinality().numpy() == 3
    assert [len(y) for _, y in dataset] == [32, 32, 6]


def test_dataset_is_the_log_in_order(log):
    batches = list(log.dataset("validation", 6))
    labels = np.concatenate([y.numpy()[:, 0] for _, y in batches])
    assert np.array_equal(labels, log.labels("validation"))
    x = np.concatenate([f["x"].numpy() for f, _ in batches])
    expected = np.arange(70.0, 90.0)
    expected[expected % 7 == 0] = np.nan
    np.testing.assert_array_equal(x, expected)


def epoch(dataset):
    return np.concatenate([f["x"].numpy() for f, _ in dataset]).tolist()


def test_shuffle_is_seeded_and_anew_each_epoch(log):
    dataset = log.dataset("test", 4, shuffle=True, seed=1)
    first, second = epoch(dataset), epoch(dataset)
    again = log.dataset("test", 4, shuffle=True, seed=1)
    assert str(epoch(again)) == str(first)
    assert str(epoch(again)) == str(second)
    assert str(first) != str(second)
    assert sorted(map(str, first)) == sorted(map(str, second))
    other = log.dataset("test", 4, shuffle=True, seed=2)
    assert str(epoch(other)) != str(first)


def test_an_iterator_has_no_tuner_to_wait_for(log):
    options = log.dataset("train", 10, shuffle=True).repeat().options()
    assert options.autotune.enabled is False


def test_keras_fits_it(log):
    inputs = {
        name: tf.keras.Input((), dtype="int32", name=name)
        for name in ("user", "item")
    }
    inputs["x"] = tf.keras.Input((), dtype="float32", name="x")
    row = tf.keras.layers.Embedding(log.vocabularies["user"].size, 1)
    model = tf.keras.Model(inputs, row(inputs["user"]))
    model.compile("sgd", "mse")
    history = model.fit(
        log.dataset("train", 32, shuffle=True), epochs=2, verbose=0
    )
    assert np.isfinite(history.history["loss"]).all()


def test_refuses_bad_arguments(log):
    with pytest.raises(ValueError, match="split='dev'"):
        log.num_rows("dev")
    with pytest.raises(ValueError, match="batch_size=0"):
        log.dataset("train", 0)
    with pytest.raises(ValueError, match="test split has no rows"):
        Log.from_columns(
            "x", Schema("y", ("a",)), {"a": [1, 2], "y": [0, 1]}, [0, 1]
        )


def test_repr_gives_sizes(log):
    assert "train 70, validation 20, test 10" in repr(log)


def log_of_sequences(**changes):
    columns = {
        "a": ["p", "q", "p", "p", "q"],
        "seen": [["q", None], ["p", "q"], ["x", None], ["p", ""], ["q", "p"]],
        "y": [0, 1, 0, 1, 1],
    }
    return Log.from_columns(
        "tiny",
        Schema("y", ("a",), sequences={"seen": "a"}),
        {**columns, **changes},
        split=[0, 0, 0, 1, 2],
    )


def test_sequences_share_a_vocabulary():
    log = log_of_sequences()
    rows = {s: next(iter(log.dataset(s, 9)))[0]["seen"] for s in log.splits}
    assert {s: r.numpy().tolist() for s, r in rows.items()} == {
        "train": [[2, 0], [1, 2], [0, 0]],
        "validation": [[1, 0]],
        "test": [[2, 1]],
    }
    assert log.dataset("train", 2).element_spec[0]["seen"] == tf.TensorSpec(
        [None, 2], tf.int32
    )
    assert log.counts["seen"].tolist() == [0, 1, 2]
    assert log.counts["a"].tolist() == [0, 2, 1]
    assert "1 categorical columns with 3 table rows" in repr(log)
    assert "1 sequences" in repr(log)


def test_shuffled_sequences_stay_with_their_rows():
    n = 50
    log = Log.from_columns(
        "tiny",
        Schema("y", ("a",), sequences={"seen": "a"}),
        {"a": np.arange(n), "seen": np.arange(n)[:, None], "y": np.ones(n)},
        split=[0] * (n - 2) + [1, 2],
    )
    for features, _ in log.dataset("train", 8, shuffle=True):
        assert np.array_equal(features["a"], features["seen"][:, 0])


def test_refuses_sequences_that_are_flat_or_missing(log):
    with pytest.raises(ValueError, match=r"\(5,\)"):
        log_of_sequences(seen=["p"] * 5)
    with pytest.raises(ValueError, match="`sequences` must have the keys"):
        Log(
            "x",
            Schema("y", ("user", "item"), ("x",), sequences={"seen": "item"}),
            {c: log.vocabularies[c] for c in ("user", "item")},
            log.numeric,
            log._rows,
        )
