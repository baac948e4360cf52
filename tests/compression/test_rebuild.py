"""Models of every kind go through `rebuild` and come back from disk."""

import numpy as np
import pytest
import tensorflow as tf

from mec_tf.compression import find_tables
from mec_tf.compression.rebuild import rebuild
from mec_tf.compression.tables import walk
from mec_tf.layers import CodeLookupEmbedding

ROWS, DIM = 50, 8


def embedding(name=None, rows=ROWS, dim=DIM):
    return tf.keras.layers.Embedding(rows, dim, name=name)


def functional():
    ids = tf.keras.Input((3,), dtype="int32", name="ids")
    other = tf.keras.Input((2,), dtype="int32", name="other")
    shared = embedding("shared")
    inner_in = tf.keras.Input((3,), dtype="int32")
    inner = tf.keras.Model(
        inner_in,
        tf.keras.layers.Flatten()(embedding("nested")(inner_in)),
        name="inner",
    )
    parts = [
        tf.keras.layers.Flatten()(shared(ids)),
        tf.keras.layers.Flatten()(shared(other)),
        inner(ids),
    ]
    merged = tf.keras.layers.Concatenate()(parts)
    model = tf.keras.Model(
        {"ids": ids, "other": other}, tf.keras.layers.Dense(1)(merged)
    )
    return model, {"ids": numbers(3), "other": numbers(2)}, 2


def sequential():
    model = tf.keras.Sequential(
        [embedding("first"), tf.keras.layers.GlobalAveragePooling1D()]
        + [tf.keras.layers.Dense(1)]
    )
    return model, numbers(3), 1


def sequential_with_input():
    model = tf.keras.Sequential(
        [tf.keras.Input((3,), dtype="int32"), embedding("first")]
        + [tf.keras.layers.Flatten(), tf.keras.layers.Dense(1)]
    )
    return model, numbers(3), 1


class Tower(tf.keras.layers.Layer):
    """A layer with tables of its own, without `get_config`."""

    def __init__(self):
        super().__init__()
        self.table = embedding()
        self.out = tf.keras.layers.Dense(4)

    def call(self, ids):
        return self.out(tf.reduce_mean(self.table(ids), axis=1))


class Everything(tf.keras.Model):
    """Tables in attributes, lists, dicts, Sequentials and sub-layers."""

    def __init__(self):
        super().__init__()
        self.plain = embedding()
        self._private = embedding()
        self.alias = self.plain
        self.many = [embedding(), embedding()]
        self.named = {"a": embedding(), "b": [embedding()]}
        self.chain = tf.keras.Sequential(
            [embedding(), tf.keras.layers.GlobalAveragePooling1D()]
        )
        self.tower = Tower()
        self.out = tf.keras.layers.Dense(1)

    def call(self, ids):
        tables = [self.plain, self._private, self.alias, *self.many]
        tables += [self.named["a"], self.named["b"][0]]
        parts = [tf.reduce_mean(table(ids), axis=1) for table in tables]
        parts += [self.chain(ids), self.tower(ids)]
        return self.out(tf.concat(parts, axis=1))


def subclassed():
    return Everything(), numbers(3), 8


class Given(tf.keras.Model):
    """Needs an argument, and says nothing of it."""

    def __init__(self, tower):
        super().__init__()
        self.tower = tower

    def call(self, ids):
        return self.tower(ids)

    def get_config(self):
        raise NotImplementedError


def numbers(width, rows=ROWS):
    return np.random.default_rng(0).integers(0, rows, (16, width))


def codes_for(table):
    def make():
        return CodeLookupEmbedding.from_table(
            table.values(), 2, 16, name=table.layer.name
        )

    return make


CASES = [functional, sequential, sequential_with_input, subclassed]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_all_tables_are_found_replaced_and_saved(case, tmp_path):
    model, inputs, expected = case()
    before = model(inputs).numpy()
    tables = find_tables(model)
    assert len(tables) == expected

    copy = rebuild(model, {t.path: codes_for(t) for t in tables}, (inputs,))

    kinds = [type(layer).__name__ for _, layer in walk(copy)]
    assert "Embedding" not in kinds
    assert not find_tables(copy)
    after = copy(inputs).numpy()
    assert np.abs(after - before).max() < 0.5
    assert not np.array_equal(after, before)
    np.testing.assert_array_equal(model(inputs).numpy(), before)
    path = str(tmp_path / "model.keras")
    copy.save(path)
    loaded = tf.keras.models.load_model(path)
    np.testing.assert_array_equal(loaded(inputs).numpy(), after)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_without_replacements_the_copy_is_the_same_model(case):
    model, inputs, _ = case()
    before = model(inputs).numpy()
    copy = rebuild(model, {}, (inputs,))
    np.testing.assert_array_equal(copy(inputs).numpy(), before)


def test_aliases_share_one_replacement():
    model, inputs, _ = subclassed()
    model(inputs)
    tables = {t.path: t for t in find_tables(model)}
    assert tables["plain"].paths == ("plain", "alias")
    copy = rebuild(model, {"plain": codes_for(tables["plain"])}, (inputs,))
    assert copy.plain is copy.alias
    assert isinstance(copy.plain, CodeLookupEmbedding)
    assert isinstance(copy.many[0], tf.keras.layers.Embedding)


def test_the_copy_is_an_instance_of_the_users_class():
    model, inputs, _ = subclassed()
    model(inputs)
    table = find_tables(model)[0]
    copy = rebuild(model, {table.path: codes_for(table)}, (inputs,))
    assert isinstance(copy, Everything)


def test_a_model_that_cannot_be_copied_says_so_and_takes_model_fn():
    model = Given(Tower())
    inputs = numbers(3)
    before = model(inputs).numpy()
    table = find_tables(model)[0]
    with pytest.raises(ValueError, match="`model` cannot be copied.*model_fn"):
        rebuild(model, {table.path: codes_for(table)}, (inputs,))
    copy = rebuild(
        model,
        {table.path: codes_for(table)},
        (inputs,),
        model_fn=lambda: Given(Tower()),
    )
    assert isinstance(copy.tower.table, CodeLookupEmbedding)
    assert np.abs(copy(inputs).numpy() - before).max() < 0.5


def test_a_model_fn_of_another_structure_is_refused():
    model = Given(Tower())
    inputs = numbers(3)
    model(inputs)
    with pytest.raises(ValueError, match="lacks"):
        rebuild(model, {}, (inputs,), model_fn=lambda: Given(embedding()))
