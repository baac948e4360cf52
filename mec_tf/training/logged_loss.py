"""The loss in Keras logs."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def logged_loss(logs: Mapping[str, Any] | None) -> float | None:
    """The whole loss, as `fit` and `evaluate` log it; None where they do not.

    TensorFlow Recommenders keep the sum under a name of its own.
    """
    logs = logs or {}
    loss = logs.get("total_loss", logs.get("loss"))
    return None if loss is None else float(np.mean(loss))
