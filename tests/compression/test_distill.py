"""Compressed tables that learn what the full model answers."""

import numpy as np
import pytest
import tensorflow as tf

import mec_tf
from mec_tf.compression import DenseSettings, with_answers
from mec_tf.compression.distill import Answers
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
    batches = list(Answers(trained).label(dataset()))
    assert len(batches) == len(list(dataset()))
    for features, labels in batches:
        expected = tf.sigmoid(trained(features, training=False))
        np.testing.assert_allclose(labels, expected, atol=1e-6)


def test_anyone_may_have_answers_in_place_of_labels(trained):
    batches = with_answers(trained, flipped())
    for (x, answers), (same, _) in zip(batches, dataset(), strict=True):
        np.testing.assert_array_equal(x["user"], same["user"])
        np.testing.assert_allclose(answers, tf.sigmoid(trained(x)), atol=1e-6)
    of_arrays = with_answers(trained, examples(size=50, seed=0))
    ((x, answers),) = of_arrays
    np.testing.assert_allclose(answers, tf.sigmoid(trained(x)), atol=1e-6)
    with pytest.raises(ValueError, match="^`train` must hold batches of .x, y"):
        with_answers(trained, dataset().map(lambda x, y: x))


def test_classes_are_told_by_softmax_and_values_as_they_are():
    x, y = tf.random.normal((4, 3)), tf.one_hot([0, 1, 2, 1], 3)
    loss = tf.keras.losses.CategoricalCrossentropy(from_logits=True)
    model = compiled(loss, units=3)
    _, labels = next(iter(Answers(model).label(one_batch(x, y))))
    np.testing.assert_allclose(labels, tf.nn.softmax(model(x)), atol=1e-6)
    model = compiled("mse")
    _, labels, weights = next(
        iter(
            Answers(model).label(
                one_batch(x, [1, 2, 3, 4], [4.0, 3.0, 2.0, 1.0])
            )
        )
    )
    assert labels.dtype == tf.float32
    np.testing.assert_allclose(labels, model(x)[:, 0], atol=1e-6)
    np.testing.assert_array_equal(weights, [4.0, 3.0, 2.0, 1.0])


@pytest.mark.parametrize("named_outputs", [True, False])
@pytest.mark.parametrize("named_labels", [True, False])
@pytest.mark.parametrize("named_losses", [True, False])
def test_every_output_is_answered_by_its_own_loss(
    named_outputs, named_labels, named_losses
):
    inputs = tf.keras.Input((3,))
    outputs = {n: tf.keras.layers.Dense(1, name=n)(inputs) for n in "ba"}
    logits = tf.keras.losses.BinaryCrossentropy(from_logits=True)
    losses = {"b": logits, "a": "mse"}
    labels = {"b": tf.ones((4, 1)), "a": tf.ones((4,))}
    order = "ab" if named_outputs else "ba"  # names come sorted, lists do not
    model = tf.keras.Model(
        inputs, outputs if named_outputs else list(outputs.values())
    )
    model.compile("sgd", losses if named_losses else [losses[n] for n in order])
    x = tf.random.normal((4, 3))
    y = labels if named_labels else tuple(labels[n] for n in order)
    answers = Answers(model)
    answers.check("train", one_batch(x, y))
    _, found = next(iter(answers.label(one_batch(x, y))))
    if not named_labels:
        found = dict(zip(order, found, strict=True))
    answered = model(x)
    if not named_outputs:
        answered = dict(zip(order, answered, strict=True))
    np.testing.assert_allclose(found["a"], answered["a"][:, 0], atol=1e-6)
    np.testing.assert_allclose(found["b"], tf.sigmoid(answered["b"]), atol=1e-6)


def test_ragged_features_reach_the_model():
    table = tf.keras.layers.Embedding(9, 4)

    class Pooled(tf.keras.Model):
        def call(self, x):
            return tf.reduce_sum(table(x["ids"].to_tensor()), axis=(1, 2))

    model = Pooled()
    model.compile("sgd", "mse")
    ids = tf.ragged.constant([[1], [2, 3, 4]])
    data = tf.data.Dataset.from_tensors(({"ids": ids}, [0.0, 0.0]))
    features, labels = next(iter(Answers(model).label(data)))
    np.testing.assert_allclose(labels, model({"ids": ids}), atol=1e-6)
    assert features["ids"].shape == ids.shape


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
    kwargs.setdefault("optimizer", mec_tf.optimizers.LazyAdam(0.003))
    return mec_tf.compress(
        model, train, policy=policy, epochs=epochs, verbose=0, distill=True,
        **kwargs,
    )  # fmt: skip


