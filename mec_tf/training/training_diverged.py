"""The error of a training that is lost."""

from typing import Any


class TrainingDiverged(ValueError):
    """A loss is no number any more or exploded, or codes collapsed.

    Its message says what to change.

    Args:
        message: what happened.
        result: the best state before that, as the function that trains would
            have returned it: a `CompressionResult` of `mec_tf.compress`, a
            model and its scores of `mec_tf.training.fit`. None if there is
            none, and from a callback.
    """

    def __init__(self, message: str, result: Any = None):
        super().__init__(message)
        self.result = result
