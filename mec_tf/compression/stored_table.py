"""One embedding table as plain arrays and settings, without Keras objects."""

import dataclasses
import json
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.compression.counting import code_usage, in_tiers, whole_codes
from mec_tf.compression.tables import own_call, walk
from mec_tf.layers import TableEmbedding, TableLayer, TieredEmbedding
from mec_tf.layers.nesting import build_inner
from mec_tf.layers.variables import raw
from mec_tf.quantizers import integers

# Settings that tell how a table without codebooks is stored.
_TELLING = ("bits", "rank", "num_rows", "num_remainders")
# What a layer is given anew, or what does not outlive training.
_NOT_KEPT = ("name", "trainable", "dtype", "build_config", "build_input_shape")
_NOT_KEPT_ENDS = ("_initializer", "_regularizer", "_constraint")
# Weights whose last columns are the first-order ones.
_WITH_COLUMNS = ("codebooks", "embeddings", "rows", "quotient_embeddings")
# New columns are zero; where two weights are multiplied, one of them is not.
_NEW_COLUMNS = {"quotient_embeddings": 1}


@dataclasses.dataclass(frozen=True)
class StoredTable:
    """A frozen table: the class of its layer, settings, arrays, counts.

    Args:
        kind: name of a table layer of this package, "CodeLookupEmbedding" say.
        config: arguments that make the layer, JSON-able. Its name, dtype and
            initializers are not kept.
        weights: arrays by the name of the layer's attribute; inside of layers
            that it holds, "attribute/.../name".
        counts: `[rows]` lookups of each row in the training data, or None.
    """

    kind: str
    config: Mapping[str, Any]
    weights: Mapping[str, np.ndarray]
    counts: np.ndarray | None = None

    @property
    def rows(self) -> int:
        return self.config["input_dim"]

    @property
    def dim(self) -> int:
        return self.config["output_dim"]

    @property
    def additive_dim(self) -> int:
        """Last columns that are sums of per-code scalars."""
        return self.config["additive_dim"]

    @property
    def bytes(self) -> int:
        """Bytes of the arrays that answer a lookup; counts are not."""
        return sum(array.nbytes for array in self.weights.values())

    @property
    def full_bytes(self) -> int:
        """Bytes of the table as float32."""
        return self.rows * self.dim * 4

    @classmethod
    def from_layer(
        cls, layer: tf.keras.layers.Layer, counts: np.ndarray | None = None
    ) -> "StoredTable":
        """Takes a built table layer apart.

        Args:
            layer: a frozen table layer of this package, a `TableEmbedding`, a
                `tf.keras.layers.Embedding`, or a quantized layer in training,
                which is frozen first.
            counts: `[rows]`, of the training data.

        Raises:
            ValueError: if the layer is not built or the counts do not fit.
        """
        if not layer.built:
            raise ValueError(
                f"`layer` must be built. Received {layer.name}, which has not "
                "been called on data yet"
            )
        if isinstance(layer, tf.keras.layers.Embedding):
            kept = TableEmbedding(
                layer.input_dim, layer.output_dim, mask_zero=layer.mask_zero
            )
            weights = {"embeddings": raw(layer.embeddings).numpy()}
        else:
            kept = layer.freeze() if hasattr(layer, "freeze") else layer
            weights = {
                name: raw(weight).numpy() for name, weight in _variables(kept)
            }
        if counts is not None:
            counts = _small_counts(counts)
        config = json.dumps(_plain(kept.get_config()), default=operator.index)
        table = cls(type(kept).__name__, json.loads(config), weights, counts)
        table.check()
        return table

    def layer(
        self, *, trainable_codebooks: bool = False, **overrides: Any
    ) -> TableLayer:
        """A fresh, built layer that holds a copy of the arrays.

        Args:
            trainable_codebooks: whether codebooks (of an exact table: its
                rows) learn; float16 ones are then held as float32.
            **overrides: other arguments of the layer, such as `name`,
                `dtype`, `mask_zero` or `oov`.
        """
        config = _adapted(self.config, _learning(trainable_codebooks))
        overrides.setdefault("trainable", trainable_codebooks)
        with tf.init_scope():  # a model that `fit` builds is being traced
            layer = layer_class(self.kind).from_config({**config, **overrides})
            build_inner(layer)
            for name, weight in _variables(layer):
                variable = raw(weight)
                values = self.weights[name]
                variable.assign(values.astype(variable.dtype.as_numpy_dtype))
        return layer

    def with_columns(self, extra: int) -> "StoredTable":
        """The same table with more or fewer first-order columns at the end.

        Args:
            extra: columns to add, zeros; below 0, columns to drop.

        Raises:
            ValueError: if the table cannot have so many.
        """

        def resized(config: dict[str, Any]) -> dict[str, Any]:
            for key in ("output_dim", "additive_dim"):
                config[key] += extra
            return config

        def columns(name: str, array: np.ndarray) -> np.ndarray:
            last = name.split("/")[-1]
            if last == "codes" and "bits" in self.config:
                bits = self.config["bits"]
                whole = integers.unpack_table(array, self.dim, bits)
                return integers.pack(_more_columns(whole, extra), bits).numpy()
            if last not in _WITH_COLUMNS:
                return array
            return _more_columns(array, extra, _NEW_COLUMNS.get(last, 0))

        table = dataclasses.replace(
            self,
            config=_adapted(self.config, resized),
            weights={n: columns(n, a) for n, a in self.weights.items()},
        )
        table.check()
        return table

    def check(self) -> None:
        """Raises ValueError unless settings, arrays and counts agree.

        Nothing is allocated: the settings may be anybody's.
        """
        layer = self._unbuilt()
        expected = _weight_specs(layer)
        found = {
            name: (array.shape, array.dtype.name)
            for name, array in self.weights.items()
        }
        if expected != found:
            raise ValueError(
                f"the settings ask for the arrays {expected}. Received: {found}"
            )
        for path, part in _parts(layer):
            codes = self.weights.get(path + "codes")
            coded = hasattr(part, "codebook_size")
            if coded and codes is not None and codes.size:
                whole = whole_codes(codes, part.input_dim, part.get_config())
                highest = int(whole.max())
                if highest >= part.codebook_size:
                    raise ValueError(
                        f"codes must be below {part.codebook_size}. "
                        f"Received a code {highest}"
                    )
        if self.counts is not None and self.counts.shape != (self.rows,):
            raise ValueError(
                f"`counts` must have shape ({self.rows},). "
                f"Received shape {self.counts.shape}"
            )

    def describe(self) -> str:
        """How the table is stored, in words."""
        if self.kind != TieredEmbedding.__name__:
            return self._words("", self.kind, self.config)
        _, *tiers = _parts(self._unbuilt())
        return in_tiers(
            (
                tier.input_dim,
                self._words(path, type(tier).__name__, tier.get_config()),
            )
            for path, tier in tiers
        )

    def _words(self, path: str, kind: str, config: Mapping[str, Any]) -> str:
        """How the arrays below a path are stored."""
        if "codebook_size" not in config:
            told = ", ".join(
                f"{k} {config[k]}" for k in _TELLING if k in config
            )
            whole = "exact" if kind == "TableEmbedding" else kind
            return f"{whole}, {told}" if told else whole
        stored = self.weights[path + "codes"]
        codes = whole_codes(stored, config["input_dim"], config)
        words = [code_usage(codes, config["codebook_size"])]
        summed = config["additive_dim"] == config["output_dim"]
        words += ["summed"] if summed else []
        words += ["rotated"] if path + "rotation" in self.weights else []
        words += ["bit-packed"] if config.get("bit_packed") else []
        return ", ".join(words)

    def _unbuilt(self) -> Any:
        config = _checked(dict(self.config))
        try:
            return layer_class(self.kind).from_config(config)
        except TypeError as error:  # Keras 3 makes one of all errors
            raise ValueError(" ".join(str(error).split())) from None


