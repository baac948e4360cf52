"""A copy of a model with other layers in the place of some of its own.

Keras refuses to swap layers inside a built model, so the copy is made from
configuration (or by `model_fn`), changed while it is still unbuilt, built on
a batch, and given the original's weights, layer by layer.

A subclassed model's own class builds plain layers again when it is loaded
(unless it says, by an attribute `config_holds_tables = True`, that its
configuration holds its table layers, as the models of this package do; their
towers and cross networks hold their dense layers there too). Its copy is
therefore an instance of a subclass made on the fly whose saved configuration
also holds the replacements (`RebuiltModel`).
"""

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from mec_tf.compression import tables as finding
from mec_tf.compression.carry_weights import (
    cannot_copy,
    carry_vocabularies,
    carry_weights,
)
from mec_tf.layers import LowRankDense
from mec_tf.layers.dense_stack import DenseStack

Layer: TypeAlias = tf.keras.layers.Layer
Replacements: TypeAlias = Mapping[str, Callable[[], Layer]]


def rebuild(
    model: tf.keras.Model,
    replacements: Replacements,
    batch: Any,
    model_fn: Callable[[], tf.keras.Model] | None = None,
    weights_from: tf.keras.Model | None = None,
    carry: bool = True,
) -> tf.keras.Model:
    """A built copy of `model` with tables replaced and weights carried over.

    Args:
        model: a built model; stays as it is.
        replacements: path of a layer -> function that makes the layer that
            takes its place, in every place that holds it (called once).
        batch: `(x, y, ...)` as `fit` takes it, to build the copy on.
        model_fn: makes an unbuilt model of the same structure, for a model
            that cannot be copied from its configuration.
        weights_from: the model whose weights to carry over, of the same
            structure but for the replaced layers. Default: `model`.
        carry: False leaves the copy's weights freshly initialised.

    Raises:
        ValueError: if the model cannot be copied; nothing is changed.
    """
    made = _Replacer(model, replacements)
    if model_fn is None:
        copy = made.copy(model, "", by_place=False)
    else:
        copy = made.put(model_fn(), "", by_place=False)
    carry_vocabularies(model, copy)
    build(copy, batch)
    source = model if weights_from is None else weights_from
    carry_weights(source, copy, set(made.first_path), learned=carry)
    return copy


