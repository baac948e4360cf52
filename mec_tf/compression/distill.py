"""What a trained model answers, for a smaller one to learn from."""

from typing import Any

import tensorflow as tf

_OF_CLASSES = (
    tf.keras.losses.CategoricalCrossentropy,
    tf.keras.losses.CategoricalFocalCrossentropy,
)


def answered(
    model: tf.keras.Model, batches: tf.data.Dataset
) -> tf.data.Dataset:
    """The batches, with what a model answers in place of their labels.

    Answers are what its loss compares with labels: probabilities, where the
    model gives logits and the loss has `from_logits`. They are worked out as
    batches come, on the model's device, and not kept.

    Args:
        model: compiled with a loss for each output, or one for all.
        batches: of `(x, y)` or `(x, y, weights)`.

    Returns:
        Batches of the same structure; labels have the answers' dtype.

    Raises:
        ValueError: if the model has no compiled loss, batches no labels, or
            labels another size than the answers.

    Reference:
        "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531), at
        temperature 1 and with no weight on the labels.
    """
    losses = tf.nest.flatten(model._compile_config.config["loss"])
    if losses == [None]:
        raise ValueError(
            "`distill` needs a model with a loss given to `compile`: answers "
            "take the place of its labels. Received a model without one."
        )

    @tf.function(reduce_retracing=True)
    def answer(x: Any) -> list[tf.Tensor]:
        outputs = tf.nest.flatten(model(x, training=False))
        each = losses if len(losses) > 1 else losses * len(outputs)
        return [_as_label(*pair) for pair in zip(each, outputs, strict=True)]

    batch = next(iter(batches))
    if not isinstance(batch, tuple) or len(batch) < 2:
        raise ValueError(
            "`distill` needs batches of (x, y), whose labels the answers "
            f"stand in for. Received: {batches.element_spec}"
        )
    answers, labels = answer(batch[0]), tf.nest.flatten(batch[1])
    if [tf.size(a) for a in answers] != [tf.size(y) for y in labels]:
        raise ValueError(
            "`distill` needs labels of the size of what the model answers "
            f"(one-hot for classes), {[tuple(a.shape) for a in answers]}. "
            f"Received: {[tuple(y.shape) for y in labels]}"
        )
    dtypes = [a.dtype for a in answers]

    def relabel(x: Any, y: Any, *weights: Any) -> tuple:
        def call(*flat: tf.Tensor) -> list[tf.Tensor]:
            return answer(tf.nest.pack_sequence_as(x, flat, True))

        # Out of the data's graph, which knows no variables of accelerators.
        answers = tf.py_function(call, tf.nest.flatten(x, True), dtypes)
        labels = [
            tf.ensure_shape(tf.reshape(a, tf.shape(label)), label.shape)
            for a, label in zip(answers, tf.nest.flatten(y), strict=True)
        ]
        return (x, tf.nest.pack_sequence_as(y, labels), *weights)

    return batches.map(relabel).prefetch(tf.data.AUTOTUNE)


def _as_label(loss: Any, output: tf.Tensor) -> tf.Tensor:
    """An output of a model as its loss wants a label."""
    config = loss.get_config() if hasattr(loss, "get_config") else {}
    if not config.get("from_logits"):
        return output
    if isinstance(loss, _OF_CLASSES):
        return tf.nn.softmax(output)
    return tf.sigmoid(output)
