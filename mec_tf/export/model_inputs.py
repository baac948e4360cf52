"""What a model is called with, as flat named features."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class ModelInputs:
    """The features of a model and how they make up its input.

    Args:
        specs: `{feature: TensorSpec}`, batch axis free.
        pack: makes the model's input of `{feature: tensor}`.
        rows: `{feature: rows}` of the id features whose tables are known.
    """

    specs: dict[str, tf.TensorSpec]
    pack: Callable[[dict[str, Any]], Any]
    rows: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def argument_names(self) -> dict[str, str]:
        """`{feature: signature input}`.

        A signature's inputs are letters, digits and "_" only.

        Raises:
            ValueError: if two features come to the same name.
        """
        names = {f: re.sub("[^A-Za-z0-9_]", "_", f) for f in self.specs}
        names = {
            feature: name if re.match("[A-Za-z]", name) else f"feature_{name}"
            for feature, name in names.items()
        }
        # TensorFlow tells arguments apart by their names in lower case.
        owners: dict[str, str] = {}
        for feature, name in names.items():
            other = owners.setdefault(name.lower(), feature)
            if other != feature:
                raise ValueError(
                    "`model` must have features whose names differ in their "
                    "letters (of either case) and digits. Received: "
                    f"{other!r} and {feature!r}"
                )
        return names


def model_inputs(model: tf.keras.Model, example: Any = None) -> ModelInputs:
    """Finds the features of a model.

    Args:
        model: a ranking model of this package, a functional or Sequential
            model, or any other with `example`.
        example: a batch as the model takes it, a dict of arrays or an array.

    Raises:
        TypeError: if `example` is of another kind.
        ValueError: if the model's inputs cannot be known, or the arrays of
            `example` differ in their batch size.
    """
    if _is_ranking_model(model):
        dtypes = dict.fromkeys(model.categorical, tf.int32)
        dtypes.update(dict.fromkeys(model.numeric, tf.float32))
        sequences = getattr(model, "sequences", ())
        specs = {
            n: tf.TensorSpec([None, None] if n in sequences else [None], dtype)
            for n, dtype in dtypes.items()
        }
        return ModelInputs(specs, dict, dict(model.categorical))
    structure = _input_structure(model)
    if structure is not None:
        return _functional_inputs(structure)
    if example is None:
        raise ValueError(
            "`example` must be a batch of inputs, a dict of arrays or one "
            f"array, because {type(model).__name__!r} is not a functional "
            "model. Received: example=None"
        )
    arrays = example_features(example)
    specs = {
        name: tf.TensorSpec([None, *array.shape[1:]], array.dtype)
        for name, array in arrays.items()
    }
    if isinstance(example, Mapping):
        return ModelInputs(specs, dict)
    return ModelInputs(specs, lambda features: features["inputs"])


def example_features(example: Any) -> dict[str, tf.Tensor]:
    """The tensors of a batch by name; one alone is called "inputs"."""
    named = example if isinstance(example, Mapping) else {"inputs": example}
    try:
        if isinstance(example, (list, tuple)):
            raise TypeError("a list")
        tensors = {k: tf.convert_to_tensor(v) for k, v in named.items()}
    except (TypeError, ValueError) as error:
        raise TypeError(
            "`example` must be a dict of arrays or one array. Received: "
            f"{type(example).__name__} ({error})"
        ) from error
    if not tensors or any(not t.shape.rank for t in tensors.values()):
        raise ValueError(
            "`example` must hold arrays whose first axis is the batch. "
            f"Received shapes: { {k: t.shape for k, t in tensors.items()} }"
        )
    sizes = {name: int(t.shape[0]) for name, t in tensors.items()}
    if len(set(sizes.values())) > 1 or 0 in sizes.values():
        raise ValueError(
            "`example` must hold arrays of one batch size, at least 1. "
            f"Received: {sizes}"
        )
    return tensors


def _is_ranking_model(model: tf.keras.Model) -> bool:
    needed = ("feature_names", "categorical", "numeric")
    return all(hasattr(model, name) for name in needed)


def _input_structure(model: tf.keras.Model) -> Any:
    """Symbolic inputs of a functional or Sequential model, else None."""
    names = {base.__name__ for base in type(model).__mro__}
    if not names & {"Functional", "Sequential"}:
        return None
    inputs = getattr(model, "inputs", None)
    if not inputs:
        return None
    return inputs[0] if "Sequential" in names else model.input


def _functional_inputs(structure: Any) -> ModelInputs:
    # A user of a dict knows its keys, not the names of the `Input`s in it.
    flat_dict = isinstance(structure, Mapping) and not any(
        tf.nest.is_nested(value) for value in structure.values()
    )
    if flat_dict:
        names = list(structure)
        tensors = [structure[name] for name in names]
    else:
        tensors = tf.nest.flatten(structure)
        names = [tensor.name.split(":")[0] for tensor in tensors]
    specs = {
        name: tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype)
        for name, tensor in zip(names, tensors, strict=True)
    }

    def pack(features: dict[str, Any]) -> Any:
        if flat_dict:
            return dict(features)
        flat = [features[name] for name in names]
        return tf.nest.pack_sequence_as(structure, flat)

    return ModelInputs(specs, pack)
