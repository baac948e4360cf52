"""`.keras` files: written whole, and read only if they are intact and harmless.

The file is Keras's own: `model.save` writes the same, and
`tf.keras.models.load_model` reads it. What is checked here beyond Keras is
that nothing in it names code to import, and that sizes which it claims fit the
bytes that it holds.
"""

import builtins
import json
import os
import pathlib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import h5py
import numpy as np
import tensorflow as tf

from mec_tf.files import ArtifactError, replacing
from mec_tf.layers.variables import KERAS_3

_CONFIG = "config.json"
_WEIGHTS = "model.weights.h5"
# Besides those of the file a model may have some variables, for training.
_MORE, _SOME_BYTES = 4, 1 << 26
_KERAS = {"keras", "tf_keras"}


def save_keras(model: tf.keras.Model, path: str | os.PathLike) -> None:
    """Saves a model as `model.save` does, beside and then renamed into place.

    Args:
        model: any built Keras model.
        path: file to write, ".keras" at its end. One that exists is replaced.

    Raises:
        ValueError: if `path` ends otherwise.
        OSError: if it cannot be written.
    """
    if pathlib.Path(path).suffix != ".keras":
        raise ValueError(f'`path` must end in ".keras". Received: {path}')
    with replacing(path) as fresh:
        model.save(fresh)


def load_keras(
    path: str | os.PathLike,
    custom_objects: Mapping[str, Any] | None = None,
    *,
    compile: bool = True,
) -> tf.keras.Model:
    """Loads a `.keras` file that may be damaged, or anybody's.

    Like `tf.keras.models.load_model` in safe mode, but with one error for
    whatever is wrong with it. Nothing in the file is run, unpickled or
    imported, and no more memory is taken than a few times its weights.

    Args:
        path: the file.
        custom_objects: classes and functions by name that are not registered
            (`tf.keras.utils.register_keras_serializable`). Default: none.
        compile: whether a compiled model is compiled again. Default True.

    Raises:
        FileNotFoundError: if there is no such file.
        ArtifactError: if it is damaged, no `.keras` file, or holds what must
            not be loaded.
    """
    if not pathlib.Path(path).exists():
        raise FileNotFoundError(f"`path` {path} does not exist.")
    custom = dict(custom_objects or {})
    try:
        weights = _check(pathlib.Path(path), custom)
        with tf.variable_creator_scope(_limit(_MORE * weights + _SOME_BYTES)):
            model = tf.keras.models.load_model(
                path, custom_objects=custom, compile=compile, safe_mode=True
            )
        if not isinstance(model, tf.keras.Model):
            raise TypeError(f"it holds a {type(model).__name__}")
        return model
    # Zip, JSON, HDF5, Keras and TensorFlow have no error in common.
    except Exception as error:
        words = " ".join(str(error).split())
        if len(words) > 600:  # Keras begins with what, and ends with why.
            words = f"{words[:200]} ... {words[-400:]}"
        raise ArtifactError(
            path, f"is damaged or no model to load ({words})"
        ) from error


def _check(path: pathlib.Path, custom: Mapping[str, Any]) -> int:
    """Checks a file without loading it; returns the bytes of its weights."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        # Entries that share bytes could make little data endless.
        if sum(entry.compress_size for entry in entries) > os.path.getsize(
            path
        ):
            raise ValueError("its entries overlap")
        damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"the checksum of {damaged} does not agree")
        _check_names(json.loads(archive.read(_CONFIG)), custom)
        with archive.open(_WEIGHTS) as file, h5py.File(file) as weights:
            return _check_weights(weights, archive.getinfo(_WEIGHTS).file_size)


def _check_names(value: Any, custom: Mapping[str, Any]) -> None:
    """Raises if a configuration names what is not safe to look up."""
    if isinstance(value, dict):
        if {"class_name", "config"} <= set(value):
            _check_object(value, custom)
        for item in value.values():
            _check_names(item, custom)
    elif isinstance(value, list):
        for item in value:
            _check_names(item, custom)


def _check_object(value: dict[str, Any], custom: Mapping[str, Any]) -> None:
    """Raises unless an object is Keras's or registered, and its name a text."""
    module, config = value.get("module"), value["config"]
    called = value["class_name"]
    names = {value.get("registered_name"), called}
    if called == "function":
        called, names = config, {config}
    known = module is None or str(module).split(".")[0] in _KERAS
    if module == "builtins":  # so functions are saved, Keras's own too
        known = not any(hasattr(builtins, str(name)) for name in names)
    if not known and not any(
        name in custom or tf.keras.utils.get_registered_object(name)
        for name in names
        if name
    ):
        raise ValueError(
            f"{module}.{called} is not registered with Keras, nor in "
            "`custom_objects`"
        )
    name = config.get("name") if isinstance(config, dict) else None
    if not isinstance(name, str | None):  # Keras 2 says so when it is used
        raise TypeError(f"a layer is called {name!r}")
    if not KERAS_3 and isinstance(config, dict):
        _check_calls(config.get("layers", []))


