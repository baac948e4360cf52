"""All that a training needs to go on, in one file."""

import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mec_tf.files import ArtifactError, replacing
from mec_tf.layers.variables import raw

VERSION = 1  # of the file's format


def state_variables(model: tf.keras.Model) -> list[tf.Variable]:
    """What a step of a built, compiled model changes.

    Weights that train or not (moving averages, popularity, counters), states
    of random layers, and what the optimizer keeps. Metrics are left out:
    `fit` resets them at each epoch.
    """
    # A Keras 2 lookup layer lists its vocabulary among the weights.
    own = [
        raw(variable)
        for variable in model.variables
        if isinstance(variable, tf.Variable) or hasattr(variable, "value")
    ]
    for layer in model._flatten_layers():
        # Keras 2's random layers, where they have a generator.
        random = getattr(layer, "_random_generator", None)
        generator = getattr(random, "_generator", None)
        if generator is not None:
            own.append(generator.state)
    optimizer = model.optimizer
    # Keras 2's legacy optimizers have neither name.
    build = getattr(optimizer, "build", None) or optimizer._create_all_weights
    build(model.trainable_variables)
    slots = optimizer.variables
    return own + [raw(v) for v in (slots() if callable(slots) else slots)]


def save_state(
    path: str | os.PathLike,
    model: tf.keras.Model,
    progress: dict[str, Any],
    kept: Sequence[np.ndarray] = (),
) -> None:
    """Writes the state of a training beside and renames it into place.

    Args:
        path: the file, `.npz`.
        model: built and compiled.
        progress: JSON-able; where the training is.
        kept: further arrays, of the best state, say.

    Raises:
        OSError: if the file cannot be written; what it held stays.
    """
    arrays = {
        f"now_{i}": v.numpy() for i, v in enumerate(state_variables(model))
    }
    arrays.update({f"kept_{i}": array for i, array in enumerate(kept)})
    with replacing(path) as fresh:
        text = json.dumps({"version": VERSION, "progress": progress})
        np.savez(fresh, state=text, **arrays)


def load_state(
    path: str | os.PathLike, model: tf.keras.Model
) -> tuple[dict[str, Any], list[np.ndarray]] | None:
    """Gives a model the state in a file.

    Args:
        path: what `save_state` wrote.
        model: built and compiled, as when it was written.

    Returns:
        `progress` and `kept`; None where there is no file.

    Raises:
        ArtifactError: if it is damaged, or of another model or version.
    """
    if not pathlib.Path(path).exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as saved:
            state = json.loads(str(saved["state"]))
            version, progress = state["version"], state["progress"]
            arrays = {name: saved[name] for name in saved.files}
    # Whatever a damaged archive makes its reader raise.
    except Exception as error:
        raise ArtifactError(
            path, f"is damaged ({error}). Delete it to train from the start"
        ) from None
    if version != VERSION:
        raise ArtifactError(
            path,
            f"has format version {version!r}; this release reads version "
            f"{VERSION}. Delete it to train from the start",
        )
    variables = state_variables(model)
    now = _listed(arrays, "now")
    shapes = [(tuple(v.shape), v.dtype.as_numpy_dtype) for v in variables]
    if shapes != [(array.shape, array.dtype) for array in now]:
        raise ArtifactError(
            path,
            "is the state of another model's training. Delete it to train "
            "from the start",
        )
    for variable, array in zip(variables, now, strict=True):
        variable.assign(array)
    return progress, _listed(arrays, "kept")


def _listed(arrays: dict[str, np.ndarray], name: str) -> list[np.ndarray]:
    count = sum(key.startswith(f"{name}_") for key in arrays)
    return [arrays[f"{name}_{place}"] for place in range(count)]
