"""What an id means: dtype, range, and the rows that ids share."""

import numpy as np
import tensorflow as tf

OOV_ZERO = "zero"
OOV_ERROR = "error"


def check_oov(oov: str | int, input_dim: int) -> str | int:
    """Validates an out-of-range policy.

    Raises:
        ValueError: unless `oov` is "zero", "error" or a row of the table.
    """
    if oov in (OOV_ZERO, OOV_ERROR):
        return oov
    if isinstance(oov, (int, np.integer)) and not isinstance(oov, bool):
        if 0 <= oov < input_dim:
            return int(oov)
    raise ValueError(
        '`oov` must be "zero", "error" or a row between 0 and '
        f"{input_dim - 1}. Received: oov={oov!r}"
    )


def to_integers(ids: tf.Tensor) -> tf.Tensor:
    """Casts ids as `Embedding` does: int32 and int64 stay, others int32."""
    if ids.dtype in (tf.int32, tf.int64):
        return ids
    wide = ids.dtype in (tf.uint32, tf.uint64)
    return tf.cast(ids, tf.int64 if wide else tf.int32)


def in_range(
    ids: tf.Tensor, input_dim: int, oov: str | int
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Makes every id safe to gather.

    Args:
        ids: integer ids of any shape.
        input_dim: rows of the table.
        oov: "zero", "error" or a row.

    Returns:
        The ids with out-of-range ones replaced, and a boolean mask of the
        valid ones where the policy is "zero" (None otherwise).

    Raises:
        NotImplementedError: "error" traced under XLA, which drops asserts.
        tf.errors.InvalidArgumentError: at run time, for "error".
    """
    if oov == OOV_ERROR:
        return _asserted(ids, input_dim), None
    valid = tf.logical_and(ids >= 0, ids < input_dim)
    row = 0 if oov == OOV_ZERO else oov
    safe = tf.where(valid, ids, tf.cast(row, ids.dtype))
    return safe, valid if oov == OOV_ZERO else None


def _asserted(ids: tf.Tensor, input_dim: int) -> tf.Tensor:
    graph = tf.compat.v1.get_default_graph()
    if not tf.executing_eagerly() and _compiled_by_xla(graph):
        raise NotImplementedError(
            '`oov="error"` cannot be compiled by XLA, which drops asserts. '
            'Use oov="zero" or a row, or jit_compile=False.'
        )
    message = f"ids must lie in [0, {input_dim})"
    checks = [
        tf.debugging.assert_non_negative(ids, message=message),
        tf.debugging.assert_less(
            ids, tf.cast(input_dim, ids.dtype), message=message
        ),
    ]
    with tf.control_dependencies([c for c in checks if c is not None]):
        return tf.identity(ids)


def _compiled_by_xla(graph: tf.Graph) -> bool:
    while graph is not None:
        if getattr(graph, "_xla_compile", False):
            return True
        context = getattr(graph, "_get_control_flow_context", lambda: None)()
        while context is not None:
            if context.IsXLAContext():
                return True
            context = context.outer_context
        graph = getattr(graph, "outer_graph", None)
    return False
