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
        model: compiled with one loss for all outputs, or one for each, in
            the structure of its outputs.
        batches: of `(x, y)` or `(x, y, weights)`.

    Returns:
        Batches of the same structure; labels have the answers' dtype.

    Raises:
        ValueError: if the model has no compiled loss, batches no labels, or
            labels or losses another structure or size than the answers.

    Reference:
        "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531), at
        temperature 1 and with no weight on the labels.
    """
    losses = model._compile_config.config["loss"]
    if losses is None:
        raise ValueError(
            "`distill` needs a model with a loss given to `compile`: answers "
            "take the place of its labels. Received a model without one."
        )
    batch = next(iter(batches))
    if not isinstance(batch, tuple) or len(batch) < 2:
        raise ValueError(
            "`distill` needs batches of (x, y), whose labels the answers "
            f"stand in for. Received: {batches.element_spec}"
        )

    @tf.function(reduce_retracing=True)
    def answer(x: Any) -> Any:
        return _as_labels(losses, model(x, training=False))

    answers = answer(batch[0])
    if _sizes(answers) != _sizes(batch[1]):
        raise ValueError(
            "`distill` needs labels of the structure and size of what the "
            f"model answers (one-hot for classes): {_shapes(answers)}. "
            f"Received: {_shapes(batch[1])}"
        )
    dtypes = [value.dtype for value in tf.nest.flatten(answers)]

    def relabel(x: Any, y: Any, *weights: Any) -> tuple:
        def call(*flat: tf.Tensor) -> list[tf.Tensor]:
            return tf.nest.flatten(
                answer(tf.nest.pack_sequence_as(x, flat, True))
            )

        # Out of the data's graph, which knows no variables of accelerators.
        values = tf.py_function(call, tf.nest.flatten(x, True), dtypes)
        labels = [
            tf.ensure_shape(tf.reshape(value, tf.shape(label)), label.shape)
            for value, label in zip(values, tf.nest.flatten(y), strict=True)
        ]
        return (x, tf.nest.pack_sequence_as(y, labels), *weights)

    return batches.map(relabel).prefetch(tf.data.AUTOTUNE)


def _as_labels(losses: Any, outputs: Any) -> Any:
    """Outputs of a model as its losses want labels."""
    if not tf.nest.is_nested(losses):
        return tf.nest.map_structure(
            lambda output: _as_label(losses, output), outputs
        )
    try:
        return tf.nest.map_structure(_as_label, losses, outputs)
    except (TypeError, ValueError) as error:
        raise ValueError(
            "`distill` needs a model with one loss, or losses in the "
            f"structure of its outputs. Received: {error}"
        ) from None


def _as_label(loss: Any, output: tf.Tensor) -> tf.Tensor:
    """An output of a model as its loss wants a label."""
    config = loss.get_config() if hasattr(loss, "get_config") else {}
    if not config.get("from_logits"):
        return output
    if isinstance(loss, _OF_CLASSES):
        return tf.nn.softmax(output)
    return tf.sigmoid(output)


def _shapes(values: Any) -> Any:
    return tf.nest.map_structure(lambda value: tuple(value.shape), values)


def _sizes(values: Any) -> Any:
    return tf.nest.map_structure(lambda value: int(tf.size(value)), values)
