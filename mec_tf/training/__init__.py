"""Training, tuning and scoring of ranking models."""

from mec_tf.training.alpt import use_alpt
from mec_tf.training.codebook_health import CodebookHealth
from mec_tf.training.evaluation import Scores, evaluate, log_loss, rank_auc
from mec_tf.training.full_precision import FitSettings, fit, tune

__all__ = [
    "CodebookHealth",
    "FitSettings",
    "Scores",
    "evaluate",
    "fit",
    "log_loss",
    "rank_auc",
    "tune",
    "use_alpt",
]
