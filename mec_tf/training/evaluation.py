"""How good a ranking model is."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from mec_tf.data import Log


EVALUATION_BATCH = 8192


@dataclasses.dataclass(frozen=True)
class Scores:
    """Quality on one split.

    Args:
        auc: exact area under the ROC curve by ranks, in float64.
        log_loss: mean binary cross-entropy, in nats.
        calibration_error: |mean predicted probability / mean label - 1|.
    """

    auc: float
    log_loss: float
    calibration_error: float

    def to_dict(self) -> dict[str, float]:
        return dataclasses.asdict(self)


def rank_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Exact AUC: share of (positive, negative) pairs ranked right.

    Ties count half. Keras's `AUC` metric sums over thresholds instead and
    was seen off by 1.7e-4.

    Args:
        labels: `[n]` of 0 and 1, both present.
        scores: `[n]`, larger for more likely.

    Raises:
        ValueError: if one class is missing.
    """
    import pandas as pd  # heavy, and needed for nothing else here

    labels = np.asarray(labels, np.float64).reshape(-1)
    positives = labels.sum()
    negatives = len(labels) - positives
    if not positives or not negatives:
        raise ValueError(
            "`labels` must hold both 0 and 1. Received "
            f"{int(positives)} ones of {len(labels)}"
        )
    ranks = pd.Series(np.asarray(scores).reshape(-1)).rank().to_numpy()
    total = float(ranks[labels > 0].sum())
    return float(
        (total - positives * (positives + 1) / 2) / (positives * negatives)
    )


def log_loss(labels: np.ndarray, logits: np.ndarray) -> float:
    """Mean binary cross-entropy of logits, in nats, in float64.

    Args:
        labels: 0 or 1, of any shape.
        logits: as many.
    """
    labels = np.asarray(labels, np.float64).reshape(-1)
    logits = np.asarray(logits, np.float64).reshape(-1)
    return float(np.mean(np.logaddexp(0.0, logits) - labels * logits))


def score(labels: np.ndarray, logits: np.ndarray) -> Scores:
    """All scores of a model's logits."""
    logits = np.asarray(logits, np.float64).reshape(-1)
    predicted = np.mean(1.0 / (1.0 + np.exp(-logits)))
    return Scores(
        rank_auc(labels, logits),
        log_loss(labels, logits),
        float(abs(predicted / np.mean(labels) - 1.0)),
    )


def evaluate(model: tf.keras.Model, log: Log, split: str) -> Scores:
    """Scores of a model that gives logits, on one split of a log.

    Args:
        model: takes the batches of `log.dataset`, gives logits `[batch, 1]`.
        log: the data.
        split: "train", "validation" or "test".
    """
    data = log.dataset(split, EVALUATION_BATCH)
    return score(log.labels(split), model.predict(data, verbose=0))
