"""Training, tuning and scoring of ranking models."""

from mec_tf.training.evaluation import Scores, evaluate, log_loss, rank_auc
from mec_tf.training.full_precision import FitSettings, fit, tune

__all__ = [
    "FitSettings",
    "Scores",
    "evaluate",
    "fit",
    "log_loss",
    "rank_auc",
    "tune",
]
