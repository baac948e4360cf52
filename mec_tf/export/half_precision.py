"""float32 matrices stored as float16."""

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from mec_tf.export.graph_edit import Stored

# Weights keep 11 bits: each is off by at most 2 ** -12 of itself.
TOLERANCE = 5e-3


def halved(variables: Iterable[tf.Variable]) -> dict[int, Stored]:
    """float16 copies of the float32 matrices among some variables.

    Vectors stay: they are small, and the means of numbers such as years
    would lose what matters.

    Args:
        variables: of any shape and dtype.

    Returns:
        `{id of a variable's handle: Stored}`.

    Raises:
        ValueError: if a value is beyond float16.
    """
    found = {}
    for variable in variables:
        if variable.dtype != tf.float32 or variable.shape.rank < 2:
            continue
        values = variable.numpy()
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if (np.isinf(half) & np.isfinite(values)).any():
            raise ValueError(
                '`float_storage` can be "float16" only for weights of at '
                f"most 65504. Received: {np.abs(values).max():g} in "
                f"{variable.name}"
            )
        found[id(variable.handle)] = Stored(
            tf.Variable(half, trainable=False, name=_plain(variable.name)),
            lambda stored: tf.cast(stored, tf.float32),
        )
    return found


def _plain(name: str) -> str:
    return name.split(":")[0]
