"""Exact scores against definitions."""

import numpy as np
import pytest

from mec_tf.training import log_loss, rank_auc
from mec_tf.training.evaluation import score


def test_auc_is_the_share_of_pairs_ranked_right():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    scores = rng.integers(0, 20, 200)  # many ties
    gaps = scores[labels == 1][:, None] - scores[labels == 0][None]
    expected = (gaps > 0).mean() + 0.5 * (gaps == 0).mean()
    assert rank_auc(labels, scores) == pytest.approx(expected, abs=1e-12)


def test_auc_needs_both_classes():
    with pytest.raises(ValueError, match="`labels` must hold both"):
        rank_auc(np.ones(3), np.arange(3))


def test_log_loss_of_extreme_logits_is_finite():
    logits = np.array([1000.0, -1000.0, 0.0])
    assert log_loss(np.array([1, 0, 1]), logits) == pytest.approx(np.log(2) / 3)
    assert log_loss(np.array([0, 0, 1]), logits) > 300


def test_calibration_error_is_relative():
    labels = np.array([1, 0, 0, 0])
    logits = np.full(4, np.log(0.5 / 0.5))  # says 0.5, truth 0.25
    assert score(labels, logits + np.arange(4) * 1e-9).calibration_error == (
        pytest.approx(1.0)
    )