def _check_calls(layers: list[dict[str, Any]]) -> None:
    """Raises if layers of a functional model wait for what never comes.

    Keras 2 would wait for ever.
    """
    if not all("inbound_nodes" in layer for layer in layers):
        return  # a Sequential model's are called in order
    # The first call of an inner model was when it was made.
    made = {layer["name"]: _starts_with_input(layer) for layer in layers}
    first = dict(made)
    inputs = {x["name"] for x in layers if x["class_name"] == "InputLayer"}
    waiting = {
        layer["name"]: [
            [ref for ref in _references(node, made) if ref[0] not in inputs]
            for node in layer["inbound_nodes"]
        ]
        for layer in layers
    }
    left = -1
    while left != sum(map(len, waiting.values())):
        left = sum(map(len, waiting.values()))
        for name, calls in waiting.items():
            while calls and all(
                type(place) is int and first[other] <= place < made[other]
                for other, place in calls[0]
            ):
                calls.pop(0)
                made[name] += 1
    if left:
        raise ValueError("its layers wait for each other")


def _starts_with_input(layer: dict[str, Any]) -> int:
    inner = layer["config"].get("layers") or [{}]
    return int(inner[0].get("class_name") == "InputLayer")


def _references(value: Any, names: Mapping[str, int]) -> Iterator[Any]:
    """(layer, number of its call) of all tensors in a call's arguments."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        if len(value) > 2 and isinstance(value[0], str) and value[0] in names:
            yield value[0], value[1]
        for item in value:
            yield from _references(item, names)


def _check_weights(weights: h5py.File, size: int) -> int:
    """Raises if arrays claim to be larger than their file; sums their bytes."""
    claimed = sum(
        array.size * array.dtype.itemsize for array in _arrays(weights)
    )
    if claimed > size:
        raise ValueError(
            f"its weights claim {claimed:,} bytes of the {size:,} there are"
        )
    return claimed


def _arrays(group: h5py.Group) -> Iterator[h5py.Dataset]:
    """All arrays, none of which may be in another file."""
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"its weights {name} are a link")
        item = group[name]
        if isinstance(item, h5py.Group):
            yield from _arrays(item)
        elif item.external or item.is_virtual:
            raise ValueError(f"its weights {name} are in another file")
        else:
            yield item


def _limit(total: int) -> Callable[..., Any]:
    """Refuses variables that are larger together, before they are made."""
    left = [total]

    def make(next_creator: Callable[..., Any], **arguments: Any) -> Any:
        value = arguments["initial_value"]
        shape, dtype = arguments.get("shape"), arguments.get("dtype")
        if callable(value) and (shape is None or dtype is None):
            # Traced for its shape; nothing is computed.
            traced = tf.function(value, autograph=False)
            spec = traced.get_concrete_function().structured_outputs
            shape, dtype = spec.shape, spec.dtype
        elif not callable(value):
            shape, dtype = np.shape(value), tf.convert_to_tensor(value).dtype
        elements = tf.TensorShape(shape).num_elements() or 0
        left[0] -= elements * tf.as_dtype(dtype).size
        if left[0] < 0:
            raise ValueError(
                "its layers claim more weights than it holds, "
                f"{arguments.get('name')} of shape {shape} among them"
            )
        return next_creator(**arguments)

    return make
