"""The train step that learns the step sizes of low-precision tables."""

import inspect
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from mec_tf.layers import LowPrecisionEmbedding
from mec_tf.layers.variables import raw
from mec_tf.quantizers import integers


def use_alpt(
    model: tf.keras.Model, step_learning_rate: float = 2e-3
) -> tf.keras.Model:
    """Lets `fit` learn the step sizes of a model's low-precision tables.

    A train step then has two passes. The first is the model's own train step:
    gradients, its optimizer on the network, losses and metrics stay as they
    are, and the looked-up rows of each `LowPrecisionEmbedding` step as floats.
    In the second, with the new network and rows, the loss is computed again on
    those rows rounded to the nearest integer; its gradient by the step sizes,
    times `1 / sqrt(batch size * D * q)`, steps them. The rows are then rounded
    with the new step sizes and written.

    The second pass costs about another forward and backward pass. It leaves
    metrics as they were; moving statistics (of batch normalization, say) move
    in both passes. Tables with `learned_steps=False` take part in the first
    only. Call it before or after `compile`, before the first `fit`; works with
    any optimizer, on functional, Sequential and subclassed models, on those of
    TensorFlow Recommenders, and with `jit_compile`.

    Args:
        model: holds one `LowPrecisionEmbedding` or more, found when the train
            step is traced. Changed in place.
        step_learning_rate: float, of the step sizes, in units of each: a
            table of small rows learns its own as fast as one of large rows.
            Default 2e-3, the paper's 2e-5 for its step size of 0.01.

    Returns:
        `model`.

    Raises:
        ValueError: if `step_learning_rate` is negative; in `fit`, if the model
            holds no such table.
        NotImplementedError: in `fit`, under a strategy of more than one
            replica, or if the model looks rows up another time, or within a
            graph of its own, in its train step.

    Example:
        >>> model = tf.keras.Sequential(
        ...     [LowPrecisionEmbedding(100, 8), tf.keras.layers.Dense(1)]
        ... )
        >>> model.compile("adam", "mse")
        >>> use_alpt(model).fit(ids, targets)  # doctest: +SKIP

    Reference:
        "Adaptive Low-Precision Training for Embeddings in Click-Through Rate
        Prediction" (arXiv 2212.05735), algorithm 1.
    """
    if not step_learning_rate >= 0:
        raise ValueError(
            "`step_learning_rate` must be at least 0. "
            f"Received: step_learning_rate={step_learning_rate}"
        )
    # A second call changes the learning rate; it adds no third pass.
    first_pass = getattr(model.train_step, "first_pass", model.train_step)

    def train_step(data: Any) -> Any:
        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync > 1:
            raise NotImplementedError(
                "ALPT learns step sizes on one replica. Train without a "
                "`tf.distribute` strategy, or without `use_alpt`."
            )
        steps = [_TableStep(layer) for layer in low_precision_layers(model)]
        if not steps:
            raise ValueError(
                "`model` must hold a `LowPrecisionEmbedding`. "
                f"Received: {model.name}, which holds none"
            )
        try:
            for step in steps:
                step.layer.take_lookup = step.first_lookup
            logs = first_pass(data)
            for step in steps:
                step.step_rows()
                step.layer.take_lookup = step.second_lookup
            _second_pass(model, data, steps, step_learning_rate)
        finally:
            for step in steps:
                step.layer.take_lookup = None
        return logs

    train_step.first_pass = first_pass  # type: ignore[attr-defined]
    model.train_step = train_step
    model.train_function = None
    return model


def low_precision_layers(
    model: tf.keras.Model,
) -> list[LowPrecisionEmbedding]:
    """The trainable low-precision tables of a model, in its order.

    Only those are meant whose step sizes are learned.
    """
    return [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, LowPrecisionEmbedding)
        and layer.learned_steps
        and layer.trainable
    ]


