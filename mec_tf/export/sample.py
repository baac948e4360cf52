"""A batch to verify an export on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from mec_tf.compression.tables import table_layers
from mec_tf.export.model_inputs import ModelInputs, example_features

if TYPE_CHECKING:
    from mec_tf.data import Vocabulary

_SIZE = 32
_LENGTH = 4  # of an axis that may have any


def draw_sample(
    model: tf.keras.Model,
    inputs: ModelInputs,
    vocabularies: Mapping[str, Vocabulary],
    example: Any = None,
) -> dict[str, np.ndarray]:
    """Features as the model takes them, `{feature: [batch, ...]}`.

    Args:
        model: the model.
        inputs: its features.
        vocabularies: of the features whose rows they tell.
        example: a batch to take instead of random features.

    Raises:
        ValueError: if `example` lacks a feature or has another shape.
    """
    if example is not None:
        sample = _cast(example_features(example), inputs)
        for name, vocabulary in vocabularies.items():
            # Raw values cannot ask for rows beyond.
            known = (sample[name] >= 0) & (sample[name] < vocabulary.size)
            sample[name] = np.where(known, sample[name], 0).astype(
                sample[name].dtype
            )
        return sample
    sizes = {name: v.size for name, v in vocabularies.items()}
    rows = {**inputs.rows, **sizes}
    smallest = min(
        (layer.input_dim for layer in table_layers(model).values()), default=2
    )
    rng = np.random.default_rng(0)
    sample = {}
    for name, spec in inputs.specs.items():
        shape = [_SIZE, *(_LENGTH if n is None else n for n in spec.shape[1:])]
        dtype = spec.dtype.as_numpy_dtype
        if name in rows or spec.dtype.is_integer:
            drawn = rng.integers(0, rows.get(name, smallest), shape)
            drawn[0] = 0
            sample[name] = drawn.astype(dtype)
        elif spec.dtype.is_floating:
            sample[name] = rng.normal(size=shape).astype(dtype)
        elif spec.dtype == tf.string:
            sample[name] = np.full(shape, "", object)
        else:
            sample[name] = np.zeros(shape, dtype)
    return sample


def raw_values(rows: np.ndarray, vocabulary: Vocabulary) -> np.ndarray:
    """Values that have these rows; for row 0 one that is not known."""
    flat = rows.reshape(-1).astype(np.int64)
    values = np.append(vocabulary.values, _unknown(vocabulary))
    # Row 0 picks the last one.
    return values[flat - 1].reshape(rows.shape)


def _unknown(vocabulary: Vocabulary) -> Any:
    """A value of the vocabulary's kind that it does not hold."""
    if vocabulary.key_dtype == "string":
        longest = max(map(len, vocabulary.values), default=0)
        return "?" * (longest + 1)
    known = set(vocabulary.values.tolist())
    return next(v for v in range(-1, -len(known) - 2, -1) if v not in known)


def _cast(
    features: dict[str, tf.Tensor], inputs: ModelInputs
) -> dict[str, np.ndarray]:
    sample = {}
    for name, spec in inputs.specs.items():
        if name not in features:
            raise ValueError(
                f"`example` must hold the features {list(inputs.specs)}. "
                f"Missing: {name!r}. Received: {sorted(features)}"
            )
        tensor = features[name]
        if not spec.shape.is_compatible_with(tensor.shape):
            raise ValueError(
                f"`example` must have shape {spec.shape} at {name!r}. "
                f"Received: {tensor.shape}"
            )
        if tensor.dtype != spec.dtype:
            tensor = tf.cast(tensor, spec.dtype)
        sample[name] = tensor.numpy()
    return sample
