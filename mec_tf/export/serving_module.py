"""The object that becomes the SavedModel."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from mec_tf.compression.counting import model_bytes
from mec_tf.compression.keras_versions import check_keras
from mec_tf.compression.tables import table_layers, walk
from mec_tf.export.graph_edit import Stored
from mec_tf.export.model_inputs import ModelInputs
from mec_tf.export.vocabulary_table import VocabularyTable
from mec_tf.layers.variables import raw

Features = dict[str, tf.Tensor]


class ServingModule(tf.Module):
    """Holds what signatures read, and no more.

    Keras's own export stores every variable twice, and a module that tracks
    Keras variables cannot be run through the C API, so this one tracks the
    `tf.Variable`s behind them.

    Args:
        model: the Keras model.
        function: the concrete function that answers with it.
        tables: `{feature: VocabularyTable}` of other signatures.
        stored: `{id of a variable's handle: Stored}`, of those that stand in
            the place of others. Default: none.

    Raises:
        ValueError: if `function` reads a table that no layer holds.
    """

    def __init__(
        self,
        model: tf.keras.Model,
        function: Any,
        tables: Mapping[str, VocabularyTable],
        stored: Mapping[int, Stored] | None = None,
    ):
        super().__init__()
        self.vocabularies = dict(tables)
        read = {id(v.handle): v for v in function.variables}
        self._names = _variable_names(model, function.variables)
        kept = {handle: new.variable for handle, new in (stored or {}).items()}
        self.weights = {
            name: kept.get(handle, read[handle])
            for name, handle in sorted(self._names.items())
        }
        self.resources = _resources(model, function, set(read))

    def table_variables(self, model: tf.keras.Model) -> dict[str, list[str]]:
        """`{table path: names of its variables in `weights`}`."""
        names = {handle: name for name, handle in self._names.items()}
        return {
            path: [
                names[id(raw(v).handle)]
                for v in layer.weights
                if id(raw(v).handle) in names
            ]
            for path, layer in table_layers(model).items()
        }


def check_model(model: Any, activation: Any) -> None:
    """Raises TypeError or ValueError unless both can be exported."""
    check_keras(model)
    if not isinstance(model, tf.keras.Model):
        raise TypeError(
            f"`model` must be a Keras model. Received: {type(model).__name__}"
        )
    if activation not in (None, "sigmoid"):
        raise ValueError(
            '`activation` must be "sigmoid" or None. '
            f"Received: activation={activation!r}"
        )


def trace_model(
    model: tf.keras.Model,
    inputs: ModelInputs,
    activation: str | None,
    jit_compile: bool = False,
) -> Any:
    """A concrete function that takes what the model takes.

    Args:
        model: the Keras model, built.
        inputs: its features.
        activation: "sigmoid" or None.
        jit_compile: whether XLA compiles it. Default False.
    """

    def answer(features: Features) -> Features:
        outputs = model(inputs.pack(features), training=False)
        return name_outputs(outputs, activation)

    return _trace(answer, inputs.specs, inputs.argument_names, jit_compile)


def compiled(function: Any) -> Any:
    """A concrete function that XLA compiles."""
    arguments = function.structured_input_signature[1]
    return tf.function(
        lambda **given: function(**given), jit_compile=True
    ).get_concrete_function(
        **{
            name: tf.TensorSpec(spec.shape, spec.dtype, name=name)
            for name, spec in arguments.items()
        }
    )


def make_signatures(
    answer_ids: Any,
    inputs: ModelInputs,
    tables: Mapping[str, VocabularyTable],
) -> dict[str, Any]:
    """Concrete functions "serving_default" and "ids".

    Args:
        answer_ids: the function of `trace_model`; it becomes "ids".
        inputs: the model's features.
        tables: `{feature: VocabularyTable}` of the features that
            "serving_default" takes as raw values.
    """
    names = inputs.argument_names

    def answer_raw(features: Features) -> Features:
        encoded = {names[name]: value for name, value in features.items()}
        for name, table in tables.items():
            rows = table.rows(features[name])
            encoded[names[name]] = tf.cast(rows, inputs.specs[name].dtype)
        return answer_ids(**encoded)

    if not tables:
        return {"serving_default": answer_ids, "ids": answer_ids}
    raw_specs = dict(inputs.specs)
    for name, table in tables.items():
        shape = inputs.specs[name].shape
        raw_specs[name] = tf.TensorSpec(shape, table.key_dtype)
    return {
        "serving_default": _trace(answer_raw, raw_specs, names),
        "ids": answer_ids,
    }


def name_outputs(outputs: Any, activation: str | None) -> Features:
    """The model's answer as named tensors, floats in float32.

    A single tensor is named "probability" with an activation and "logits"
    without; a dict keeps its names, and the activation goes to each.

    Raises:
        TypeError: if `outputs` is neither.
    """
    if not isinstance(outputs, Mapping):
        if not tf.is_tensor(outputs):
            raise TypeError(
                "`model` must return one tensor or a dict of tensors. "
                f"Received: {type(outputs).__name__}"
            )
        outputs = {"probability" if activation else "logits": outputs}
    named = {}
    for name, tensor in outputs.items():
        if tensor.dtype.is_floating:
            tensor = tf.cast(tensor, tf.float32)
        named[name] = tf.sigmoid(tensor) if activation else tensor
    return named


def stored_bytes(
    model: tf.keras.Model, stored: Mapping[int, Stored]
) -> dict[str, int]:
    """Bytes of each table, as its variables are stored."""
    counted = model_bytes(model)
    for path, layer in table_layers(model).items():
        for variable in map(raw, layer.weights):
            new = stored.get(id(variable.handle))
            if new is not None:
                saved = variable.dtype.size - new.variable.dtype.size
                counted[path] -= saved * variable.shape.num_elements()
    return counted


def _trace(
    answer: Callable[[Features], Features],
    specs: Mapping[str, tf.TensorSpec],
    names: Mapping[str, str],
    jit_compile: bool = False,
) -> Any:
    """A concrete function whose keyword arguments are the signature's."""

    def serve(**arguments):
        return answer({f: arguments[name] for f, name in names.items()})

    function = tf.function(serve, jit_compile=jit_compile or None)
    return function.get_concrete_function(
        **{
            names[feature]: tf.TensorSpec(
                spec.shape, spec.dtype, name=names[feature]
            )
            for feature, spec in specs.items()
        }
    )


