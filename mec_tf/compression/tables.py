"""Where the embedding tables of a model are."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import tensorflow as tf

from mec_tf.compression.keras_versions import check_keras
from mec_tf.layers import TableEmbedding, TableLayer
from mec_tf.layers.variables import raw

Layer: TypeAlias = tf.keras.layers.Layer


@dataclasses.dataclass(frozen=True)
class Table:
    """One embedding table found in a model.

    Args:
        paths: every place that holds it, the first one its name: attribute
            names, dictionary keys, list places or layer names joined by "/".
        layer: the layer itself.
    """

    paths: tuple[str, ...]
    layer: Layer

    @property
    def path(self) -> str:
        return self.paths[0]

    @property
    def rows(self) -> int:
        return self.layer.input_dim

    @property
    def dim(self) -> int:
        return self.layer.output_dim

    @property
    def additive_dim(self) -> int:
        return getattr(self.layer, "additive_dim", 0)

    @property
    def full_bytes(self) -> int:
        """Bytes of the table as float32."""
        return self.rows * self.dim * 4

    def values(self) -> Any:
        """The trained `[rows, dim]` values, as a NumPy array."""
        return raw(self.layer.embeddings).numpy()


def is_full_table(layer: Layer) -> bool:
    """Whether the layer is an embedding that can be compressed."""
    return isinstance(layer, (tf.keras.layers.Embedding, TableEmbedding))


def own_call(layer: Layer) -> str:
    """Why a table must be left alone, or ""."""
    known = (tf.keras.layers.Embedding.call, TableEmbedding.call)
    if type(layer).call in known:
        return ""
    return f"left alone: {type(layer).__name__} has a `call` of its own"


def find_tables(model: Layer) -> list[Table]:
    """Every full-precision embedding table, each once, in path order.

    Args:
        model: functional, Sequential or subclassed; built or not.
    """
    places: dict[int, tuple[Layer, list[str]]] = {}
    for path, layer in _outer_tables(model):
        if is_full_table(layer):
            places.setdefault(id(layer), (layer, []))[1].append(path)
    return [Table(tuple(paths), layer) for layer, paths in places.values()]


def table_layers(model: Layer) -> dict[str, Layer]:
    """All layers that hold tables, compressed or not, by first path.

    Layers inside of one are part of it.
    """
    found: dict[int, tuple[str, Layer]] = {}
    for path, layer in _outer_tables(model):
        found.setdefault(id(layer), (path, layer))
    return dict(found.values())


def _outer_tables(model: Layer) -> Iterator[tuple[str, Layer]]:
    """Every place of every table that is not inside of another one."""
    outer = None
    for path, layer in walk(model):
        if outer is not None and path.startswith(outer):
            continue
        if is_full_table(layer) or isinstance(layer, TableLayer):
            outer = path + "/"
            yield path, layer


def walk(model: Layer) -> Iterator[tuple[str, Layer]]:
    """Every layer below `model` with its path, parents first.

    A layer that several places hold comes once a place; what lies below it
    comes once.

    Raises:
        TypeError: if the model, or a layer in it, is of the other Keras.
    """
    check_keras(model)
    seen = {id(model)}

    def below(
        owner: Layer, prefix: str, by_place: bool
    ) -> Iterator[tuple[str, Layer]]:
        for key, layer in children(owner, by_place):
            yield prefix + key, layer
            if id(layer) not in seen:
                seen.add(id(layer))
                inside = by_place or not is_graph(owner)
                yield from below(layer, f"{prefix}{key}/", inside)

    yield from below(model, "", False)


def is_graph(layer: Any) -> bool:
    """Whether the layer is a graph of layers: Sequential or Functional.

    So is a user's model that is given `inputs` and `outputs`.
    """
    if type(layer).__name__ in ("Sequential", "Functional"):
        return isinstance(layer, tf.keras.Model)
    return isinstance(layer, tf.keras.Model) and bool(
        getattr(layer, "_is_graph_network", False)
        or any(base.__name__ == "Functional" for base in type(layer).__mro__)
    )


def graph_keys(graph: Layer, by_place: bool) -> dict[int, str]:
    """Keys of a graph's layers, by `id`: names, or places in it.

    Names that Keras made up differ between two models made by the same code,
    so inside a subclassed model the place is the key.
    """
    return {
        id(layer): str(place) if by_place else layer.name
        for place, layer in enumerate(graph.layers)
    }


def children(owner: Layer, by_place: bool) -> Iterator[tuple[str, Layer]]:
    """The layers that `owner` holds directly, with their keys."""
    if is_graph(owner):
        keys = graph_keys(owner, by_place)
        for layer in owner.layers:
            if not isinstance(layer, tf.keras.layers.InputLayer):
                yield keys[id(layer)], layer
        return
    for name, value in vars(owner).items():
        if name not in internal_names():
            yield from _held(value, name)


def _held(value: Any, path: str) -> Iterator[tuple[str, Layer]]:
    if isinstance(value, tf.keras.layers.Layer):
        if not isinstance(value, tf.keras.metrics.Metric):
            yield path, value
        return
    check_keras(value, path)
    if isinstance(value, Mapping) or type(value).__name__ == "_DictWrapper":
        for key in list(value.keys()):
            yield from _held(value[key], f"{path}/{key}")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _held(item, f"{path}/{index}")


_INTERNAL: set[str] = set()


def internal_names() -> set[str]:
    """Attributes that Keras itself puts on a layer or model."""
    if not _INTERNAL:

        class Probe(tf.keras.Model):
            def call(self, inputs):
                return inputs

        probe = Probe()
        probe(tf.zeros([1, 1]))
        probe.compile(loss="mse")
        # Not of random values: the next draw would depend on this one.
        layer = tf.keras.layers.Dense(1, kernel_initializer="ones")
        layer(tf.zeros([1, 1]))
        own = {"units", "activation", "kernel", "bias"}
        _INTERNAL.update(vars(probe), set(vars(layer)) - own)
        _INTERNAL.update(
            "_functional _layers _nested_inputs _nested_outputs "
            "_self_tracked_trackables _operations _nodes".split()
        )
    return _INTERNAL