def _more_columns(array: np.ndarray, extra: int, value: int = 0) -> np.ndarray:
    """With columns of this value at the end; below 0, with fewer."""
    if extra < 0:
        return array[..., :extra]
    fresh = np.full((*array.shape[:-1], extra), value, array.dtype)
    return np.concatenate([array, fresh], axis=-1)


def is_storable(layer: tf.keras.layers.Layer) -> bool:
    """Whether arrays and settings say all about a table layer."""
    if isinstance(layer, tf.keras.layers.Embedding):
        return not own_call(layer)
    return _registered(type(layer).__name__) is type(layer)


def layer_class(kind: Any) -> Any:
    """A registered table layer of this package, by name.

    Raises:
        ValueError: if there is no such layer.
    """
    found = _registered(kind)
    if not (isinstance(found, type) and issubclass(found, TableLayer)):
        raise ValueError(f"no table layer of mec_tf is called {kind!r}")
    return found


def _registered(kind: Any) -> Any:
    return tf.keras.utils.get_registered_object(f"mec_tf>{kind}")


def _parts(layer: Any) -> Iterator[tuple[str, Any]]:
    """The layer, and those it holds, with what precedes their weights."""
    yield "", layer
    for path, inner in walk(layer):
        yield path + "/", inner


def _variables(layer: Any) -> Iterator[tuple[str, Any]]:
    for path, part in _parts(layer):
        for name, value in vars(part).items():
            kinds = (tf.Variable, getattr(tf.keras, "Variable", tf.Variable))
            if isinstance(value, kinds):
                yield path + name, value


