"""How long the forward pass of a model takes, beside that of another."""

import functools
import statistics
import time
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

BATCH = 4096
ROUNDS = 21


def forward_pass_ms(
    models: Sequence[tf.keras.Model], inputs: Any
) -> list[float]:
    """Median milliseconds that each model takes for a batch, in turns."""
    calls = [
        tf.function(functools.partial(model, training=False))
        for model in models
    ]
    times: list[list[float]] = [[] for _ in calls]
    for turn in range(ROUNDS + 2):  # the first two trace and warm up
        for call, taken in zip(calls, times, strict=True):
            started = time.perf_counter()
            call(inputs).numpy()
            if turn >= 2:
                taken.append(1e3 * (time.perf_counter() - started))
    return [statistics.median(taken) for taken in times]
