"""What a trained model answers, for a smaller one to learn from."""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from mec_tf.compression.batches import as_batches
from mec_tf.compression.keras_versions import check_keras
from mec_tf.compression.selection import minimized

_OF_CLASSES = (
    tf.keras.losses.CategoricalCrossentropy,
    tf.keras.losses.CategoricalFocalCrossentropy,
)


class Answers:
    """A model's answers, as labels.

    They are what its loss compares labels with: probabilities, where the
    model gives logits and the loss has `from_logits`. They are worked out as
    batches come, on the model's device, and not kept.

    Args:
        model: compiled with one Keras loss for all outputs, or one for each.
        monitor: what is to be monitored, as of `compress`.
        name: of the argument that the model came by, for errors.

    Raises:
        ValueError: if the model has no compiled loss, or one that does not
            say whether it takes logits, or `monitor` wants true labels.

    Reference:
        "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531), at
        temperature 1 and with no weight on the labels.
    """

    def __init__(
        self,
        model: tf.keras.Model,
        monitor: str | Callable[[tf.keras.Model], float] = "val_loss",
        name: str = "model",
    ):
        if not callable(monitor) and not minimized(monitor):
            raise ValueError(
                "`monitor` must be a loss, an error or a function with "
                "`distill`: AUC and the like want true labels. "
                f"Received: monitor={monitor!r}"
            )
        self.model, self.name = model, name
        # Only `compile` makes one.
        compiled = getattr(model, "_compile_config", None)
        self.losses: Any = None if compiled is None else compiled.config["loss"]
        if self.losses is None:
            raise ValueError(
                f"`{name}` must have a loss, given to `compile`: what it "
                "answers takes the place of labels. Received a model without "
                "one."
            )
        for loss in tf.nest.flatten(self.losses):
            _check_loss(name, loss)
        self._call = tf.function(
            lambda x: model(x, training=False), reduce_retracing=True
        )

    def check(self, name: str, batches: tf.data.Dataset) -> None:
        """Checks that answers can stand in for the labels of batches.

        Args:
            name: of the argument that they came by.
            batches: of `(x, y)` or `(x, y, weights)`.

        Raises:
            ValueError: if there is no batch or label, or the labels are not
                as many or as large as the answers.
        """
        batch = next(iter(batches), None)
        if not isinstance(batch, tuple) or len(batch) < 2:
            raise ValueError(
                f"`{name}` must hold batches of (x, y): answers take the "
                "place of labels. Received: "
                f"{'no data' if batch is None else batches.element_spec}"
            )
        answers = self._answers(batch[0])
        labels = self._in_order(batch[1])
        if _sizes(answers) != _sizes(labels):
            raise ValueError(
                f"`{name}` must hold labels of the size of what the model "
                "answers, which takes their place (one-hot for classes): "
                f"{[tuple(a.shape) for a in answers]}. Received: "
                f"{[tuple(y.shape) for y in labels]}"
            )

    def label(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """The batches, with answers in place of their labels.

        Labels are float32; features and weights stay.
        """

        def relabel(x: Any, y: Any, *weights: Any) -> tuple:
            def call(*flat: tf.Tensor) -> list[tf.Tensor]:
                return self._answers(tf.nest.pack_sequence_as(x, flat, True))

            # Out of the data's graph, which knows no variables of a device.
            wanted = self._in_order(y)
            answers = tf.py_function(
                call, tf.nest.flatten(x, True), [tf.float32] * len(wanted)
            )
            labels = [
                tf.ensure_shape(
                    tf.reshape(answer, tf.shape(label)), label.shape
                )
                for answer, label in zip(answers, wanted, strict=True)
            ]
            if isinstance(y, Mapping):
                names = self._names(y)
                named = dict(zip(names, labels, strict=True))
                return (x, {name: named[name] for name in y}, *weights)
            return (x, tf.nest.pack_sequence_as(y, labels), *weights)

        return batches.map(relabel).prefetch(tf.data.AUTOTUNE)

    def _answers(self, x: Any) -> list[tf.Tensor]:
        """Answers to a batch, in the order of the outputs."""
        outputs = self._call(x)
        names = getattr(self.model, "output_names", None) or []
        if isinstance(outputs, Mapping):
            names = sorted(outputs)
        outputs = tf.nest.flatten(outputs)
        losses = self.losses
        if isinstance(losses, Mapping) and set(losses) <= set(names):
            losses = [losses.get(name) for name in names]
        elif not tf.nest.is_nested(losses):
            losses = [losses] * len(outputs)
        if isinstance(losses, Mapping) or len(losses) != len(outputs):
            raise ValueError(
                f"`{self.name}` must have one loss, or one for each output, "
                "for its answers to take the place of labels. Received losses "
                f"{losses} for {len(outputs)} outputs, {', '.join(names)}"
            )
        return [_as_label(*pair) for pair in zip(losses, outputs, strict=True)]

    def _in_order(self, labels: Any) -> list[Any]:
        """Labels in the order of the outputs."""
        if isinstance(labels, Mapping):
            return [labels[name] for name in self._names(labels)]
        return tf.nest.flatten(labels)

    def _names(self, labels: Mapping[str, Any]) -> list[str]:
        """Keys of named labels, in the order of the outputs."""
        names = list(getattr(self.model, "output_names", None) or [])
        return names if set(names) == set(labels) else sorted(labels)


def with_answers(model: tf.keras.Model, train: Any) -> tf.data.Dataset:
    """Batches whose labels are what a model answers.

    For a target that trains on codes that are learned already (`apply_codes`,
    MEC's stage 2). Codes of rare rows know the labels of the examples that
    taught them, and a target that trains on the same labels learns to trust
    the codes more than they deserve. The compressed model, whose answers come
    from the same codes, trusts them as far as validation let it: nothing is
    gained by trusting them more.

    The target's loss must compare with probabilities, as cross-entropy does.
    Metrics that want labels of 0 and 1 (accuracy, AUC) say nothing on these
    batches; `validation_data` keeps the true labels.

    Args:
        model: built, and compiled with a Keras loss, which says whether it
            gives logits. In stage 2 the compressed one, `result.model`.
        train: batches of `(x, y)` or `(x, y, weights)`, a `tf.data.Dataset`
            as `fit` takes it, or a tuple of arrays, which is shuffled and cut
            into batches of 1024.

    Returns:
        The batches, with answers in place of labels: float32, of the shape
        and structure of `y`; probabilities, not logits (values, for a loss of
        regression). They are worked out anew in each pass, by the weights
        that the model has then.

    Raises:
        TypeError: if the model is of the Keras that `tf.keras` is not.
        ValueError: if the model was not compiled, or with a loss that does
            not say whether it takes logits, or losses that do not fit its
            outputs; if `train` is neither kind of data or holds no batch, or
            its labels are not of the size of the answers.

    Example:
        >>> target = mec_tf.apply_codes(target, result.codes, train)
        >>> loss = tf.keras.losses.BinaryCrossentropy(from_logits=True)
        >>> target.compile("adam", loss)
        >>> target.fit(compression.with_answers(result.model, train))

    Reference:
        "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531).
    """
    check_keras(model)
    batches = as_batches(train)
    answers = Answers(model)
    answers.check("train", batches)
    return answers.label(batches)


def _check_loss(name: str, loss: Any) -> None:
    """Raises ValueError unless the loss says whether it takes logits."""
    if loss is None or isinstance(loss, str):
        return
    kind = getattr(loss, "__name__", type(loss).__name__)
    of_keras = getattr(tf.keras.losses, kind, None) in (loss, type(loss))
    config = loss.get_config() if hasattr(loss, "get_config") else {}
    if not of_keras and "from_logits" not in config:
        raise ValueError(
            f"`{name}` must have a loss of Keras, or one with `from_logits` "
            "in its configuration: answers that take the place of labels must "
            f"be what it compares labels with. Received: {kind}"
        )


def _as_label(loss: Any, output: tf.Tensor) -> tf.Tensor:
    """An output of a model as its loss wants a label."""
    config = loss.get_config() if hasattr(loss, "get_config") else {}
    output = tf.cast(output, tf.float32)
    if not config.get("from_logits"):
        return output
    if isinstance(loss, _OF_CLASSES):
        return tf.nn.softmax(output, axis=config.get("axis", -1))
    return tf.sigmoid(output)


def _sizes(tensors: list[tf.Tensor]) -> list[int]:
    return [int(tf.size(tensor)) for tensor in tensors]
