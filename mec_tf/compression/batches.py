"""Data as `fit` takes it."""

from typing import Any

import tensorflow as tf


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