class _TableStep:
    """What one train step does to one table, while it is traced."""

    def __init__(self, layer: LowPrecisionEmbedding):
        self.layer = layer
        self.scale: tf.Tensor | None = None
        self._graph = _graph()
        self._rows: list[tf.Tensor] = []
        self._counted: list[tf.Tensor] = []
        self._gradients: list[tf.Tensor | None] = []
        self._next = 0

    def first_lookup(
        self, rows: tf.Tensor, counted: tf.Tensor, training: bool
    ) -> tf.Tensor:
        if _graph() is not self._graph:
            raise NotImplementedError(
                f"{self.layer.name} is looked up in a graph within the train "
                "step (a `tf.function`, `tf.map_fn`, loop or branch). Look "
                "rows up outside of it to use ALPT."
            )
        place = len(self._rows)
        self._rows.append(rows)
        self._counted.append(counted)
        self._gradients.append(None)

        def keep(gradients: tf.Tensor, scale: tf.Tensor) -> None:
            self._gradients[place] = gradients / scale
            self.scale = scale

        return self.layer.vectors_with_hook(rows, training, keep)

    def step_rows(self) -> None:
        """Steps the rows of all lookups, not yet rounded."""
        if not self._rows or self.scale is None:
            return
        dim = self.layer.output_dim
        gradients, counted = [], []
        for rows, count, gradient in zip(
            self._rows, self._counted, self._gradients, strict=True
        ):
            if gradient is None:  # The loss does not depend on this lookup.
                gradient = tf.zeros([tf.shape(rows)[0], dim])
                count = tf.zeros_like(count)
            gradients.append(gradient)
            counted.append(count)
        self.step = self.layer.table.stepped(
            tf.concat(self._rows, 0),
            tf.concat(counted, 0),
            tf.concat(gradients, 0),
        )
        whole = integers.quantize(
            self.step.values, self.step.steps[:, None], self.layer.bits
        )
        self.rounded = whole * self.step.steps[:, None]
        sizes = [tf.shape(rows)[0] for rows in self._rows]
        self._places = tf.split(
            self.step.distinct.places, sizes, num=len(sizes)
        )

    def second_lookup(
        self, rows: tf.Tensor, counted: tf.Tensor, training: bool
    ) -> tf.Tensor:
        self._next += 1
        if self.scale is None or self._next > len(self._rows):
            self._refuse()
        return tf.gather(self.rounded, self._places[self._next - 1])

    def finish(
        self, gradients: tf.Tensor, batch_size: tf.Tensor, learning_rate: float
    ) -> None:
        if self._next != len(self._rows):
            self._refuse()
        step = self.layer.table.learn_steps(
            self.step, gradients, batch_size, learning_rate
        )
        self.layer.table.write(step)

    def _refuse(self) -> None:
        raise NotImplementedError(
            f"{self.layer.name} must be looked up as often in the model's "
            "call as in its train step, and the loss must depend on it, to "
            f"use ALPT. Received: {len(self._rows)} lookups in the train step"
        )


def _graph() -> Any:
    if tf.executing_eagerly():
        return None
    return tf.compat.v1.get_default_graph()


def _second_pass(
    model: tf.keras.Model,
    data: Any,
    steps: list[_TableStep],
    learning_rate: float,
) -> None:
    used = [step for step in steps if step.scale is not None]
    metrics = [raw(v) for m in model.metrics for v in m.variables]
    before = [tf.identity(v) for v in metrics]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        for step in used:
            tape.watch(step.rounded)
        loss = _loss(model, data)
        if used:
            # Small gradients would vanish in float16.
            loss = loss * tf.cast(used[0].scale, loss.dtype)
    gradients = tape.gradient(
        loss,
        [step.rounded for step in used],
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    for variable, value in zip(metrics, before, strict=True):
        variable.assign(value)
    for step, gradient in zip(used, gradients, strict=True):
        gradient = tf.convert_to_tensor(gradient) / used[0].scale
        step.finish(gradient, _batch_size(data), learning_rate)


def _loss(model: tf.keras.Model, data: Any) -> tf.Tensor:
    """The training loss on a batch, as the model's train step has it."""
    names = inspect.signature(model.compute_loss).parameters
    if "inputs" in names:  # TensorFlow Recommenders
        return model.compute_loss(data, training=True) + sum(model.losses)
    x, y, weight = tf.keras.utils.unpack_x_y_sample_weight(data)
    arguments = {"x": x, "y": y, "sample_weight": weight}
    if "training" in names:
        arguments["training"] = True
    prediction = _call(model)(x)
    return model.compute_loss(y_pred=prediction, **arguments)


def _call(model: tf.keras.Model) -> Callable:
    """The model in training; Keras 3 wants `training` only where it is used."""
    names = inspect.signature(model.call).parameters.values()
    if any(p.name == "training" or p.kind == p.VAR_KEYWORD for p in names):
        return lambda x: model(x, training=True)
    return model


def _batch_size(data: Any) -> tf.Tensor:
    first = next(t for t in tf.nest.flatten(data) if t is not None)
    if isinstance(first, tf.RaggedTensor):
        return first.nrows()
    return tf.shape(first)[0]
