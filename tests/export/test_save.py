"""Exported models answer as their models, from ids and from raw values."""

import json

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf import compression
from mec_tf.data import Vocabulary
from mec_tf.export.verify import tolerance_of
from mec_tf.layers import CodeLookupEmbedding
from mec_tf.models import DeepFM


def answers(path, signature, **inputs):
    """What a signature of a SavedModel answers."""
    return tf.saved_model.load(str(path)).signatures[signature](**inputs)


def files_below(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def functional(dtype="int32"):
    user = tf.keras.Input((), dtype=dtype, name="user")
    history = tf.keras.Input((3,), dtype=dtype, name="history")
    price = tf.keras.Input((1,), name="price")
    table = tf.keras.layers.Embedding(50, 4, name="items")
    parts = [
        tf.keras.layers.Embedding(30, 4, name="users")(user),
        tf.keras.layers.GlobalAveragePooling1D()(table(history)),
        price,
    ]
    joined = tf.keras.layers.Concatenate()(parts)
    output = tf.keras.layers.Dense(1)(tf.keras.layers.Dropout(0.5)(joined))
    return tf.keras.Model([user, history, price], output)


@tf.keras.utils.register_keras_serializable("test_save")
class TwoTowers(tf.keras.Model):
    """As in the tutorials: lookup and table in one, a dict in."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.user = tf.keras.Sequential(
            [
                tf.keras.layers.StringLookup(vocabulary=["ann", "bob"]),
                tf.keras.layers.Embedding(3, 4),
            ]
        )
        self.item = tf.keras.layers.Embedding(20, 4)
        self.score = tf.keras.layers.Dense(1)

    def call(self, inputs):
        return self.score(self.user(inputs["user"]) * self.item(inputs["item"]))


def test_raw_values_answer_as_their_ids(
    tmp_path, model, vocabularies, raw_batch
):
    raw, ids = raw_batch
    report = mec_tf.export.save(
        model,
        tmp_path / "serving" / "1",
        vocabularies=vocabularies,
        activation="sigmoid",
    )
    expected = tf.sigmoid(model(ids)).numpy()
    assert len(np.unique(expected)) == 4
    found = answers(report.path, "serving_default", **raw)
    assert set(found) == {"probability"}
    assert found["probability"].dtype == tf.float32
    np.testing.assert_allclose(found["probability"], expected, atol=1e-6)
    by_id = {report.inputs[name]: values for name, values in ids.items()}
    found = answers(report.path, "ids", **by_id)["probability"]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert files_below(tmp_path / "serving")[0] == "1"
    assert not list(tmp_path.rglob("*.partial"))


def test_report_counts_each_byte_once(tmp_path, model, vocabularies):
    path = tmp_path / "1"
    report = mec_tf.export.save(model, path, vocabularies=vocabularies)
    tables = compression.model_bytes(model)
    assert sum(tables.values()) == (
        300 * 2 + 2 * 16 * 5 * 4 + 4 * 3 + 3 * 3 * 3 * 4 + 6 * 9 * 4
    )
    assert report.bytes_on_disk == sum(tables.values())
    weights = sum(w.nbytes for w in model.get_weights())
    stored = sum(f.stat().st_size for f in path.glob("variables/*.data-*"))
    reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    graph = len(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
    assert weights <= stored - graph <= weights + 64
    files = [f for f in path.rglob("*") if f.is_file()]
    assert report.bytes_total == sum(f.stat().st_size for f in files)
    vocabulary = [f.stat().st_size for f in path.glob("assets/*")]
    assert len(vocabulary) == 3 and report.vocabulary_bytes == sum(vocabulary)
    assert 0 <= report.max_difference <= 1e-5
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()
    assert f"{report.bytes_on_disk:,} bytes" in str(report)
    assert set(report.signatures) == {"serving_default", "ids"}
    names = ("user_id", "Num", "odd", "price")
    assert report.signatures["ids"] == names


@pytest.mark.parametrize("batch", [1, 5, 100])
def test_without_vocabularies_both_signatures_take_ids(tmp_path, batch):
    model = DeepFM({"a": 9, "b": 9}, embedding_dim=4, hidden_units=(4,))
    mec_tf.export.save(model, tmp_path / "1")
    ids = np.arange(batch) % 9
    expected = model({"a": ids, "b": ids[::-1]})
    inputs = {
        "a": tf.constant(ids, tf.int32),
        "b": tf.constant(ids[::-1].copy(), tf.int32),
    }
    for signature in ("ids", "serving_default"):
        found = answers(tmp_path / "1", signature, **inputs)["logits"]
        assert found.shape == (batch, 1)
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
def test_functional_model(tmp_path, dtype):
    model = functional(dtype)
    model.compile("adam", "mse")
    inputs = {
        "user": np.array([1, 29], dtype),
        "history": np.array([[0, 1, 49], [3, 3, 3]], dtype),
        "price": np.array([[0.5], [2.0]], "float32"),
    }
    model.fit(list(inputs.values()), np.ones((2, 1)), verbose=0)
    users = Vocabulary([f"u{i}" for i in range(29)], [0] * 30)
    items = Vocabulary(np.arange(100, 149), [0] * 50)
    report = mec_tf.export.save(
        model,
        tmp_path / "1",
        vocabularies={"user": users, "history": items},
        example=inputs,
    )
    expected = model(list(inputs.values())).numpy()
    found = answers(tmp_path / "1", "ids", **inputs)["logits"]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    raw = {
        "user": tf.constant(["u0", "u28"]),
        "history": tf.constant([[-1, 100, 148], [102] * 3], tf.int64),
        "price": inputs["price"],
    }
    found = answers(tmp_path / "1", "serving_default", **raw)["logits"]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    # No optimizer state, though the model was trained.
    contents = mec_tf.export.inspect_saved_model(tmp_path / "1")
    assert len(contents.variables) == 4
    assert report.bytes_on_disk == (30 + 50) * 4 * 4


def test_functional_model_of_a_dict_without_example(tmp_path):
    inputs = {
        "user": tf.keras.Input((), dtype="int32", name="user"),
        "x": tf.keras.Input((2,), name="x"),
    }
    table = tf.keras.layers.Embedding(5, 2)
    model = tf.keras.Model(inputs, table(inputs["user"]) + inputs["x"])
    report = mec_tf.export.save(model, tmp_path / "1")
    assert report.inputs == {"user": "user", "x": "x"}
    batch = {"user": tf.constant([4]), "x": tf.constant([[1.0, 2.0]])}
    found = answers(tmp_path / "1", "ids", **batch)["logits"]
    np.testing.assert_allclose(found, model(batch), atol=1e-6)


def test_sequential_model(tmp_path):
    layers = [
        tf.keras.Input((4,), dtype="int64", name="ids"),
        tf.keras.layers.Embedding(10, 3),
        tf.keras.layers.Flatten(),
        tf.keras.layers.Dense(1, activation="sigmoid"),
    ]
    model = tf.keras.Sequential(layers)
    report = mec_tf.export.save(model, tmp_path / "1")
    (name,) = report.inputs.values()
    batch = tf.constant([[1, 2, 3, 9]], tf.int64)
    found = answers(tmp_path / "1", "ids", **{name: batch})["logits"]
    np.testing.assert_allclose(found, model(batch), atol=1e-6)


def test_subclassed_model_with_a_lookup_inside(tmp_path):
    model = TwoTowers()
    example = {
        "user": tf.constant(["ann", "bob", "eve"]),
        "item": tf.constant([0, 19, 7]),
    }
    model(example)
    report = mec_tf.export.save(model, tmp_path / "1", example=example)
    assert report.bytes_on_disk == (3 + 20) * 4 * 4
    found = answers(tmp_path / "1", "ids", **example)["logits"]
    np.testing.assert_allclose(found, model(example), atol=1e-6)
    with pytest.raises(ValueError, match="`example` must be a batch"):
        mec_tf.export.save(model, tmp_path / "2")
    assert files_below(tmp_path)[0] == "1"
    assert not (tmp_path / "2").exists()


def test_subclassed_model_of_one_array_and_named_outputs(tmp_path):
    class Tasks(tf.keras.Model):
        def __init__(self):
            super().__init__()
            self.table = tf.keras.layers.Embedding(6, 2)
            self.spare = tf.keras.layers.Dense(3)

        def call(self, inputs, training=None):
            rows = self.table(inputs)
            self.spare(rows)
            scale = 2.0 if training else 1.0
            return {"click": rows[:, :1] * scale, "buy": rows[:, 1:]}

    model = Tasks()
    ids = np.array([5, 0])
    mec_tf.export.save(model, tmp_path / "1", example=ids, activation="sigmoid")
    found = answers(tmp_path / "1", "ids", inputs=tf.constant(ids))
    expected = model(ids)
    assert set(found) == {"click", "buy"}
    for name, logits in expected.items():
        np.testing.assert_allclose(found[name], tf.sigmoid(logits), atol=1e-6)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_answers_in_float32(tmp_path, dtype):
    model = DeepFM({"a": 9}, embedding_dim=4, hidden_units=(4,), dtype=dtype)
    mec_tf.export.save(model, tmp_path / "1", activation="sigmoid")
    ids = tf.constant([1, 8])
    found = answers(tmp_path / "1", "ids", a=ids)["probability"]
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, tf.sigmoid(model({"a": ids})), atol=1e-2)


def test_low_precision_is_not_held_to_more_than_it_has():
    """A graph rounds to 16 bits at other places than eager does."""
    plain = DeepFM({"a": 9}, embedding_dim=4, hidden_units=(4,))
    assert tolerance_of(plain) == 1e-5
    inputs = tf.keras.Input((), dtype="int32")
    rows = tf.keras.layers.Embedding(9, 4, dtype="mixed_bfloat16")(inputs)
    outputs = tf.keras.layers.Dense(1, dtype="float32")(rows)
    assert tolerance_of(tf.keras.Model(inputs, outputs)) == 4e-2


def test_vocabularies_of_one_size_do_not_mix(tmp_path):
    """TensorFlow shares the tables of one name between loaded models."""
    model = DeepFM({"a": 3}, embedding_dim=4, hidden_units=())
    for values in (["x", "y"], ["y", "x"]):
        mec_tf.export.save(
            model,
            tmp_path / "1",
            vocabularies={"a": Vocabulary(values, [0, 0, 0])},
            overwrite=True,
        )
        first = tf.saved_model.load(str(tmp_path / "1"))
        found = first.signatures["serving_default"](a=tf.constant(values))
        expected = model({"a": tf.constant([1, 2])})
        np.testing.assert_allclose(found["logits"], expected, atol=1e-6)
    assert files_below(tmp_path)[0] == "1"
    assert {p.name for p in tmp_path.iterdir()} == {"1"}


def test_empty_vocabulary_knows_nothing(tmp_path):
    model = DeepFM({"a": 3}, embedding_dim=4, hidden_units=())
    empty = Vocabulary(np.array([], object), [5])
    mec_tf.export.save(model, tmp_path / "1", vocabularies={"a": empty})
    key = tf.string if empty.key_dtype == "string" else tf.int64
    value = tf.cast(["0"], key) if key == tf.string else tf.zeros([1], key)
    found = answers(tmp_path / "1", "serving_default", a=value)["logits"]
    expected = model({"a": tf.constant([0])})
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_names_that_come_to_the_same_are_refused(tmp_path):
    model = DeepFM({"a b": 3, "A_b": 3}, embedding_dim=4, hidden_units=())
    with pytest.raises(ValueError, match="'a b' and 'A_b'"):
        mec_tf.export.save(model, tmp_path / "1")


def test_wrong_arguments(tmp_path, model, vocabularies):
    def check(error, match, model=model, **arguments):
        with pytest.raises(error, match=match):
            mec_tf.export.save(model, tmp_path / "new" / "1", **arguments)
        assert not list(tmp_path.iterdir())

    check(TypeError, "`model` must be", model="model")
    check(ValueError, "`activation` must be", activation="relu")
    part = {k: v for k, v in vocabularies.items() if k != "Num"}
    check(ValueError, "Missing: .'Num'.", vocabularies=part)
    extra = {**vocabularies, "Nmu": vocabularies["Num"]}
    check(ValueError, "Received: .'Nmu'.", vocabularies=extra)
    other = {**vocabularies, "Num": ["a", "b"]}
    check(TypeError, "list at 'Num'", vocabularies=other)
    large = {**vocabularies, "Num": vocabularies["user id"]}
    check(ValueError, "at most the 4 rows", vocabularies=large)
    check(ValueError, "Missing: 'user id'", example={"Num": np.zeros(2)})
    check(
        ValueError,
        "one batch size",
        model=TwoTowers(),
        example={"user": np.array(["a"]), "item": np.array([1, 2])},
    )
    check(TypeError, "`example` must be", model=TwoTowers(), example=[1, 2])
    check(
        ValueError,
        "first axis",
        model=TwoTowers(),
        example={"user": "a", "item": np.array(1)},
    )
    check(
        ValueError,
        "`example` must have shape",
        model=functional(),
        example={
            "user": np.array([1]),
            "history": np.array([[1]]),
            "price": np.array([[1.0]]),
        },
    )


def test_functional_model_with_a_lookup_inside(tmp_path):
    name = tf.keras.Input((1,), dtype="string", name="name")
    row = tf.keras.layers.StringLookup(vocabulary=["a", "b"])(name)
    vectors = tf.keras.layers.Embedding(3, 4)(row)
    output = tf.keras.layers.Dense(1)(tf.keras.layers.Flatten()(vectors))
    model = tf.keras.Model(name, output)
    mec_tf.export.save(model, tmp_path / "1")
    batch = tf.constant([["a"], ["b"], ["c"]])
    found = answers(tmp_path / "1", "ids", name=batch)["logits"]
    np.testing.assert_allclose(found, model(batch), atol=1e-6)


def test_unused_table_is_refused(tmp_path):
    """The count of bytes and the bytes on disk must agree."""

    class Spare(tf.keras.Model):
        def __init__(self):
            super().__init__()
            self.used = tf.keras.layers.Embedding(6, 2)
            self.unused = tf.keras.layers.Embedding(7, 2)
            self.unused.build((None,))

        def call(self, inputs):
            return self.used(inputs)

    with pytest.raises(ValueError, match="unused: 56 counted, 0 exported"):
        mec_tf.export.save(Spare(), tmp_path / "1", example=np.array([5, 0]))
    assert not list(tmp_path.iterdir())


def test_wrong_answers_are_refused(tmp_path, monkeypatch):
    """A variable that reaches the disk with other values."""
    model = DeepFM({"a": 9}, embedding_dim=4, hidden_units=(4,))
    model.build(None)
    save = tf.saved_model.save

    def save_other(module, *args, **kwargs):
        kept = {k: v.numpy() for k, v in module.weights.items()}
        for variable in module.weights.values():
            variable.assign(variable + 1.0)
        save(module, *args, **kwargs)
        for name, variable in module.weights.items():
            variable.assign(kept[name])

    monkeypatch.setattr(tf.saved_model, "save", save_other)
    with pytest.raises(ValueError, match="answer alike"):
        mec_tf.export.save(model, tmp_path / "new" / "1")
    assert not list(tmp_path.iterdir())


def test_wrong_vocabulary_on_disk_is_refused(tmp_path, monkeypatch):
    from mec_tf.export import vocabulary_table

    model = DeepFM({"a": 4}, embedding_dim=4, hidden_units=(4,))
    words = Vocabulary(["x", "y", "z"], [0] * 4)
    write = vocabulary_table._write

    def write_reversed(lines, *args):
        return write(reversed(list(lines)), *args)

    monkeypatch.setattr(vocabulary_table, "_write", write_reversed)
    with pytest.raises(ValueError, match="serving_default"):
        mec_tf.export.save(model, tmp_path / "1", vocabularies={"a": words})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_interrupted_write_leaves_nothing(tmp_path, monkeypatch, error):
    model = DeepFM({"a": 9}, embedding_dim=4, hidden_units=(4,))
    save = tf.saved_model.save

    def fail(*args, **kwargs):
        save(*args, **kwargs)
        raise error("stop")

    monkeypatch.setattr(tf.saved_model, "save", fail)
    with pytest.raises(error):
        mec_tf.export.save(model, tmp_path / "new" / "1")
    assert not list(tmp_path.iterdir())


def test_codes_in_a_functional_model_keep_their_range_policy(tmp_path):
    table = np.random.default_rng(0).normal(size=(500, 8))
    layer = CodeLookupEmbedding.from_table(
        table, num_subspaces=2, codebook_size=16
    )
    ids = tf.keras.Input((), dtype="int32", name="item")
    output = tf.keras.layers.Dense(1)(layer(ids))
    model = tf.keras.Model(ids, output)
    report = mec_tf.export.save(model, tmp_path / "1")
    assert report.bytes_on_disk == 500 * 2 + 16 * 8 * 4
    batch = tf.constant([0, 499, 500, -1])
    found = answers(tmp_path / "1", "ids", item=batch)["logits"]
    np.testing.assert_allclose(found, model(batch), atol=1e-6)
