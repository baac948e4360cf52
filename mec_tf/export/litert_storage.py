"""What LiteRT's built-in ops cannot read, stored and computed otherwise."""

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from mec_tf.export.graph_edit import Build, Stored


def storable(variables: Iterable[tf.Variable]) -> dict[int, Stored]:
    """Copies of variables in dtypes whose rows LiteRT can gather.

    16-bit codes become int16 of the same bits; float16 becomes float32.

    Args:
        variables: of any dtype.

    Returns:
        `{id of a variable's handle: Stored}` of those of other dtypes.
    """
    found = {}
    for variable in variables:
        if variable.dtype == tf.uint16:
            values, decode = variable.numpy().view(np.int16), _unsigned
        elif variable.dtype == tf.float16:
            values, decode = variable.numpy().astype(np.float32), _half
        else:
            continue
        copy = tf.Variable(values, trainable=False)
        found[id(variable.handle)] = Stored(copy, decode)
    return found


def _unsigned(values: tf.Tensor) -> tf.Tensor:
    wide = tf.math.floormod(tf.cast(values, tf.int32), 2**16)
    return tf.cast(wide, tf.uint16)


def _half(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(values, tf.float16)


def _left_shift(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return x * tf.pow(tf.constant(2, y.dtype), y)


def _bitwise_and(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return tf.math.floormod(x, y + 1)


# Of the ops that unpack codes; masks there are powers of two less one.
OPS: dict[str, Build] = {"LeftShift": _left_shift, "BitwiseAnd": _bitwise_and}