def test_tables_come_nearer_to_the_model_whatever_the_labels(trained):
    learned = compressed(trained, dataset(), 6).model
    start = compressed(trained, dataset(), 0).model
    assert distance(learned, trained) < 0.8 * distance(start, trained)
    other = compressed(trained, flipped(), 6).model
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
    learned = compressed(trained, dataset(), 4, policy).model
    start = compressed(trained, dataset(), 0, policy).model
    assert distance(learned, trained) < 0.8 * distance(start, trained)


def test_one_that_was_killed_goes_on_to_the_same_tables(trained, tmp_path):
    def weights(folder, epochs):
        return compressed(
            trained, dataset(), epochs, patience=9, folder=folder,
            validation_data=dataset(seed=2),
        ).model.get_weights()  # fmt: skip

    whole = weights(tmp_path / "whole", 4)
    weights(tmp_path / "parts", 2)
    for one, two in zip(whole, weights(tmp_path / "parts", 4), strict=True):
        np.testing.assert_array_equal(one, two)


def test_a_training_by_labels_is_not_gone_on_with(trained, tmp_path):
    mec_tf.compress(
        trained, dataset(), policy=POLICY, epochs=1, verbose=0, folder=tmp_path
    )
    with pytest.raises(mec_tf.ArtifactError, match="another compression"):
        compressed(trained, dataset(), 1, folder=tmp_path)


def test_the_best_state_is_judged_by_answers_or_by_the_users_function(trained):
    def score(valid, **kwargs):
        result = compressed(
            trained, dataset(), 2, validation_data=valid, **kwargs
        )
        return result.report.score

    right, wrong = dataset(seed=2), flipped(seed=2)
    assert score(right) == score(wrong)
    assert score(right)[0] == "val_loss"

    def seen(model):
        return -model.evaluate(right, verbose=0)

    name, before, _ = score(wrong, monitor=seen)
    start = mec_tf.compress(
        trained, dataset(), policy=POLICY, epochs=0, verbose=0
    )
    assert name == "score"
    assert before == pytest.approx(seen(start.model), abs=0.01)


def test_a_tenth_of_the_learning_rate_but_for_tables_that_start_anew(trained):
    rates = []

    class Rate(tf.keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            rates.append(float(self.model.optimizer.learning_rate))

    anew = mec_tf.CompressionPolicy(ratio=4, method="hash")
    for policy in (POLICY, anew):
        compressed(
            trained, dataset(), 1, policy, optimizer=None, callbacks=[Rate()]
        )
    own = float(trained.optimizer.learning_rate)
    np.testing.assert_allclose(rates, [own / 10, own], rtol=1e-6)


def test_a_model_without_a_loss_is_told():
    model = Plain()
    model.compile("adam")
    model({"user": tf.constant([1, 2])})
    with pytest.raises(ValueError, match="^`model` must have a loss, given"):
        mec_tf.compress(model, dataset(), distill=True)
    with pytest.raises(ValueError, match="^`model` must have a loss, given"):
        with_answers(Plain(), dataset())  # never compiled


def test_metrics_that_want_true_labels_are_no_monitor(trained):
    with pytest.raises(ValueError, match="^`monitor` must be a loss"):
        compressed(trained, dataset(), 1, monitor="val_auc")


def test_a_loss_that_does_not_tell_of_logits_is_refused():
    with pytest.raises(ValueError, match="^`model` must have a loss of Keras"):
        Answers(compiled(lambda y, p: tf.square(y - p)))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((tf.ones((4, 3)),), "batches of .x, y."),
        ((tf.ones((4, 3)), tf.ones((4, 1), tf.int32)), "of the size"),
        ((tf.ones((4, 3)), {"a": tf.ones((4, 2))}), "of the size"),
    ],
)
def test_labels_that_answers_cannot_stand_in_for_are_told(parts, message):
    answers = Answers(compiled("sparse_categorical_crossentropy", units=3))
    with pytest.raises(ValueError, match=f"^`valid` must hold.*{message}"):
        answers.check("valid", one_batch(*parts))
    with pytest.raises(ValueError, match="^`valid` must .*Received: no data"):
        answers.check("valid", one_batch(*parts).take(0))


def test_losses_of_other_outputs_are_told():
    inputs = tf.keras.Input((3,))
    layers = [tf.keras.layers.Dense(1, name=name) for name in "ab"]
    model = tf.keras.Model(inputs, [layer(inputs) for layer in layers])
    model.compile("sgd", {"a": "mse", "c": "mse"})
    with pytest.raises(ValueError, match="^`model` must .* each output"):
        Answers(model).check("train", one_batch(tf.ones((4, 3)), (1, 2)))