class _Replacer:
    """Copies layers by path, swapping in the replacements."""

    def __init__(self, model: Layer, replacements: Replacements):
        layers = list(finding.walk(model))
        wanted = {
            id(layer): path for path, layer in layers if path in replacements
        }
        self.first_path = {
            path: wanted[id(layer)]
            for path, layer in layers
            if id(layer) in wanted
        }
        self.replacements = replacements
        self.made: dict[str, Layer] = {}

    def replacement(self, path: str) -> Layer | None:
        first = self.first_path.get(path)
        if first is None:
            return None
        if first not in self.made:
            self.made[first] = self.replacements[first]()
        return self.made[first]

    def below(self, prefix: str) -> list[str]:
        return [path for path in self.first_path if path.startswith(prefix)]

    def copy(self, layer: Layer, prefix: str, by_place: bool) -> Layer:
        """An unbuilt copy of `layer`, replacements inside."""
        if finding.is_graph(layer):
            return self._clone(layer, prefix, by_place)
        fresh = unbuilt_copy(layer)
        if not self.below(prefix):
            return fresh
        return self.put(fresh, prefix, by_place)

    def put(self, fresh: Layer, prefix: str, by_place: bool) -> Layer:
        """Swaps the replacements into an unbuilt copy."""
        if finding.is_graph(fresh):
            return self._clone(fresh, prefix, by_place)
        self._swap(fresh, prefix)
        chosen = {}
        for path in self.below(prefix):
            place = path[len(prefix) :]
            layer = self.replacement(path)
            if layer is not None and not _config_holds(fresh, place, layer):
                chosen[place] = layer
        if chosen:
            remember(fresh, chosen)
        return fresh

    def _clone(self, graph: Layer, prefix: str, by_place: bool) -> Layer:
        keys = finding.graph_keys(graph, by_place)

        def other(layer: Layer, copied: bool) -> Layer:
            if id(layer) not in keys:  # a bare operation, as `x * 2` is
                return unbuilt_copy(layer)
            path = prefix + keys[id(layer)]
            replacement = self.replacement(path)
            if replacement is not None:
                return replacement
            if copied:
                return self.copy(layer, path + "/", by_place)
            return self._swapped(layer, path + "/")

        if isinstance(graph, tf.keras.Sequential) and not graph.built:
            kept = [other(layer, copied=False) for layer in graph.layers]
            return tf.keras.Sequential(kept, name=graph.name)
        clone = tf.keras.models.clone_model(
            graph, clone_function=lambda layer: other(layer, copied=True)
        )
        if type(graph).__name__ in ("Sequential", "Functional"):
            return clone
        try:  # a user's subclass that is given inputs and outputs
            return type(graph)(
                inputs=clone.inputs, outputs=clone.outputs, name=graph.name
            )
        except TypeError as error:
            raise cannot_copy(str(error)) from error

    def _swapped(self, layer: Layer, prefix: str) -> Layer:
        """`layer`, of an unbuilt copy, with its own tables replaced."""
        if not self.below(prefix):
            return layer
        if finding.is_graph(layer):
            return self._clone(layer, prefix, by_place=True)
        self._swap(layer, prefix)
        return layer

    def _swap(self, owner: Layer, prefix: str) -> None:
        for name, value in list(vars(owner).items()):
            if name in finding.internal_names():
                continue
            path = prefix + name
            if path in self.first_path or self.below(path + "/"):
                other = self._exchange(value, path)
                if other is value:  # setting it again would change its place
                    continue
                delattr(owner, name)  # or Keras keeps tracking the old one
                setattr(owner, name, other)

    def _exchange(self, value: Any, path: str) -> Any:
        """`value` with every table at or below `path` replaced."""
        if isinstance(value, tf.keras.layers.Layer):
            other = self.replacement(path)
            return other or self._swapped(value, path + "/")
        if isinstance(value, (list, tuple)):
            items = [
                self._exchange(item, f"{path}/{index}")
                for index, item in enumerate(value)
            ]
            return tuple(items) if isinstance(value, tuple) else items
        if hasattr(value, "keys"):
            return {
                key: self._exchange(value[key], f"{path}/{key}")
                for key in list(value.keys())
            }
        return value


def _config_holds(owner: Layer, path: str, replacement: Layer) -> bool:
    """Whether the owner's own configuration says what it has at a path."""
    if isinstance(owner, DenseStack):
        return True
    if not getattr(owner, "config_holds_tables", False):
        return False
    if isinstance(replacement, LowRankDense):
        return isinstance(getattr(owner, path.split("/")[0], None), DenseStack)
    return True


