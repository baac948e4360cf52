"""How hard rows are drawn to their codes."""

from typing import Any

import tensorflow as tf

from mec_tf.training.logged_loss import logged_loss
from mec_tf.training.table_health import glance, quantized_tables

# Where it cannot be measured, and the least that it is.
COMMITMENT = 0.1
# Training examples that it is measured on.
EXAMPLES = 65_536


def matched_commitment(
    model: tf.keras.Model, quantized: tf.keras.Model, train: tf.data.Dataset
) -> float | None:
    """The commitment weight that fits a model's loss.

    A row learns from gradients at its code `z`, and is held near `z` by the
    commitment `b ||s - z||²`. It comes to rest where the two are even. Let the
    loss be `a ||z - s*||²` around the row `s*` that is best: that is at
    `s = z - a / b (z - s*)`, which is `s*` for `b = a`. So rows that are
    committed by what the loss rises, over the squared distance that codes
    move them, go on to their best values, and the nearest code is that of
    those; with less they run past them, from code to code, with more they
    stay. What the loss rises is measured on some 65,000 training examples.

    Args:
        model: the trained model, compiled.
        quantized: the same with tables that start from its own, compiled.
        train: batches to train on.

    Returns:
        The weight, at least 0.1: the same for all tables. 0.1 for a model
        whose train step is its own and whose `test_step` is not, which
        measures another loss, or logs none. None where no table has codes.
    """
    layers = [layer for _, layer in quantized_tables(quantized)]
    if not layers:
        return None
    moved = sum(glance(layer).distortion for layer in layers)
    if not moved or _measures_another_loss(model):
        return COMMITMENT
    first = next(iter(train))
    size = int(tf.shape(tf.nest.flatten(first)[0])[0])
    # Kept, for both to see the same.
    sample = train.take(-(-EXAMPLES // max(size, 1))).cache()
    after, before = (
        logged_loss(each.evaluate(sample, verbose=0, return_dict=True))
        for each in (quantized, model)
    )
    if after is None or before is None:
        return COMMITMENT
    return max(COMMITMENT, (after - before) / moved)


def set_commitment(quantized: tf.keras.Model, weight: float) -> None:
    """Sets the weight of all quantized tables, before they are trained."""
    for _, layer in quantized_tables(quantized):
        layer.commitment_weight = weight


def _measures_another_loss(model: Any) -> bool:
    own = [
        getattr(type(model), step) is not getattr(tf.keras.Model, step)
        for step in ("train_step", "test_step")
    ]
    return own == [True, False]
