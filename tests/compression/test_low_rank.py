"""Models of every kind with low-rank dense layers, and back from disk."""

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf.compression import dense_layers, low_rank_dense
from mec_tf.compression.tables import walk
from mec_tf.layers import MLP, LowRankDense
from mec_tf.models import DIN, GDCN, DCNv2, DeepFM, FiBiNET
from tests.harness import assert_allclose, assert_identical

SIZE = 64
layers = tf.keras.layers


def log():
    generator = np.random.default_rng(0)
    return {
        "a": generator.integers(0, 20, SIZE),
        "b": generator.integers(0, 9, SIZE),
        "n": generator.normal(size=SIZE).astype("float32"),
        "h": generator.integers(0, 20, (SIZE, 3)),
    }


def ranking(kind, **kwargs):
    categorical = {"a": 20, "b": 9}
    if kind is DIN:
        categorical["h"] = 20
        kwargs.update(sequences={"h": "a"}, attention_units=(8, 8))
    return kind(
        categorical,
        {"n": (0.0, 1.0)},
        embedding_dim=4,
        hidden_units=(16, 12, 8),
        dropout=0.1,
        embeddings_initializer="glorot_uniform",
        **kwargs,
    )


def functional():
    inputs = [
        tf.keras.Input((), name=name, dtype=dtype)
        for name, dtype in (("a", "int32"), ("n", "float32"))
    ]
    vectors = layers.Embedding(20, 6, name="table")(inputs[0])
    parts = [vectors, layers.Reshape((1,))(inputs[1])]
    hidden = MLP((16, 12), name="tower")(layers.Concatenate()(parts))
    hidden = layers.Dense(10, "relu", name="hidden")(hidden)
    inner = tf.keras.Sequential(
        [tf.keras.Input((10,)), layers.Dense(8, name="one")]
        + [layers.Dense(8, name="two")],
        name="inner",
    )
    return tf.keras.Model(inputs, layers.Dense(1, name="out")(inner(hidden)))


class Subclassed(tf.keras.Model):
    """As in most tutorials: no `get_config`."""

    def __init__(self):
        super().__init__()
        self.table = layers.Embedding(20, 6)
        self.hidden = [layers.Dense(16, "relu"), layers.Dense(12, "relu")]
        self.chain = tf.keras.Sequential(
            [layers.Dense(8, "relu"), layers.Dense(8)]
        )
        self.out = layers.Dense(1)

    def call(self, inputs):
        values = self.table(inputs["a"])
        for layer in self.hidden:
            values = layer(values)
        return self.out(self.chain(values))


def make(kind, **kwargs):
    model = kind() if kind in KINDS[:2] else ranking(kind, **kwargs)
    inputs = log()
    if kind is functional:
        inputs = {name: inputs[name] for name in ("a", "n")}
    model(inputs)
    train = tf.data.Dataset.from_tensor_slices(
        (inputs, np.arange(SIZE) % 2.0)
    ).batch(24)
    return model, inputs, train


KINDS = (functional, Subclassed, DeepFM, DCNv2, GDCN, FiBiNET, DIN)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_full_rank_answers_alike_and_is_loaded_again(kind, tmp_path):
    model, inputs, train = make(kind)
    full = {path: y.units for path, y in dense_layers(model).items()}
    expected, weights = model(inputs), model.get_weights()
    copy, reports = low_rank_dense(model, train, ranks=full)
    assert_allclose(copy(inputs), expected, atol=1e-5)
    assert_identical(model.get_weights(), weights)
    assert {report.path: report.rank for report in reports} == full
    towers = {p: u for p, u in full.items() if u > 1}
    for path in towers:
        assert isinstance(dict(walk(copy))[path], LowRankDense), path
    path = str(tmp_path / "model.keras")
    copy.save(path)
    loaded = tf.keras.models.load_model(
        path, custom_objects={"Subclassed": Subclassed}
    )
    assert_identical(loaded(inputs), copy(inputs))
    assert [w.shape for w in loaded.weights] == [w.shape for w in copy.weights]


