"""Compressions that are cut off go on; those that are lost keep the best."""

import functools

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf.compression.batches import first_not_finite
from mec_tf.files import ArtifactError
from mec_tf.layers import TableEmbedding
from mec_tf.layers.variables import raw
from mec_tf.training import TrainingDiverged
from tests.at_epoch import AtEpoch, Stop, stop

ROWS, DIM = 60, 8
RNG = np.random.default_rng(0)
IDS = RNG.integers(0, ROWS, 600).astype("int32")
NUMBERS = RNG.normal(size=(600, 1)).astype("float32")
TARGETS = RNG.normal(size=(ROWS, 1))[IDS].astype("float32")


@functools.cache
def make_model():
    """Trained; `compress` leaves it as it is."""
    tf.keras.utils.set_random_seed(5)
    inputs = {
        "id": tf.keras.Input((), dtype="int32", name="id"),
        "number": tf.keras.Input((1,), name="number"),
    }
    table = TableEmbedding(ROWS, DIM, name="item")
    joined = tf.keras.layers.Concatenate()(
        [table(inputs["id"]), inputs["number"]]
    )
    hidden = tf.keras.layers.Dropout(0.2, seed=1)(joined)
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(1)(hidden))
    model.compile("adam", "mse")
    model.fit(batches(), epochs=1, verbose=0)
    return model


def batches(numbers=NUMBERS, shuffled=True):
    data = tf.data.Dataset.from_tensor_slices(
        ({"id": IDS, "number": numbers}, TARGETS)
    )
    if shuffled:
        data = data.shuffle(600, seed=1)
    return data.batch(100)


POLICY = mec_tf.CompressionPolicy(ratio=3)


def compress(train=None, **options):
    model = make_model()
    tf.keras.utils.set_random_seed(5)
    return mec_tf.compress(
        model,
        batches() if train is None else train,
        **{
            "policy": POLICY,
            "validation_data": batches(shuffled=False),
            "epochs": 3,
            "verbose": 0,
            **options,
        },
    )


def weights(model):
    return [raw(weight).numpy() for weight in model.weights]


def assert_same(one, other):
    for mine, theirs in zip(weights(one), weights(other), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.fixture
def generators():
    """Keras 2 gives its dropout a state only where it is asked to."""
    if hasattr(tf.keras, "ops"):
        yield
        return
    backend = tf.keras.backend.experimental
    backend.enable_tf_random_generator()
    yield
    backend.disable_tf_random_generator()


@pytest.mark.parametrize("validated", [True, False])
def test_cut_off_it_goes_on_bit_for_bit(tmp_path, generators, validated):
    options = {} if validated else {"validation_data": None}
    whole = compress(folder=tmp_path / "whole", **options)
    with pytest.raises(Stop):
        compress(
            folder=tmp_path / "cut", callbacks=[AtEpoch(2, stop)], **options
        )
    result = compress(folder=tmp_path / "cut", **options)
    assert_same(result.model, whole.model)
    assert result.report.score == whole.report.score
    assert len(result.history["loss"]) == 1
    # One that was killed after its training only freezes.
    again = compress(folder=tmp_path / "cut", **options)
    assert_same(again.model, whole.model)
    assert not again.history


def test_a_state_of_other_tables_is_refused(tmp_path):
    compress(folder=tmp_path, epochs=1)
    policy = mec_tf.CompressionPolicy(ratio=6)
    with pytest.raises(ArtifactError, match="Delete it"):
        compress(folder=tmp_path, epochs=1, policy=policy)


@pytest.mark.parametrize("validated", [True, False])
def test_the_best_state_before_a_divergence(validated):
    def speed_up(model):
        raw(model.optimizer.learning_rate).assign(1e6)

    states = []
    look = AtEpoch(2, lambda model: states.append(model.get_weights()))
    options = {} if validated else {"validation_data": None}
    with pytest.raises(TrainingDiverged, match="loss rose") as caught:
        compress(callbacks=[look, AtEpoch(2, speed_up)], **options)
    message, result = str(caught.value), caught.value.result
    assert "Lower the learning rate" in message
    assert "The best state so far, after epoch 2" in message
    assert result.report.ratio >= 3
    kernel = weights(result.model)[-2]
    assert any(np.array_equal(kernel, state) for state in states[0])
    if validated:
        loss = result.model.evaluate(batches(shuffled=False), verbose=0)
        assert loss == pytest.approx(result.report.score[2], rel=1e-4)
        assert f"val_loss {result.report.score[2]:.6g}" in message


def test_nan_in_the_features_is_found():
    numbers = NUMBERS.copy()
    numbers[7] = np.inf
    with pytest.raises(TrainingDiverged) as caught:
        compress(batches(numbers))
    assert "There is NaN or infinity in the features 'number'" in str(
        caught.value
    )
    assert "The best state so far" in str(caught.value)
    assert caught.value.result is not None
    with pytest.raises(TrainingDiverged, match="`val_loss` is .*validation"):
        compress(validation_data=batches(numbers * np.nan))


def test_where_a_value_is_no_number():
    def found(*parts):
        data = tf.data.Dataset.from_tensor_slices(parts).batch(2)
        return first_not_finite(data)

    ids, bad = np.arange(4), np.array([0.0, 1.0, np.nan, 0.0])
    assert found(ids, ids) is None
    assert found(bad, ids) == "the features of batch 2"
    assert found({"a": ids, "b": (ids, bad)}, ids) == (
        "the features 'b' of batch 2"
    )
    assert found(ids, -1.0 / (ids - 0)) == "the labels of batch 1"
    assert found(ids, ids, bad) == "the sample weights of batch 2"
