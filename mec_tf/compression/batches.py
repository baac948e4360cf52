"""Data as `fit` takes it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

# That are looked at for a value that is no number.
_MOST_BATCHES = 10_000
_PARTS = ("the features", "the labels", "the sample weights")


def as_batches(data: Any) -> tf.data.Dataset:
    """A dataset of batches as `fit` takes it."""
    if isinstance(data, tf.data.Dataset):
        return data
    if isinstance(data, (tuple, list)):
        parts = tuple(
            tuple(part) if isinstance(part, list) else part for part in data
        )
        examples = tf.data.Dataset.from_tensor_slices(parts)
        return examples.shuffle(len(examples)).batch(1024)
    raise ValueError(
        "`train` and `validation_data` must be tf.data.Datasets of batches "
        f"or tuples of arrays. Received: {type(data).__name__}"
    )


def first_not_finite(data: tf.data.Dataset) -> str | None:
    """Says where NaN or infinity is in the batches, if anywhere."""
    for number, batch in enumerate(data.take(_MOST_BATCHES), 1):
        parts = batch if isinstance(batch, tuple) else (batch,)
        for part, values in zip(_PARTS, parts, strict=False):
            named = values if isinstance(values, Mapping) else {None: values}
            for name, value in named.items():
                if not all(map(_finite, tf.nest.flatten(value, True))):
                    which = part if name is None else f"{part} {name!r}"
                    return f"{which} of batch {number}"
    return None


def _finite(tensor: tf.Tensor) -> bool:
    if not tensor.dtype.is_floating:
        return True
    return bool(np.isfinite(tensor.numpy().astype(np.float64)).all())