def test_replaces_what_gets_smaller_and_says_what_not():
    model, inputs, train = make(DeepFM)
    model.compile("adam", tf.keras.losses.BinaryCrossentropy(from_logits=True))
    copy, reports = low_rank_dense(model, train, ranks=3)
    assert type(copy) is DeepFM
    kept, second, third, head, linear = reports
    assert kept.rank is None and "first of its owner" in kept.note
    assert (second.rank, third.rank) == (3, 3)
    assert second.bytes_after == (16 * 3 + 3 + 3 * 12 + 12) * 4
    assert second.bytes_after < second.bytes_before
    assert head.rank is None and linear.rank is None
    assert "not be smaller" in linear.note
    before, after = (
        sum(int(np.prod(w.shape)) for w in m.weights) for m in (model, copy)
    )
    saved = sum(y.bytes_before - y.bytes_after for y in reports)
    assert (before - after) * 4 == saved
    copy.fit(train, verbose=0)
    again, _ = low_rank_dense(copy, train, ranks={"tower/dense_layers/0": 2})
    kinds = [type(layer) for layer in again.tower.dense_layers]
    assert kinds == [LowRankDense] * 3
    fused = mec_tf.fuse(again)
    assert_allclose(fused(inputs), again(inputs), atol=1e-5)


def plain():
    model = tf.keras.Sequential(
        [tf.keras.Input((10,))]
        + [layers.Dense(32, "relu", name=name) for name in ("a", "b", "c")]
        + [layers.Dense(1, name="out")]
    )
    inputs = np.random.default_rng(0).normal(size=(SIZE, 10))
    return model, (inputs.astype("float32"), np.zeros(SIZE))


def test_kept_variance():
    model, train = plain()
    errors = []
    for kept in (0.3, 0.95):
        copy, reports = low_rank_dense(
            model, train, kept_variance=kept, keep_first=False
        )
        assert sum(report.rank is not None for report in reports) > 1
        assert all(report.kept_variance >= kept for report in reports)
        errors.append(np.square(copy(train[0]) - model(train[0])).mean())
    assert errors[1] < errors[0]


def test_a_ratio_counts_all_dense_layers():
    model, train = plain()
    _, reports = low_rank_dense(model, train, ratio=2.0)
    before = sum(report.bytes_before for report in reports)
    after = sum(report.bytes_after for report in reports)
    assert 2.0 <= before / after < 2.3
    with pytest.raises(ValueError, match="`ratio` must be at most 4.31"):
        low_rank_dense(model, train, ratio=50)


def test_an_activation_between_the_factors_and_frozen_layers():
    model, _, train = make(Subclassed)
    model.hidden[1].trainable = False
    copy, _ = low_rank_dense(model, train, ranks=2, inner_activation="relu")
    assert type(model.hidden[1]) is layers.Dense
    assert isinstance(copy.hidden[1], LowRankDense)
    assert not copy.hidden[1].trainable and copy.chain.layers[1].trainable
    assert copy.hidden[1].inner_activation is tf.keras.activations.relu


def test_layers_that_must_stay():
    inputs = tf.keras.Input((5,))
    hidden = layers.Dense(8)(inputs)
    odd = layers.Dense(8, activation=layers.ReLU(), name="odd")(hidden)
    idle = layers.Dense(8, name="idle")
    model = tf.keras.Sequential([tf.keras.Model(inputs, odd), layers.Dense(6)])
    model.idle = idle
    idle.build((None, 5))
    data = np.random.default_rng(0).normal(size=(30, 5)).astype("float32")
    _, reports = low_rank_dense(model, (data, data), ranks=1, keep_first=False)
    notes = {report.path.rpartition("/")[2]: report.note for report in reports}
    assert "activation is a layer" in notes["odd"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({}, "Exactly one of `ranks`"),
        ({"ranks": 2, "ratio": 2}, "Exactly one of `ranks`"),
        ({"ranks": 0}, "`ranks` must be integers .* 0"),
        ({"ranks": {"x": 1}}, "`ranks` must name dense layers: .* 'x'"),
        ({"ranks": {"out": 2}}, "`ranks` must be integers between 1 .*1. Rec"),
        ({"kept_variance": 0.0}, "`kept_variance` must lie"),
        ({"ratio": 0.5}, "`ratio` must be at least 1"),
    ],
)
def test_bad_arguments(arguments, message):
    model, _, train = make(functional)
    with pytest.raises(ValueError, match=message):
        low_rank_dense(model, train, **arguments)


def test_bad_models():
    data = (np.zeros((4, 3), "float32"), np.zeros(4))
    without = tf.keras.Sequential([tf.keras.Input((3,)), layers.ReLU()])
    with pytest.raises(ValueError, match="must hold a dense layer"):
        low_rank_dense(without, data, ranks=1)
    with pytest.raises(ValueError, match="must be built"):
        low_rank_dense(tf.keras.Sequential([layers.Dense(3)]), data, ranks=1)