def unbuilt_copy(layer: Layer) -> Layer:
    """A fresh layer of the same class and configuration.

    Raises:
        ValueError: if the class offers no way to make one.
    """
    reasons = []
    if isinstance(layer, tf.keras.layers.Lambda):
        return layer  # has no state, and Keras may refuse to copy its code
    try:
        return type(layer).from_config(layer.get_config())
    except Exception as error:  # user code: anything may come
        reasons.append(str(error).strip().split("\n")[0])
    parameters = list(
        inspect.signature(type(layer).__init__).parameters.values()
    )
    required = [
        p
        for p in parameters[1:]
        if p.default is p.empty
        and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if not required:
        try:
            return type(layer)()
        except Exception as error:
            reasons.append(str(error).strip().split("\n")[0])
    raise cannot_copy(
        f"{type(layer).__name__} can be made neither from its get_config() "
        f"nor without arguments ({'; '.join(reasons)})"
    )


def build(model: tf.keras.Model, batch: Any) -> None:
    """Builds every layer by running the model on a few examples."""
    try:
        model(batch[0] if isinstance(batch, tuple) else batch, training=False)
    except NotImplementedError:  # TFRS models may define only their loss
        model.compute_loss(batch)


def check_copy(model: tf.keras.Model, copy: tf.keras.Model, batch: Any) -> None:
    """Raises ValueError unless both models answer a batch alike.

    A class may forget an argument in `get_config`, or be changed after it was
    made; its copy would silently be another model.
    """
    inputs = batch[0] if isinstance(batch, tuple) else batch
    try:
        answers = [m(inputs, training=False) for m in (model, copy)]
    except NotImplementedError:  # TFRS models may define only their loss
        return
    ours, theirs = map(tf.nest.flatten, answers)
    for one, other in zip(ours, theirs, strict=True):
        if isinstance(one, (tf.RaggedTensor, tf.SparseTensor)):
            one, other = one.values, other.values
        if not np.allclose(one, other, rtol=1e-2, atol=1e-3):
            raise cannot_copy("the copy answers differently")


def remember(model: Layer, replacements: Mapping[str, Layer]) -> None:
    """Makes `model` save its replacements with its configuration."""
    base = type(model)
    if getattr(base, "_mec_tf_base", None) is None:
        model.__class__ = _rebuilt_class(base)
    kept = dict(getattr(model, "_mec_tf_replacements", {}).items())
    kept.update(replacements)
    object.__setattr__(model, "_mec_tf_replacements", _Hidden(kept))


class _Hidden:
    """A dictionary that Keras does not track."""

    def __init__(self, items: Mapping[str, Layer]):
        self._items = dict(items)

    def items(self):
        return self._items.items()


def _rebuilt_class(base: Any) -> type:
    def get_config(self) -> dict[str, Any]:
        try:
            config = base.get_config(self)
        except NotImplementedError:
            config = {}
        return {
            "base": {
                "class_name": f"{base.__module__}>{base.__qualname__}",
                "registered_name": (tf.keras.utils.get_registered_name(base)),
                "config": config,
            },
            "replacements": {
                path: tf.keras.layers.serialize(layer)
                for path, layer in self._mec_tf_replacements.items()
            },
        }

    made = type(
        RebuiltModel.__name__,
        (base,),
        {
            "__module__": RebuiltModel.__module__,
            "__doc__": base.__doc__,
            "_mec_tf_base": base,
            # Not the constructor's arguments any more.
            "config_holds_tables": False,
            "get_config": get_config,
            "from_config": classmethod(
                lambda cls, config, custom_objects=None: (
                    RebuiltModel.from_config(config, custom_objects)
                )
            ),
        },
    )
    # Under one name: whichever class is found by it, `from_config` is the
    # same.
    register = tf.keras.utils.register_keras_serializable("mec_tf")
    return register(made)


@tf.keras.utils.register_keras_serializable("mec_tf")
class RebuiltModel(tf.keras.Model):
    """Loads a subclassed model whose tables were replaced.

    Never made directly: the models that `compress` returns carry this name
    in their saved configuration, and `from_config` gives an instance of the
    user's own class with the replacements in place. The user's class must be
    importable or registered, as for any subclassed Keras model.
    """

    @classmethod
    def from_config(cls, config: dict, custom_objects: Any = None) -> Any:
        base = _find_class(config["base"], custom_objects)
        settings = dict(config["base"]["config"])
        try:
            model = base.from_config(settings)
        except Exception:
            model = base()
        layers = {
            path: tf.keras.layers.deserialize(saved)
            for path, saved in config["replacements"].items()
        }
        made = {
            path: functools.partial(lambda layer: layer, layer)
            for path, layer in layers.items()
        }
        return _Replacer(model, made).put(model, "", by_place=False)


def _find_class(saved: dict, custom_objects: Any) -> Any:
    name = saved["registered_name"]
    module, qualname = saved["class_name"].split(">", 1)
    found = (custom_objects or {}).get(name) or (
        tf.keras.utils.get_registered_object(name, custom_objects)
    )
    if found is not None:
        return found
    # Only what is imported already: loading a file runs no code it names.
    owner: Any = sys.modules.get(module)
    for part in qualname.split("."):
        owner = getattr(owner, part, None)
    if not (
        isinstance(owner, type) and issubclass(owner, tf.keras.layers.Layer)
    ):
        raise ValueError(
            f"The saved model's class {module}.{qualname} cannot be found. "
            "Import or register it before loading."
        )
    return owner
