"""What an id gives: the documented rule, on exact numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.reliability.id_tables import Subject


def whole(value: Any) -> int:
    """The id that a value stands for; -1, out of range, where none."""
    if isinstance(value, float):
        return int(value) if abs(value) <= 2.0**62 else -1
    return int(value)


def expected(subject: Subject, ids: np.ndarray) -> np.ndarray | None:
    """The answer, or None where it is an error."""
    flat = [whole(value) for value in ids.ravel().tolist()]
    outside = [not 0 <= each < subject.input_dim for each in flat]
    if subject.oov == "error" and any(outside):
        return None
    inside = [
        0 if out else each for each, out in zip(flat, outside, strict=True)
    ]
    vectors = np.array(decoded(subject, inside))
    if any(outside):
        zero = subject.oov == "zero"
        vectors[outside] = 0 if zero else decoded(subject, [subject.oov])[0]
    vectors = vectors.reshape(*ids.shape, vectors.shape[-1])
    return vectors.sum(axis=-2) if subject.pooled else vectors


def decoded(subject: Subject, rows: list[Any]) -> np.ndarray:
    """Rows of the table `[n, D]`."""
    ids = tf.constant(rows, tf.int64, [len(rows)])
    if subject.pooled:
        ids = ids[:, None]
    return subject.call(ids).numpy()


def compare(
    subject: Subject, ids: np.ndarray, answer: Any, exact: bool = True
) -> None:
    """Raises AssertionError unless the answer is the expected one."""
    right = expected(subject, ids)
    assert right is not None, f"no error for {ids!r}"
    answer = np.asarray(answer)
    assert answer.shape == right.shape, (answer.shape, right.shape)
    if exact and subject.exact:
        np.testing.assert_array_equal(answer, right)
    else:
        np.testing.assert_allclose(answer, right, rtol=2e-6, atol=1e-6)
        zero = ~right.any(axis=-1)
        assert not answer[zero].any(), "a zero vector is not zero"


def fails(run: Callable[[], Any]) -> None:
    """Expects the error of the policy "error"."""
    try:
        run()
    except tf.errors.InvalidArgumentError as error:
        assert "ids must lie in [0, " in str(error), error
        return
    raise AssertionError("an id out of range was taken")