def _variable_names(model: tf.keras.Model, variables: Any) -> dict[str, int]:
    """`{readable unique name: id of a variable's handle}`, tables' first."""
    wanted: dict[int, str] = {}
    for path, layer in table_layers(model).items():
        for variable in layer.weights:
            own = variable.name.split(":")[0].split("/")[-1]
            wanted.setdefault(id(raw(variable).handle), f"{path}/{own}")
    for variable in model.weights:
        path = getattr(variable, "path", variable.name)
        wanted.setdefault(id(raw(variable).handle), path.split(":")[0])
    names: dict[str, int] = {}
    for variable in variables:
        handle = id(variable.handle)
        base = name = wanted.get(handle, variable.name.split(":")[0])
        suffix = 0
        while name in names:
            suffix += 1
            name = f"{base}_{suffix}"
        names[name] = handle
    return names


def _resources(
    model: tf.keras.Model, concrete: Any, variables: set[int]
) -> list[Any]:
    """What else the function reads: the tables of `StringLookup` layers."""
    missing = {
        id(tensor)
        for tensor in concrete.captured_inputs
        if tensor.dtype == tf.resource and id(tensor) not in variables
    }
    found = []
    for value in _attributes(model):
        handle = id(getattr(value, "resource_handle", None))
        if handle in missing:
            missing.remove(handle)
            found.append(value)
    if missing:
        raise ValueError(
            "`model` must hold every table that it reads as an attribute of "
            f"a layer. Received: {len(missing)} that no layer holds"
        )
    return found


def _attributes(model: tf.keras.Model) -> Iterator[Any]:
    for layer in [model, *(layer for _, layer in walk(model))]:
        yield from vars(layer).values()
