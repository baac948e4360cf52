"""Dense layers of a model, and what they answer on the training data."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.compression.batches import as_batches
from mec_tf.compression.rebuild import build, check_copy, rebuild
from mec_tf.compression.tables import walk
from mec_tf.layers.variables import add_raw_weight, raw
from mec_tf.quantizers import OutputStatistics
from mec_tf.quantizers.moments import merged, moments


class _RecordingDense(tf.keras.layers.Dense):
    """A dense layer that keeps the moments of its pre-activations."""

    @classmethod
    def like(cls, dense: tf.keras.layers.Dense) -> "_RecordingDense":
        layer = cls.from_config({**dense.get_config(), "activation": None})
        layer.then = dense.activation
        return layer

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        shapes = {"count": (), "mean": (self.units,)}
        shapes["scatter"] = (self.units, self.units)
        self.moments = [
            add_raw_weight(self, name, shape, "float64", "zeros")
            for name, shape in shapes.items()
        ]

    def call(self, inputs: Any, training: Any = None) -> Any:
        outputs = super().call(inputs)
        kept = [raw(weight) for weight in self.moments]
        # Not while Keras infers shapes.
        if all(isinstance(each, tf.Variable) for each in kept):
            both = merged(tuple(kept), moments(outputs))
            for variable, value in zip(kept, both, strict=True):
                variable.assign(value)
        return self.then(outputs)


def dense_layers(model: tf.keras.Model) -> dict[str, tf.keras.layers.Dense]:
    """Every `tf.keras.layers.Dense` of a model, each once, by first path.

    In functional, Sequential and subclassed models, and in the towers and
    cross networks of this package's. A subclass with a `call` of its own is
    something else.

    Args:
        model: built or not.

    Returns:
        `{path: layer}`.
    """
    plain = tf.keras.layers.Dense
    found: dict[int, tuple[str, Any]] = {}
    for path, layer in walk(model):
        if isinstance(layer, plain) and type(layer).call is plain.call:
            found.setdefault(id(layer), (path, layer))
    return dict(found.values())


def dense_statistics(
    model: tf.keras.Model,
    paths: Iterable[str],
    train: Any,
    model_fn: Callable[[], tf.keras.Model] | None = None,
) -> dict[str, OutputStatistics]:
    """Statistics of dense layers' outputs before the activation, in one pass.

    The model answers as at inference. In sequences every position counts,
    padding too.

    Args:
        model: a built model; stays as it is.
        paths: of some of its `dense_layers`.
        train: batches `(x, y, ...)` as `fit` takes them, or a tuple of
            arrays.
        model_fn: as in `rebuild`.

    Returns:
        Statistics by path; `count` is 0 where a layer was never called.

    Raises:
        ValueError: if a path is not one of a dense layer, there is no data,
            or the model cannot be copied.
    """
    layers = dense_layers(model)
    paths = tuple(paths)
    unknown = [path for path in paths if path not in layers]
    if unknown:
        raise ValueError(
            f"`paths` must name dense layers: {', '.join(layers)}. "
            f"Received: {unknown}"
        )
    train = as_batches(train)
    first = next(iter(train), None)
    if first is None:
        raise ValueError("`train` must hold a batch. Received no data.")
    if train.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError(
            "`train` must end: it is read in one pass. Received an infinite "
            "dataset."
        )

    def recorder(path: str) -> Callable[[], _RecordingDense]:
        return lambda: _RecordingDense.like(layers[path])

    copy = rebuild(model, {p: recorder(p) for p in paths}, first, model_fn)
    made = dict(walk(copy))
    recorders = {path: made[path] for path in paths}
    check_replaced(recorders, _RecordingDense)
    for path, layer in recorders.items():
        raw(layer.kernel).assign(raw(layers[path].kernel))
        if layer.use_bias:
            raw(layer.bias).assign(raw(layers[path].bias))
    check_copy(model, copy, first)
    for layer in recorders.values():  # they looked at the first batch already
        for weight in layer.moments:
            raw(weight).assign(np.zeros(tuple(weight.shape)))

    @tf.function(reduce_retracing=True)
    def look(batch: Any) -> None:
        build(copy, batch)

    for batch in train:
        look(batch)
    found = {}
    for path, layer in recorders.items():
        found[path] = OutputStatistics(layer.units)
        found[path].add_moments(*(raw(each).numpy() for each in layer.moments))
    return found


def check_replaced(layers: dict[str, Any], kind: type) -> None:
    """Raises ValueError unless all layers are of the kind put there."""
    for path, layer in layers.items():
        if not isinstance(layer, kind):
            raise ValueError(
                f"`model` must make the layer {path} in its constructor, to "
                "have it replaced. Received a model that makes it later"
            )
