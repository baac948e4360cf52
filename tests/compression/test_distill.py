"""Compressed tables that learn what the full model answers."""

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf.compression import DenseSettings
from mec_tf.compression.distill import answered
from tests.compression.test_compress import (
    Plain,
    dataset,
    examples,
    functional_model,
)

POLICY = mec_tf.CompressionPolicy(ratio=12, seed=3)


@pytest.fixture(scope="module")
def trained():
    tf.keras.utils.set_random_seed(0)
    model = functional_model()
    model.fit(dataset(), epochs=3, verbose=0)
    return model


def flipped(size=4000, seed=0):
    """The same examples with every label wrong."""
    features, label = examples(size=size, seed=seed)
    return tf.data.Dataset.from_tensor_slices((features, 1 - label)).batch(256)


def compiled(loss, units=1):
    model = tf.keras.Sequential([tf.keras.layers.Dense(units)])
    model.build((None, 3))
    model.compile("sgd", loss)
    return model


def one_batch(*parts):
    return tf.data.Dataset.from_tensors(parts)


def test_labels_become_the_probabilities_that_the_model_answers(trained):
    batches = list(answered(trained, dataset()))
    assert len(batches) == len(list(dataset()))
    for features, labels in batches:
        expected = tf.sigmoid(trained(features, training=False))
        np.testing.assert_allclose(labels, expected, atol=1e-6)


def test_classes_are_told_by_softmax_and_values_as_they_are():
    x, y = tf.random.normal((4, 3)), tf.one_hot([0, 1, 2, 1], 3)
    loss = tf.keras.losses.CategoricalCrossentropy(from_logits=True)
    model = compiled(loss, units=3)
    _, labels = next(iter(answered(model, one_batch(x, y))))
    np.testing.assert_allclose(labels, tf.nn.softmax(model(x)), atol=1e-6)
    model = compiled("mse")
    _, labels, weights = next(
        iter(answered(model, one_batch(x, [1, 2, 3, 4], [4.0, 3.0, 2.0, 1.0])))
    )
    assert labels.dtype == tf.float32
    np.testing.assert_allclose(labels, model(x)[:, 0], atol=1e-6)
    np.testing.assert_array_equal(weights, [4.0, 3.0, 2.0, 1.0])


def test_every_output_is_answered_by_its_own_loss():
    inputs = tf.keras.Input((3,))
    dense = tf.keras.layers.Dense
    model = tf.keras.Model(
        inputs, {"b": dense(1, name="b")(inputs), "a": dense(1)(inputs)}
    )
    logits = tf.keras.losses.BinaryCrossentropy(from_logits=True)
    model.compile("sgd", {"a": "mse", "b": logits})
    x = tf.random.normal((4, 3))
    y = {"a": tf.ones((4, 1)), "b": tf.ones((4, 1))}
    _, labels = next(iter(answered(model, one_batch(x, y))))
    outputs = model(x)
    np.testing.assert_allclose(labels["a"], outputs["a"], atol=1e-6)
    np.testing.assert_allclose(labels["b"], tf.sigmoid(outputs["b"]), atol=1e-6)


def distance(model, other):
    """Mean squared difference of two models' answers, held-out examples."""
    held_out, _ = examples(size=2000, seed=5)
    answers = [
        tf.sigmoid(each(tf.nest.map_structure(tf.constant, held_out)))
        for each in (model, other)
    ]
    return float(tf.reduce_mean(tf.square(answers[0] - answers[1])))


def compressed(model, train, epochs, policy=POLICY, **kwargs):
    tf.keras.utils.set_random_seed(1)
    return mec_tf.compress(
        model, train, policy=policy, epochs=epochs, verbose=0, distill=True,
        optimizer=mec_tf.optimizers.LazyAdam(0.003), **kwargs,
    ).model  # fmt: skip


def test_tables_come_nearer_to_the_model_whatever_the_labels(trained):
    learned = compressed(trained, dataset(), 6)
    start = compressed(trained, dataset(), 0)
    assert distance(learned, trained) < 0.8 * distance(start, trained)
    other = compressed(trained, flipped(), 6)
    for one, two in zip(
        learned.get_weights(), other.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, two)


def test_low_rank_layers_learn_the_model_they_came_from(trained):
    policy = mec_tf.CompressionPolicy(
        ratio=4,
        method="low_rank",
        dense=DenseSettings(ranks=1, keep_first=False),
    )
    learned = compressed(trained, dataset(), 4, policy)
    start = compressed(trained, dataset(), 0, policy)
    assert distance(learned, trained) < 0.8 * distance(start, trained)


def test_one_that_was_killed_goes_on_to_the_same_tables(trained, tmp_path):
    def weights(folder, epochs):
        return compressed(
            trained, dataset(), epochs, patience=9, folder=folder,
            validation_data=dataset(seed=2),
        ).get_weights()  # fmt: skip

    whole = weights(tmp_path / "whole", 4)
    weights(tmp_path / "parts", 2)
    for one, two in zip(whole, weights(tmp_path / "parts", 4), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_model_without_a_loss_is_told():
    model = Plain()
    model.compile("adam")
    model({"user": tf.constant([1, 2])})
    with pytest.raises(ValueError, match="`distill` needs a model with a loss"):
        mec_tf.compress(model, dataset(), distill=True)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (((tf.ones((4, 3))),), "batches of .x, y."),
        ((tf.ones((4, 3)), tf.ones((4, 1), tf.int32)), "structure and size"),
        ((tf.ones((4, 3)), {"a": tf.ones((4, 3))}), "structure and size"),
    ],
)
def test_labels_that_answers_cannot_stand_in_for_are_told(parts, message):
    model = compiled("sparse_categorical_crossentropy", units=3)
    with pytest.raises(ValueError, match=message):
        answered(model, one_batch(*parts))


def test_losses_of_another_structure_than_the_outputs_are_told():
    inputs = tf.keras.Input((3,))
    layers = [tf.keras.layers.Dense(1, name=name) for name in "ab"]
    model = tf.keras.Model(inputs, [layer(inputs) for layer in layers])
    model.compile("sgd", {"a": "mse", "b": "mse"})
    x, y = tf.ones((4, 3)), {"a": tf.ones((4, 1)), "b": tf.ones((4, 1))}
    with pytest.raises(ValueError, match="losses in the structure"):
        answered(model, one_batch(x, y))