def _weight_specs(layer: Any) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shapes and dtypes of the weights, by name, without making them."""
    specs = {}

    def recorder(path: str) -> Callable[..., None]:
        def add_weight(*, name: str, shape: Any, dtype: str, **_: Any) -> None:
            specs[path + name] = (tuple(shape), tf.as_dtype(dtype).name)

        return add_weight

    for path, part in list(_parts(layer)):
        part.add_weight = recorder(path)
    layer.build()
    return specs


def _is_serialized(value: Any) -> bool:
    return isinstance(value, dict) and {"class_name", "config"} <= set(value)


def _adapted(
    config: Mapping[str, Any], change: Callable[[dict], dict]
) -> dict[str, Any]:
    """A changed copy of a layer's settings, and of the layers' inside."""

    def inside(value: Any) -> Any:
        if _is_serialized(value):
            return {**value, "config": _adapted(value["config"], change)}
        if isinstance(value, dict):
            return {key: inside(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [inside(item) for item in value]
        return value

    return change({key: inside(value) for key, value in config.items()})


def _learning(trainable: bool) -> Callable[[dict], dict]:
    def change(config: dict[str, Any]) -> dict[str, Any]:
        if "trainable_codebooks" in config:
            config["trainable_codebooks"] = trainable
            if trainable:
                config["codebook_dtype"] = "float32"
        return config

    return change


def _plain(value: Any) -> Any:
    """Settings without what belongs to one Keras or one training."""
    if isinstance(value, dict):
        return {
            key: _plain(item)
            for key, item in value.items()
            if key not in _NOT_KEPT and not key.endswith(_NOT_KEPT_ENDS)
        }
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _checked(value: Any) -> Any:
    """`value`, where each layer that it describes is one of this package.

    Keras would import whatever module a foreign description names.
    """
    if isinstance(value, dict):
        if "class_name" in value:
            layer_class(str(value.get("registered_name"))[len("mec_tf>") :])
        for item in value.values():
            _checked(item)
    elif isinstance(value, list):
        for item in value:
            _checked(item)
    return value


def _small_counts(counts: np.ndarray) -> np.ndarray:
    """Counts in the smallest type that holds them."""
    counts = np.asarray(counts)
    if not np.issubdtype(counts.dtype, np.integer):
        if not np.array_equal(counts, np.rint(counts)):
            return counts.astype(np.float32)
    return counts.astype(np.min_scalar_type(int(counts.max(initial=0))))
